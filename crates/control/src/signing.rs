//! The keys under which control signs tokens: made at first need, kept sealed in one row, rotated daily, the same on
//! every replica.
//!
//! Whoever finds that it is time makes the next key and puts it into the row, in place of the very row that it read:
//! of all replicas one does. Its public half is published next, and only a while later does it sign, so that no proxy
//! sees a token before it can judge it. Keys that no longer sign stay published until their last token has ended.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use identity::{Claims, Signer, SignerError};
use model::{Clock, Secret, SignerId, SignerSpec};
use store::{Store, StoreError};
use tokio::sync::Mutex;
use uuid::Uuid;
use vault::PLATFORM;
use zeroize::Zeroizing;

use crate::keyring::{Keyring, KeyringError, Place};
use crate::timers::scaled;

pub(crate) const ROW: &str = "fleet/signing-keys";
pub(crate) const PLACE: Place = Place { tenant: PLATFORM, kind: "fleet", record: Uuid::nil(), field: "signing_keys" };
/// How long a key signs.
const DAY_MICROS: i64 = 86_400_000_000;
/// How long a key is published: beyond its day, as the next one may be late where the database is away.
const PUBLISHED_MICROS: i64 = 2 * DAY_MICROS;
/// How long a new key is published before it signs.
const HEARD_MICROS: i64 = 10_000_000;
/// How often is looked whether it is time.
const EVERY: Duration = Duration::from_secs(10);
/// Keys of the row: the one that signs, and the one before or after it.
const KEPT: usize = 2;

/// Why nothing can be signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SigningError {
    /// The database.
    #[error("the database can't be used")]
    Store(#[from] StoreError),
    /// The vault.
    #[error("the keys can't be opened or sealed")]
    Sealing(#[from] KeyringError),
    /// A key can't be made or read.
    #[error("a signing key can't be made or read")]
    Key(#[from] SignerError),
    /// The row is not what this program wrote.
    #[error("the row of the signing keys is damaged")]
    Damaged,
    /// No key is published that outlives the token.
    #[error("no key is known to the proxies that could sign now")]
    NoKey,
}

/// The keys.
pub(crate) struct Signing {
    store: Store,
    keyring: Arc<Keyring>,
    clock: Arc<dyn Clock>,
    /// Where people reach control, as proxies tell it to MCP clients.
    url: String,
    ring: RwLock<Arc<[Published]>>,
    /// Held by the one that looks after the keys; whether it has told the address of this process.
    looking: Mutex<bool>,
}

/// A key that proxies know, the newest first.
#[derive(Clone)]
struct Published {
    signer: Arc<Signer>,
    at: i64,
    until: i64,
}

/// A key as it lies in the row.
struct Kept {
    id: SignerId,
    made_at: i64,
    secret: Secret,
}

/// A token, and whether its signer is so young that a proxy may not know it yet.
pub(crate) struct Signed {
    pub(crate) token: Secret,
    pub(crate) signer: SignerId,
    pub(crate) young: bool,
}

impl Signing {
    /// Keys of the database; `url` is where people reach control, without a slash at its end.
    pub(crate) fn new(store: Store, keyring: Arc<Keyring>, clock: Arc<dyn Clock>, url: String) -> Self {
        let (ring, looking) = (RwLock::new(Vec::new().into()), Mutex::new(false));
        Self { store, keyring, clock, url, ring, looking }
    }

    /// Looks after the keys for as long as the process lives.
    pub(crate) async fn run_forever(&self) {
        loop {
            if let Err(error) = self.keep().await {
                tracing::warn!(error = %telemetry::chain(&error), "the signing keys can't be looked after now");
            }
            tokio::time::sleep(scaled(EVERY)).await;
        }
    }

    /// Signs with the key of now.
    pub(crate) async fn sign(&self, claims: &Claims) -> Result<Signed, SigningError> {
        let key = match self.current(claims) {
            Some(key) => key,
            // Just started, or without the database for long.
            None => {
                self.keep().await?;
                self.current(claims).ok_or(SigningError::NoKey)?
            }
        };
        let young = key.at > self.clock.now_micros() - HEARD_MICROS;
        Ok(Signed { token: Secret::new(key.signer.sign(claims)), signer: key.signer.id(), young })
    }

    /// The newest key that proxies have heard of by now; the newest of all where there is no other.
    fn current(&self, claims: &Claims) -> Option<Published> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner).clone();
        let fits = |key: &&Published| claims.expires_at.saturating_mul(1_000_000) < key.until;
        let heard = self.clock.now_micros() - HEARD_MICROS;
        let current = ring.iter().filter(fits).find(|key| key.at <= heard);
        current.or_else(|| ring.iter().find(fits)).cloned()
    }

    /// Makes the next key if it is time, publishes what is not published, and forgets what has ended.
    pub(crate) async fn keep(&self) -> Result<(), SigningError> {
        let mut told = self.looking.lock().await;
        let now = self.clock.now_micros();
        let keys = self.keys_of(now).await?;
        let platform = self.store.platform();
        let mut rows = platform.signers().await?;
        let mut ring = Vec::new();
        for key in keys.iter().filter(|key| key.until() > now) {
            let signer = Signer::from_pkcs8(key.id, &key.secret)?;
            let known = rows.iter().position(|row| row.spec.id == key.id).map(|at| rows.swap_remove(at));
            let at = match known {
                // Another replica may be known elsewhere: each says so once.
                Some(row) if row.spec.url == self.url || *told => row.created_at,
                _ => {
                    let (id, url, public) = (key.id, self.url.clone(), signer.public());
                    let spec = SignerSpec { id, url, public, until: key.until() };
                    platform.put_signer(spec).await?.value.created_at
                }
            };
            ring.push(Published { signer: Arc::new(signer), at, until: key.until() });
        }
        *told = true;
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = ring.into();
        if rows.iter().any(|row| row.spec.until < now) {
            platform.remove_signers(now).await?;
        }
        Ok(())
    }

    /// The keys of the row, the newest first; with the next one, if it is time.
    async fn keys_of(&self, now: i64) -> Result<Vec<Kept>, SigningError> {
        loop {
            let row = self.store.platform().sealed(ROW).await?;
            let mut keys = match &row {
                None => Vec::new(),
                Some(row) => unpack(&self.keyring.open_row(PLACE, row).await?).ok_or(SigningError::Damaged)?,
            };
            if keys.first().is_some_and(|newest| now < newest.made_at.saturating_add(DAY_MICROS)) {
                return Ok(keys);
            }
            let id = SignerId::fresh();
            let (_, secret) = Signer::generate(id)?;
            keys.insert(0, Kept { id, made_at: now, secret });
            keys.truncate(KEPT);
            let next = self.keyring.seal_row(PLACE, now, &pack(&keys)).await?;
            if self.store.platform().replace_sealed(ROW, row.as_deref(), next).await? {
                return Ok(keys);
            }
            // Another replica was first: its key is everybody's.
        }
    }
}

