//! Issuers whose keys somebody misses: a token came that was signed with a key that we don't have.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::IssuerId;
use tokio::sync::Notify;

/// Issuers that wait at most; what comes beyond them is asked for again with the next token.
const MOST: usize = 1_024;

/// The issuers whose keys are to be fetched before their time.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    issuers: Mutex<BTreeSet<IssuerId>>,
    news: Notify,
}

impl Wanted {
    /// How many may wait.
    pub(crate) const MOST: u64 = MOST as u64;

    /// Asks for an issuer's keys; asked twice it waits once.
    pub(crate) fn ask(&self, issuer: IssuerId) {
        let mut issuers = self.issuers();
        if issuers.len() < MOST && issuers.insert(issuer) {
            self.news.notify_one();
        }
    }

    /// Those that wait now; waits for the first.
    pub(crate) async fn take(&self) -> BTreeSet<IssuerId> {
        loop {
            let news = self.news.notified();
            let issuers = std::mem::take(&mut *self.issuers());
            if !issuers.is_empty() {
                return issuers;
            }
            news.await;
        }
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.issuers().len() as u64
    }

    fn issuers(&self) -> MutexGuard<'_, BTreeSet<IssuerId>> {
        self.issuers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_asked_for_twice_waits_once_and_not_without_end() {
        let wanted = Wanted::default();
        let one = IssuerId::fresh();
        wanted.ask(one);
        wanted.ask(one);
        assert_eq!(wanted.take().await, [one].into());
        (0..=MOST).for_each(|_| wanted.ask(IssuerId::fresh()));
        assert_eq!((wanted.waiting(), wanted.take().await.len()), (MOST as u64, MOST));
        assert_eq!(wanted.waiting(), 0);
    }
}
