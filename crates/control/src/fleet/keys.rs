//! The fleet's sealing keys: made at first need, kept sealed in the database, rotated daily.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use model::Clock;
use ring::rand::{SecureRandom as _, SystemRandom};
use store::{Store, StoreError};
use tokio::sync::Mutex;
use uuid::Uuid;
use vault::PLATFORM;
use wire::{FleetKeys, SealingKey};

use crate::keyring::{Keyring, KeyringError, Place};

pub(crate) const ROW: &str = "fleet/sealing-keys";
pub(crate) const PLACE: Place = Place { tenant: PLATFORM, kind: "fleet", record: Uuid::nil(), field: "sealing_keys" };
const DAY_MICROS: i64 = 86_400_000_000;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    /// The database.
    #[error("the database can't be used")]
    Store(#[from] StoreError),
    /// The vault.
    #[error("the keys can't be opened or sealed")]
    Sealing(#[from] KeyringError),
    /// The row is not what this program wrote.
    #[error("the row of the sealing keys is damaged")]
    Damaged,
    /// The machine has no randomness.
    #[error("no randomness")]
    Random,
}

/// The keys, read once and then kept.
pub(crate) struct Keys {
    store: Store,
    keyring: Arc<Keyring>,
    clock: Arc<dyn Clock>,
    kept: Mutex<Option<Kept>>,
    current: AtomicU32,
}

struct Kept {
    keys: FleetKeys,
    made_at: i64,
}

impl Keys {
    pub(crate) fn new(store: Store, keyring: Arc<Keyring>, clock: Arc<dyn Clock>) -> Self {
        Self { store, keyring, clock, kept: Mutex::default(), current: AtomicU32::new(0) }
    }

    /// Id of the current key as far as it is known here; 0 before the first [`Keys::get`].
    pub(crate) fn current_id(&self) -> u32 {
        self.current.load(Ordering::Relaxed)
    }

    /// The keys; makes or rotates them if it is time.
    pub(crate) async fn get(&self) -> Result<FleetKeys, KeysError> {
        let mut kept = self.kept.lock().await;
        if kept.is_none() {
            *kept = self.read().await?;
        }
        let now = self.clock.now_micros();
        let keys = match kept.as_ref() {
            Some(kept) if now.saturating_sub(kept.made_at) < DAY_MICROS => kept.keys.clone(),
            older => {
                let previous = older.map(|older| older.keys.current.clone());
                let id = previous.as_ref().map_or(1, |previous| previous.id + 1);
                let keys = FleetKeys { current: SealingKey { id, key: random()? }, previous };
                self.write(&keys, now).await?;
                *kept = Some(Kept { keys: keys.clone(), made_at: now });
                keys
            }
        };
        self.current.store(keys.current.id, Ordering::Relaxed);
        Ok(keys)
    }

    async fn read(&self) -> Result<Option<Kept>, KeysError> {
        let Some(row) = self.store.platform().sealed(ROW).await? else { return Ok(None) };
        let plain = self.keyring.open_row(PLACE, &row).await?;
        unpack(&plain).map(Some).ok_or(KeysError::Damaged)
    }

    async fn write(&self, keys: &FleetKeys, made_at: i64) -> Result<(), KeysError> {
        let row = self.keyring.seal_row(PLACE, i64::from(keys.current.id), &pack(keys, made_at)).await?;
        Ok(self.store.platform().put_sealed(ROW, row).await?)
    }
}

fn pack(keys: &FleetKeys, made_at: i64) -> zeroize::Zeroizing<Vec<u8>> {
    let mut plain = zeroize::Zeroizing::new(Vec::with_capacity(8 + 2 * 36));
    plain.extend(made_at.to_be_bytes());
    for key in [Some(&keys.current), keys.previous.as_ref()].into_iter().flatten() {
        plain.extend(key.id.to_be_bytes());
        plain.extend(key.key);
    }
    plain
}

fn unpack(plain: &[u8]) -> Option<Kept> {
    let (made_at, mut rest) = plain.split_first_chunk::<8>()?;
    let mut keys = Vec::new();
    while let Some((id, after)) = rest.split_first_chunk::<4>() {
        let (key, after) = after.split_first_chunk::<32>()?;
        keys.push(SealingKey { id: u32::from_be_bytes(*id), key: *key });
        rest = after;
    }
    let mut keys = keys.into_iter();
    let keys = FleetKeys { current: keys.next()?, previous: keys.next() };
    Some(Kept { keys, made_at: i64::from_be_bytes(*made_at) })
}

fn random() -> Result<[u8; 32], KeysError> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| KeysError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use model::ManualClock;

    use super::*;
    use crate::keyring;

    #[tokio::test]
    async fn keys_survive_a_restart_and_rotate_daily() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(1_000_000));
        let url = format!("sqlite://{}?mode=rwc", dir.path().join("db").display());
        let store = Store::connect(&url, clock.clone()).await.unwrap();
        let kek = dir.path().join("kek");
        let open = || Keys::new(store.clone(), keyring::tests::keyring(&store, &kek, clock.clone()), clock.clone());
        let first = open().get().await.unwrap();
        assert_eq!((first.current.id, first.previous.is_none()), (1, true));
        let keys = open();
        assert_eq!(keys.get().await.unwrap(), first);
        clock.advance_micros(DAY_MICROS);
        let second = keys.get().await.unwrap();
        assert_eq!((second.current.id, second.previous.as_ref()), (2, Some(&first.current)));
        assert_eq!(keys.current_id(), 2);
        assert_eq!(open().get().await.unwrap(), second);
        let row = store.platform().sealed(ROW).await.unwrap().unwrap();
        assert!(!row.windows(32).any(|window| window == second.current.key), "the key lies open in the row");
    }
}