impl Kept {
    fn until(&self) -> i64 {
        self.made_at.saturating_add(PUBLISHED_MICROS)
    }
}

/// Of each key its id (16), when it was made (8), the length of its text (2), the text.
fn pack(keys: &[Kept]) -> Zeroizing<Vec<u8>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(KEPT * 256));
    for key in keys {
        let text = key.secret.expose().as_bytes();
        plain.extend(key.id.0.as_bytes());
        plain.extend(key.made_at.to_be_bytes());
        plain.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
        plain.extend(text);
    }
    plain
}

fn unpack(plain: &[u8]) -> Option<Vec<Kept>> {
    let (mut keys, mut rest) = (Vec::new(), plain);
    while !rest.is_empty() {
        let (id, after) = rest.split_first_chunk::<16>()?;
        let (made_at, after) = after.split_first_chunk::<8>()?;
        let (length, after) = after.split_first_chunk::<2>()?;
        let (text, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let secret = Secret::new(std::str::from_utf8(text).ok()?.to_owned());
        keys.push(Kept { id: SignerId(Uuid::from_bytes(*id)), made_at: i64::from_be_bytes(*made_at), secret });
        rest = after;
    }
    Some(keys)
}

#[cfg(test)]
mod tests {
    use identity::{Audience, By, SignerKey};
    use model::{ManualClock, TenantId, UserId};

    use super::*;
    use crate::keyring;

    struct House {
        store: Store,
        clock: Arc<ManualClock>,
        dir: tempfile::TempDir,
    }

    impl House {
        async fn open() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let clock = Arc::new(ManualClock::at(1_800_000_000_000_000));
            let url = format!("sqlite://{}?mode=rwc", dir.path().join("db").display());
            let store = Store::connect(&url, clock.clone()).await.unwrap();
            Self { store, clock, dir }
        }

        fn replica(&self, url: &str) -> Signing {
            let keyring = keyring::tests::keyring(&self.store, &self.dir.path().join("kek"), self.clock.clone());
            Signing::new(self.store.clone(), keyring, self.clock.clone(), url.to_owned())
        }

        fn claims(&self) -> Claims {
            let now = self.clock.now_secs();
            let tenant = TenantId::fresh();
            Claims {
                audience: Audience::Tenant(tenant),
                tenant,
                user: UserId::fresh(),
                departments: vec![],
                by: By::Key("0123456789abcdef".parse().unwrap()),
                issued_at: now,
                expires_at: now + 300,
                id: Uuid::new_v4(),
            }
        }

        /// Which of the published keys takes the token.
        async fn verified(&self, signed: &Signed) -> Option<SignerId> {
            let now = self.clock.now_secs();
            let rows = self.store.platform().signers().await.unwrap();
            let takes = |spec: &SignerSpec| SignerKey::new(spec).verify(signed.token.expose(), now).is_ok();
            rows.iter().find(|row| takes(&row.spec)).map(|row| row.spec.id)
        }
    }

    #[tokio::test]
    async fn replicas_that_start_at_once_agree_on_one_key_and_a_restart_keeps_it() {
        let house = House::open().await;
        let (one, two) = (house.replica("http://127.0.0.1:1"), house.replica("http://127.0.0.1:1"));
        let claims = house.claims();
        let (a, b) = tokio::join!(one.sign(&claims), two.sign(&claims));
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!(a.signer, b.signer);
        assert_eq!(house.verified(&a).await, Some(a.signer));
        assert_eq!(house.replica("http://127.0.0.1:1").sign(&claims).await.unwrap().signer, a.signer);
        let row = house.store.platform().sealed(ROW).await.unwrap().unwrap();
        let kept = unpack(&one.keyring.open_row(PLACE, &row).await.unwrap()).unwrap();
        let secret = kept[0].secret.expose().as_bytes();
        assert!(!row.windows(secret.len()).any(|window| window == secret), "the key lies open in the row");
    }

    #[tokio::test]
    async fn a_new_key_is_published_before_it_signs_and_the_old_one_until_its_tokens_have_ended() {
        let house = House::open().await;
        let (one, two) = (house.replica("http://a"), house.replica("http://a"));
        let first = one.sign(&house.claims()).await.unwrap();
        assert!(first.young, "the very first one signs at once");
        house.clock.advance_micros(HEARD_MICROS);
        assert!(!one.sign(&house.claims()).await.unwrap().young);

        house.clock.advance_micros(DAY_MICROS - HEARD_MICROS);
        let last = two.sign(&house.claims()).await.unwrap();
        two.keep().await.unwrap();
        one.keep().await.unwrap();
        assert_eq!(house.store.platform().signers().await.unwrap().len(), 2);
        for replica in [&one, &two] {
            let signed = replica.sign(&house.claims()).await.unwrap();
            assert_eq!((signed.signer, signed.young), (first.signer, false), "the new one was not heard of");
        }
        house.clock.advance_micros(HEARD_MICROS);
        let second = one.sign(&house.claims()).await.unwrap();
        assert_ne!(second.signer, first.signer);
        assert_eq!(two.sign(&house.claims()).await.unwrap().signer, second.signer);
        assert_eq!(house.verified(&last).await, Some(first.signer), "a token of before");

        house.clock.advance_micros(DAY_MICROS);
        one.keep().await.unwrap();
        house.clock.advance_micros(DAY_MICROS);
        one.keep().await.unwrap();
        let left: Vec<_> = house.store.platform().signers().await.unwrap().iter().map(|row| row.spec.id).collect();
        assert!(!left.contains(&first.signer) && left.len() <= 3, "{left:?}");
    }

    #[tokio::test]
    async fn without_the_database_a_key_signs_no_token_that_outlives_it() {
        let house = House::open().await;
        let signing = house.replica("http://a");
        signing.keep().await.unwrap();
        house.store.clone().close().await.unwrap();
        house.clock.advance_micros(DAY_MICROS + DAY_MICROS / 2);
        assert!(signing.sign(&house.claims()).await.is_ok());
        house.clock.advance_micros(DAY_MICROS / 2 - 200_000_000);
        assert!(matches!(signing.sign(&house.claims()).await, Err(SigningError::Store(_))));
    }

    #[tokio::test]
    async fn each_replica_says_once_where_it_is() {
        let house = House::open().await;
        let (one, two) = (house.replica("http://a"), house.replica("http://b"));
        let url = || async { house.store.platform().signers().await.unwrap()[0].spec.url.clone() };
        one.keep().await.unwrap();
        assert_eq!(url().await, "http://a");
        two.keep().await.unwrap();
        assert_eq!(url().await, "http://b");
        one.keep().await.unwrap();
        assert_eq!(url().await, "http://b", "else they would overwrite each other for ever");
    }
}
