//! Unwrapped data keys, for a while. A key that leaves is zeroed by its type.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::TenantId;
use vault::{DataKey, KeyOf};

/// For how long a key is used without a look at its row, microseconds.
const FRESH_MICROS: i64 = 60_000_000;
/// For how long a key is kept that could not be looked at, since the last time that it could.
pub(super) const KEPT_MICROS: i64 = 15 * 60_000_000;
/// How long nobody tries again, after that.
const AGAIN_MICROS: i64 = 10_000_000;

/// The keys.
#[derive(Default)]
pub(super) struct Cache(Mutex<HashMap<(TenantId, u32), Entry>>);

struct Entry {
    key: Arc<DataKey>,
    /// When it was last unwrapped.
    at: i64,
    /// When it is to be looked at again.
    due: i64,
}

/// What is known of a key.
pub(super) enum Found {
    /// It may be used.
    Fresh(Arc<DataKey>),
    /// It may be used, and somebody should look whether it is still there.
    Due(Arc<DataKey>),
    /// It must be read.
    Nothing,
}

impl Cache {
    /// The most keys that are kept: beyond it the one leaves that was looked at longest ago.
    pub(super) const MOST: usize = 10_000;

    pub(super) fn find(&self, of: KeyOf, now: i64) -> Found {
        match self.entries().get(&(of.tenant, of.id)) {
            Some(entry) if now.saturating_sub(entry.at) > KEPT_MICROS => Found::Nothing,
            Some(entry) if now >= entry.due => Found::Due(entry.key.clone()),
            Some(entry) => Found::Fresh(entry.key.clone()),
            None => Found::Nothing,
        }
    }

    pub(super) fn put(&self, of: KeyOf, key: Arc<DataKey>, now: i64) {
        let mut entries = self.entries();
        if entries.len() >= Self::MOST
            && !entries.contains_key(&(of.tenant, of.id))
            && let Some(oldest) = entries.iter().min_by_key(|(_, entry)| entry.at).map(|(of, _)| *of)
        {
            entries.remove(&oldest);
        }
        entries.insert((of.tenant, of.id), Entry { key, at: now, due: now.saturating_add(FRESH_MICROS) });
    }

    /// It could not be looked at.
    pub(super) fn put_off(&self, of: KeyOf, now: i64) {
        if let Some(entry) = self.entries().get_mut(&(of.tenant, of.id)) {
            entry.due = now.saturating_add(AGAIN_MICROS);
        }
    }

    pub(super) fn drop_key(&self, of: KeyOf) {
        self.entries().remove(&(of.tenant, of.id));
    }

    pub(super) fn forget(&self, tenant: TenantId) {
        self.entries().retain(|(whose, _), _| *whose != tenant);
    }

    pub(super) fn sweep(&self, now: i64) {
        self.entries().retain(|_, entry| now.saturating_sub(entry.at) <= KEPT_MICROS);
    }

    pub(super) fn len(&self) -> usize {
        self.entries().len()
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, HashMap<(TenantId, u32), Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
