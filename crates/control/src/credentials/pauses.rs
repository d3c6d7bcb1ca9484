//! Who was answered badly waits before it is asked again: longer each time, and for a minute after a new token was refused.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::Clock;

use crate::timers::{micros, scaled};

/// The first pause, and the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
struct Pause {
    until: i64,
    step: Duration,
}

/// Pauses of this replica.
pub(super) struct Pauses<K> {
    clock: Arc<dyn Clock>,
    pauses: Mutex<HashMap<K, Pause>>,
}

impl<K: Eq + Hash> Pauses<K> {
    /// The most that are remembered; beyond it nobody else pauses.
    pub(super) const MOST: usize = 16_384;

    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, pauses: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Pause>> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long it still pauses.
    pub(super) fn left(&self, key: &K) -> Option<Duration> {
        let now = self.clock.now_micros();
        let until = self.lock().get(key).map(|pause| pause.until)?;
        u64::try_from(until - now).ok().filter(|left| *left > 0).map(Duration::from_micros)
    }

    /// It failed once more: the next pause is twice as long. Answers how long.
    pub(super) fn failed(&self, key: K) -> Duration {
        let before = self.lock().get(&key).map(|pause| pause.step);
        let step = before.map_or(FIRST, |step| (step * 2).min(LONGEST));
        self.put(key, step);
        step
    }

    /// It pauses as long as any.
    pub(super) fn long(&self, key: K) -> Duration {
        self.put(key, LONGEST);
        LONGEST
    }

    fn put(&self, key: K, step: Duration) {
        let now = self.clock.now_micros();
        let mut pauses = self.lock();
        if pauses.len() >= Self::MOST {
            pauses.retain(|_, pause| pause.until > now);
        }
        if pauses.len() < Self::MOST || pauses.contains_key(&key) {
            pauses.insert(key, Pause { until: now.saturating_add(micros(scaled(step))), step });
        }
    }

    /// It went well.
    pub(super) fn over(&self, key: &K) {
        self.lock().remove(key);
    }

    /// Everybody may ask again.
    #[cfg(test)]
    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use model::ManualClock;

    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_end() {
        let clock = Arc::new(ManualClock::at(0));
        let pauses = Pauses::new(clock.clone());
        let steps: Vec<u64> = (0..8).map(|_| pauses.failed(1).as_secs()).collect();
        assert_eq!(steps, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!((pauses.left(&1), pauses.left(&2)), (Some(LONGEST), None));
        clock.advance_micros(60_000_000);
        assert_eq!(pauses.left(&1), None);
        pauses.over(&1);
        assert_eq!((pauses.failed(1), pauses.long(2)), (FIRST, LONGEST));
        assert_eq!(pauses.len(), 2);
    }
}
