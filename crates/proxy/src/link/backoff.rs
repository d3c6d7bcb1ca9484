//! How long to wait before the next try: full jitter, so that a fleet doesn't come back as one.

use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};

use crate::timers::scaled;

const BASE: Duration = Duration::from_millis(100);
const CAP: Duration = Duration::from_secs(30);
/// A stream that lives so long is no failure.
const STEADY: Duration = Duration::from_secs(30);
/// Failures that a stream leaves which did not live so long.
const YOUNG: u32 = 3;

/// Failures in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next wait: anything from nothing to 100 ms, then 200 ms, 400 ms … 30 s.
    pub(super) fn next(&mut self) -> Duration {
        let ceiling = ceiling(self.failures);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(f64::from(random()) / f64::from(u32::MAX))
    }

    /// A stream that worked for a while starts anew. After one that breaks at once, however well it
    /// began, the wait stays: else whatever breaks it would be met ten times a second. It doesn't grow
    /// beyond a second either, because control is there.
    pub(super) fn ended(&mut self, lived: Duration) {
        self.failures = if lived >= scaled(STEADY) { 0 } else { self.failures.min(YOUNG) };
    }

    /// Where to begin in a list of `len`, so that proxies spread over the replicas.
    pub(super) fn random_index(len: usize) -> usize {
        (random() as usize).checked_rem(len).unwrap_or(0)
    }
}

fn ceiling(failures: u32) -> Duration {
    BASE.saturating_mul(1 << failures.min(16)).min(scaled(CAP))
}

fn random() -> u32 {
    let mut bytes = [0; 4];
    // Without randomness every wait is the shortest one.
    _ = SystemRandom::new().fill(&mut bytes);
    u32::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_thirty_seconds_and_start_anew() {
        let ceilings: Vec<_> = (0..12).map(|failures| ceiling(failures).as_millis()).collect();
        assert_eq!(ceilings, [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000, 30_000]);
        let mut backoff = Backoff::default();
        for failures in 0..100 {
            assert!(backoff.next() <= ceiling(failures));
        }
        backoff.ended(Duration::from_millis(900));
        assert_eq!(backoff.failures, YOUNG, "a stream that broke at once");
        backoff.ended(STEADY);
        assert!(backoff.next() <= BASE);
    }

    #[test]
    fn a_list_of_any_length_has_a_beginning() {
        assert_eq!(Backoff::random_index(0), 0);
        assert!((0..100).all(|_| Backoff::random_index(3) < 3));
    }
}
