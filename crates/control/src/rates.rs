//! How often somebody may ask, in windows of a minute, and how much is remembered of it.
//!
//! What people and clients ask is counted so. Proxies ask in bursts, which a window would let through at its edges: for them is
//! `fleet/rates.rs`; and guesses at passwords are counted in `sign_in/tries.rs`.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

const MINUTE: i64 = 60_000_000;
/// Askers that are remembered at once, of each kind.
pub(crate) const MOST: usize = 4096;

/// One limit, for many askers.
pub(crate) struct Rate<K> {
    per_minute: u32,
    /// For all together who are not remembered.
    shared: u32,
    windows: Mutex<HashMap<Option<K>, Window>>,
}

#[derive(Clone, Copy)]
struct Window {
    begun: i64,
    count: u32,
}

impl<K: Eq + Hash> Rate<K> {
    /// So many for each asker in a minute.
    pub(crate) fn new(per_minute: u32) -> Self {
        Self { per_minute, shared: per_minute, windows: Mutex::default() }
    }

    /// With more for those who share a place, where being many must not shut out the others.
    pub(crate) fn sharing(self, shared: u32) -> Self {
        Self { shared, ..self }
    }

    /// Counts one more; `false` when it is one too many. While more ask than can be remembered, those who come then
    /// share one place: memory is bounded.
    pub(crate) fn take(&self, who: K, now: i64) -> bool {
        let mut windows = self.windows();
        let mut who = Some(who);
        if windows.len() >= MOST && !windows.contains_key(&who) {
            windows.retain(|_, window| now.saturating_sub(window.begun) < MINUTE);
            if windows.len() >= MOST {
                who = None;
            }
        }
        let most = if who.is_some() { self.per_minute } else { self.shared };
        let window = windows.entry(who).or_insert(Window { begun: now, count: 0 });
        if now.saturating_sub(window.begun) >= MINUTE {
            *window = Window { begun: now, count: 0 };
        }
        window.count = window.count.saturating_add(1);
        window.count <= most
    }

    /// Takes one back that was counted: it did no harm.
    pub(crate) fn give_back(&self, who: K) {
        if let Some(window) = self.windows().get_mut(&Some(who)) {
            window.count = window.count.saturating_sub(1);
        }
    }

    /// How many are remembered.
    pub(crate) fn used(&self) -> u64 {
        self.windows().len() as u64
    }

    fn windows(&self) -> MutexGuard<'_, HashMap<Option<K>, Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_asker_has_a_share_of_every_minute() {
        let rate = Rate::new(2);
        assert!(rate.take("a", 0) && rate.take("a", 1) && !rate.take("a", 2));
        assert!(rate.take("b", 2), "another one has a share of their own");
        assert!(!rate.take("a", MINUTE - 1) && rate.take("a", MINUTE));
    }

    #[test]
    fn what_is_given_back_does_not_count() {
        let rate = Rate::new(1);
        for _ in 0..3 {
            assert!(rate.take("a", 0));
            rate.give_back("a");
        }
        rate.give_back("a");
        rate.give_back("b");
        assert!(rate.take("a", 0) && !rate.take("a", 0), "nobody saves up");
    }

    #[test]
    fn memory_is_bounded_and_the_many_share_a_place() {
        let rate = Rate::new(1);
        assert!((0..MOST).all(|who| rate.take(who, 0)));
        assert!(rate.take(MOST, 1) && !rate.take(MOST + 1, 1));
        assert!(!rate.take(0, 1), "who is remembered stays so");
        assert!(rate.used() <= MOST as u64 + 1);
        assert!(rate.take(MOST + 2, MINUTE), "those of an old minute are forgotten");
        assert_eq!(rate.used(), 2);
        let rate = Rate::new(1).sharing(2);
        assert!((0..MOST).all(|who| rate.take(who, 0)));
        assert!(rate.take(MOST, 1) && rate.take(MOST + 1, 1) && !rate.take(MOST + 2, 1));
    }
}
