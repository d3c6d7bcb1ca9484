//! Issuers of whom a token named a key that is not in the set we have: control is told, so that it fetches anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::IssuerId;
use tokio::sync::Notify;

/// Control is told of one issuer once in so many microseconds, whoever makes up names of keys.
const EVERY: i64 = 30_000_000;

/// Who is to be told of. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct UnknownKeys {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    noted: Mutex<HashMap<IssuerId, Noted>>,
    woken: Notify,
}

struct Noted {
    /// Microseconds since 1970.
    at: i64,
    /// Control has not been told.
    waits: bool,
}

impl UnknownKeys {
    /// A token of an issuer that the table knows named an unknown key at `now`, microseconds since 1970.
    pub(crate) fn note(&self, issuer: IssuerId, now: i64) {
        let mut noted = self.noted();
        if noted.get(&issuer).is_some_and(|noted| noted.waits || now.abs_diff(noted.at) < EVERY.unsigned_abs()) {
            return;
        }
        // Only issuers of tables come here, and those that are old are forgotten: as many as there are at a time.
        noted.retain(|_, noted| noted.waits || now.abs_diff(noted.at) < EVERY.unsigned_abs());
        noted.insert(issuer, Noted { at: now, waits: true });
        drop(noted);
        self.shared.woken.notify_one();
    }

    /// Waits for one that control is to be told of. Dropping it loses nothing.
    pub(crate) async fn next(&self) -> IssuerId {
        loop {
            if let Some(issuer) = self.take() {
                return issuer;
            }
            self.shared.woken.notified().await;
        }
    }

    fn take(&self) -> Option<IssuerId> {
        let mut noted = self.noted();
        let (issuer, noted) = noted.iter_mut().find(|(_, noted)| noted.waits)?;
        noted.waits = false;
        Some(*issuer)
    }

    fn noted(&self) -> MutexGuard<'_, HashMap<IssuerId, Noted>> {
        self.shared.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn control_is_told_of_an_issuer_once_in_a_while() {
        let unknown = UnknownKeys::default();
        let [one, two] = [1, 2].map(|id| IssuerId(uuid::Uuid::from_u128(id)));
        for now in 0..10 {
            unknown.note(one, now);
        }
        assert_eq!((unknown.take(), unknown.take()), (Some(one), None));
        unknown.note(one, EVERY - 1);
        unknown.note(two, EVERY - 1);
        assert_eq!((unknown.next().await, unknown.take()), (two, None));
        unknown.note(one, EVERY);
        assert_eq!((unknown.next().await, unknown.take()), (one, None));
        // Nobody took it up for long: it still waits, once.
        unknown.note(two, 3 * EVERY);
        unknown.note(two, 9 * EVERY);
        assert_eq!((unknown.take(), unknown.take()), (Some(two), None));
    }
}
