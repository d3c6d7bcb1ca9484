//! The data keys of tenants, unwrapped for a while, and what is sealed and opened with them.
//!
//! A tenant has one data key that seals, and older ones that still open. They lie wrapped in the database; whoever holds
//! the KEK opens them. An opened key is kept 15 minutes after the KEK's holder last answered for it, so that his absence
//! is not noticed before; and whether its row is still there is looked at every minute, so that the key of a tenant that
//! is gone doesn't outlive it for long.

mod cache;
mod place;
mod sealed;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use model::{Clock, TenantId};
use store::{KeyState, NewTenantKey, Store, StoreError, TenantKey};
use telemetry::Metrics;
use tokio::sync::{Mutex, OnceCell};
use uuid::Uuid;
use vault::{DataKey, FINGERPRINT, KekError, Keks, KeyOf, PLATFORM, RootSecret, VaultError, Wrapped};
use zeroize::Zeroizing;

use self::cache::{Cache, Found};
pub(crate) use self::place::Place;
use crate::timers::scaled;

/// The row of the platform's secret that never changes.
pub(crate) const ROOT_ROW: &str = "vault/root";
pub(crate) const ROOT_PLACE: Place = Place { tenant: PLATFORM, kind: "vault", record: Uuid::nil(), field: "root" };
/// How often keys that nobody uses any more are forgotten.
const SWEEP: Duration = Duration::from_secs(30);
/// How long nobody asks a KEK's holder who has just not answered, microseconds: everybody who waited for that answer would
/// wait for the next one too.
const AWAY_MICROS: i64 = 2_000_000;
/// How often a key that another replica was first to make is looked for.
const TRIES: usize = 3;

/// Why a secret can't be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyringError {
    /// What lies there can't be opened, now or later: it is left as it is.
    #[error("the secret can't be opened")]
    Unreadable(#[source] VaultError),
    /// Whoever holds the KEK does not answer.
    #[error("the key that opens secrets can't be had now")]
    Unavailable(#[source] KekError),
    /// The database.
    #[error("the database can't be used")]
    Store(#[from] StoreError),
}

/// Seals and opens, for one process.
pub(crate) struct Keyring {
    keks: Keks,
    store: Store,
    clock: Arc<dyn Clock>,
    cache: Cache,
    /// Held while keys are read, so that a crowd asks the KEK's holder once.
    reading: Mutex<()>,
    /// Until when a KEK's holder is not asked, by the KEK: of those that are configured.
    away: std::sync::Mutex<HashMap<Vec<u8>, i64>>,
    root: OnceCell<RootSecret>,
}

impl Keyring {
    /// Asks nobody until somebody seals or opens.
    pub(crate) fn new(store: Store, keks: Keks, clock: Arc<dyn Clock>) -> Self {
        Self {
            keks,
            store,
            clock,
            cache: Cache::default(),
            reading: Mutex::default(),
            away: std::sync::Mutex::default(),
            root: OnceCell::new(),
        }
    }

    /// Seals a secret; `version` is another one for each secret of this place.
    pub(crate) async fn seal(&self, place: Place, version: i64, plain: &[u8]) -> Result<Vec<u8>, KeyringError> {
        let key = self.sealing_key(place.tenant).await?;
        key.seal(&place.at(version), plain).map_err(KeyringError::Unreadable)
    }

    /// Opens what [`Keyring::seal`] gave for the same place and version.
    pub(crate) async fn open(
        &self,
        place: Place,
        version: i64,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, KeyringError> {
        let id = vault::data_key_of(sealed).map_err(KeyringError::Unreadable)?;
        let key = self.key(KeyOf { tenant: place.tenant, id }).await?;
        key.open(&place.at(version), sealed).map_err(KeyringError::Unreadable)
    }

    /// [`Keyring::seal`] for a row that has no column for the version: it stands in front, 8 bytes, big endian.
    pub(crate) async fn seal_row(&self, place: Place, version: i64, plain: &[u8]) -> Result<Vec<u8>, KeyringError> {
        Ok([&version.to_be_bytes()[..], &self.seal(place, version, plain).await?].concat())
    }

    /// Opens what [`Keyring::seal_row`] gave.
    pub(crate) async fn open_row(&self, place: Place, row: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyringError> {
        let (version, sealed) =
            row.split_first_chunk::<8>().ok_or(KeyringError::Unreadable(VaultError::NotAnEnvelope))?;
        self.open(place, i64::from_be_bytes(*version), sealed).await
    }

    /// Equal for equal secrets of one tenant, for as long as the database lives; tells nothing else of them.
    pub(crate) async fn fingerprint(&self, tenant: TenantId, secret: &[u8]) -> Result<[u8; FINGERPRINT], KeyringError> {
        Ok(self.root().await?.fingerprint(tenant, secret))
    }

    /// [`Keyring::fingerprint`] of each of these secrets, in their order.
    pub(crate) async fn fingerprints(
        &self,
        tenant: TenantId,
        secrets: &[&str],
    ) -> Result<Vec<[u8; FINGERPRINT]>, KeyringError> {
        let root = self.root().await?;
        Ok(secrets.iter().map(|secret| root.fingerprint(tenant, secret.as_bytes())).collect())
    }

    /// The key under which lists' cursors are sealed, the same on every replica.
    pub(crate) async fn cursor_key(&self) -> Result<[u8; 32], KeyringError> {
        Ok(*self.root().await?.cursor_key())
    }

    /// Whether something could be sealed now: asked before something is spent that must be sealed then.
    pub(crate) async fn check_sealing(&self, tenant: TenantId) -> Result<(), KeyringError> {
        self.sealing_key(tenant).await.map(drop)
    }

    /// Forgets the keys of a tenant that is gone.
    pub(crate) fn forget(&self, tenant: TenantId) {
        self.cache.forget(tenant);
    }

    /// The KEKs of this process.
    pub(crate) fn keks(&self) -> &Keks {
        &self.keks
    }

    /// Shows how many keys lie unwrapped in memory.
    pub(crate) fn show(self: &Arc<Self>, metrics: &Metrics) {
        let keyring = self.clone();
        metrics.bound("unwrapped_data_keys", Cache::MOST as u64, move || keyring.cache.len() as u64);
    }

    /// Forgets what nobody uses any more, for as long as the process lives.
    pub(crate) async fn run_forever(&self) {
        loop {
            tokio::time::sleep(scaled(SWEEP)).await;
            self.cache.sweep(self.clock.now_micros());
        }
    }

    /// The key that seals for a tenant: made, where there is none. What rows say counts, not what was cached: another
    /// replica may have made a new one.
    async fn sealing_key(&self, tenant: TenantId) -> Result<Arc<DataKey>, KeyringError> {
        for _ in 0..TRIES {
            let rows = self.store.platform().tenant_keys(tenant).await?;
            let sealing = match primary(&rows) {
                Some(row) => Some(row.clone()),
                None => primary(&self.make_key(tenant, &rows).await?).cloned(),
            };
            if let Some(row) = sealing {
                return self.key_of_row(&row).await;
            }
        }
        Err(KeyringError::Unreadable(VaultError::NoDataKey))
    }

    /// The number of the key that seals for a tenant; `None` if none does.
    pub(crate) async fn sealing_id(&self, tenant: TenantId) -> Result<Option<u32>, KeyringError> {
        let rows = self.store.platform().tenant_keys(tenant).await?;
        Ok(primary(&rows).map(|row| row.id))
    }

    /// A data key, by its number.
    async fn key(&self, of: KeyOf) -> Result<Arc<DataKey>, KeyringError> {
        match self.cache.find(of, self.clock.now_micros()) {
            Found::Fresh(key) => return Ok(key),
            Found::Due(key) => {
                // One looks, the others go on with what they have.
                let Ok(reading) = self.reading.try_lock() else { return Ok(key) };
                let read = self.read(of).await;
                drop(reading);
                return match read {
                    Err(KeyringError::Unavailable(_) | KeyringError::Store(_)) => {
                        self.cache.put_off(of, self.clock.now_micros());
                        Ok(key)
                    }
                    read => read,
                };
            }
            Found::Nothing => {}
        }
        let _reading = self.reading.lock().await;
        match self.cache.find(of, self.clock.now_micros()) {
            Found::Fresh(key) | Found::Due(key) => Ok(key),
            Found::Nothing => self.read(of).await,
        }
    }

    /// Reads the row and has the KEK's holder open it.
    async fn read(&self, of: KeyOf) -> Result<Arc<DataKey>, KeyringError> {
        let rows = self.store.platform().tenant_keys(of.tenant).await?;
        let live = |row: &&TenantKey| row.id == of.id && row.state != KeyState::Destroyed;
        let Some(row) = rows.iter().find(live) else {
            self.cache.drop_key(of);
            return Err(KeyringError::Unreadable(VaultError::NoDataKey));
        };
        self.unwrap(row).await
    }

    /// Makes the key that seals for a tenant from now on; those in `rows` open on. Answers all keys, with another's new
    /// one where somebody was first.
    pub(crate) async fn make_key(&self, tenant: TenantId, rows: &[TenantKey]) -> Result<Vec<TenantKey>, KeyringError> {
        let id = rows.iter().map(|row| row.id).max().unwrap_or(0).saturating_add(1);
        let key = DataKey::generate(KeyOf { tenant, id }).map_err(KeyringError::Unreadable)?;
        let Wrapped { kek, bytes } = self.keks.wrap(&key).await?;
        let new = NewTenantKey { tenant, id, kek_id: kek.into_bytes(), wrapped: bytes };
        Ok(self.store.platform().put_tenant_key(new, primary(rows).map(|row| row.id)).await?)
    }

    /// Wraps a data key under the KEK that writes; says no if its row was changed meanwhile.
    pub(crate) async fn rewrap(&self, row: &TenantKey) -> Result<bool, KeyringError> {
        let key = self.keks.unwrap(of(row), &wrapped(row)).await?;
        let Wrapped { kek, bytes } = self.keks.wrap(&key).await?;
        Ok(self.store.platform().rewrap_tenant_key(row, kek.into_bytes(), bytes).await?)
    }

    async fn key_of_row(&self, row: &TenantKey) -> Result<Arc<DataKey>, KeyringError> {
        let of = of(row);
        match self.cache.find(of, self.clock.now_micros()) {
            Found::Fresh(key) | Found::Due(key) => Ok(key),
            Found::Nothing => {
                let _reading = self.reading.lock().await;
                self.unwrap(row).await
            }
        }
    }

    async fn unwrap(&self, row: &TenantKey) -> Result<Arc<DataKey>, KeyringError> {
        let away = || self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if away().get(&row.kek_id).is_some_and(|until| self.clock.now_micros() < *until) {
            let kek = String::from_utf8_lossy(&row.kek_id).into_owned();
            return Err(KekError::Unavailable { kek, cause: "it did not answer a moment ago".into() }.into());
        }
        let key = self.keks.unwrap(of(row), &wrapped(row)).await.inspect_err(|error| {
            if matches!(error, KekError::Unavailable { .. }) {
                away().insert(row.kek_id.clone(), self.clock.now_micros().saturating_add(AWAY_MICROS));
            }
        })?;
        away().remove(&row.kek_id);
        let key = Arc::new(key);
        self.cache.put(of(row), key.clone(), self.clock.now_micros());
        Ok(key)
    }

    /// The platform's secret that never changes: made at first need.
    async fn root(&self) -> Result<&RootSecret, KeyringError> {
        self.root.get_or_try_init(|| self.read_root()).await
    }

    async fn read_root(&self) -> Result<RootSecret, KeyringError> {
        let platform = self.store.platform();
        for _ in 0..TRIES {
            if let Some(row) = platform.sealed(ROOT_ROW).await? {
                let plain = self.open_row(ROOT_PLACE, &row).await?;
                return RootSecret::new(&plain).map_err(KeyringError::Unreadable);
            }
            let bytes = RootSecret::generate().map_err(KeyringError::Unreadable)?;
            let row = self.seal_row(ROOT_PLACE, 1, bytes.as_slice()).await?;
            platform.replace_sealed(ROOT_ROW, None, row).await?;
        }
        Err(KeyringError::Unreadable(VaultError::NoDataKey))
    }
}

fn primary(rows: &[TenantKey]) -> Option<&TenantKey> {
    rows.iter().find(|row| row.state == KeyState::Primary)
}

fn of(row: &TenantKey) -> KeyOf {
    KeyOf { tenant: row.tenant, id: row.id }
}

fn wrapped(row: &TenantKey) -> Wrapped {
    Wrapped { kek: String::from_utf8_lossy(&row.kek_id).into_owned(), bytes: row.wrapped.clone() }
}

impl From<KekError> for KeyringError {
    fn from(error: KekError) -> Self {
        match error {
            KekError::Vault(error) => Self::Unreadable(error),
            unavailable @ KekError::Unavailable { .. } => Self::Unavailable(unavailable),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
