//! When a dead child is started again, and when that has become pointless.

use std::collections::VecDeque;
use std::time::Duration;

/// This many deaths within [`WINDOW`] end `up`.
const TOO_MANY: usize = 5;
/// See [`TOO_MANY`]; also how long a child must have lived for the backoff to begin anew.
const WINDOW: Duration = Duration::from_secs(60);
/// Pause before the first restart; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What to do about a death.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Start it again after this pause.
    Restart(Duration),
    /// It died too often: something is wrong that a restart doesn't heal.
    GiveUp,
}

/// The deaths of one child. Instants are given as time since any fixed point, so that this needs no clock.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    recent: VecDeque<Duration>,
    streak: u32,
}

impl Deaths {
    /// Counts a death at `now` of a child that had lived for `lived`.
    pub(super) fn count(&mut self, now: Duration, lived: Duration) -> Verdict {
        self.streak = if lived >= WINDOW { 0 } else { self.streak };
        self.recent.push_back(now);
        while self.recent.front().is_some_and(|death| now.saturating_sub(*death) >= WINDOW) {
            self.recent.pop_front();
        }
        if self.recent.len() >= TOO_MANY {
            return Verdict::GiveUp;
        }
        let pause = FIRST_PAUSE.saturating_mul(1_u32.checked_shl(self.streak).unwrap_or(u32::MAX));
        self.streak = self.streak.saturating_add(1);
        Verdict::Restart(pause.min(LONGEST_PAUSE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs deaths `(at, lived)` in seconds and says each pause in ms, or none for giving up.
    fn verdicts(deaths: &[(u64, u64)]) -> Vec<Option<u128>> {
        let mut counted = Deaths::default();
        let verdict =
            |(at, lived): &(u64, u64)| match counted.count(Duration::from_secs(*at), Duration::from_secs(*lived)) {
                Verdict::Restart(pause) => Some(pause.as_millis()),
                Verdict::GiveUp => None,
            };
        deaths.iter().map(verdict).collect()
    }

    #[test]
    fn pauses_double_and_the_fifth_death_in_a_minute_is_the_last() {
        let deaths = [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)];
        assert_eq!(verdicts(&deaths), [Some(200), Some(400), Some(800), Some(1600), None]);
    }

    #[test]
    fn pauses_end_at_five_seconds_when_deaths_are_spread() {
        let deaths: Vec<(u64, u64)> = (1..=9).map(|n| (n * 20, 20)).collect();
        let pauses: Vec<u128> = verdicts(&deaths).into_iter().flatten().collect();
        assert_eq!(pauses, [200, 400, 800, 1600, 3200, 5000, 5000, 5000, 5000]);
    }

    #[test]
    fn four_deaths_a_minute_ago_are_forgotten() {
        let deaths = [(1, 1), (2, 1), (3, 1), (4, 1), (64, 30)];
        assert_eq!(verdicts(&deaths).last(), Some(&Some(3200)));
    }

    #[test]
    fn a_child_that_lived_a_minute_begins_anew() {
        assert_eq!(verdicts(&[(1, 1), (2, 1), (100, 98)]), [Some(200), Some(400), Some(200)]);
    }

    #[test]
    fn any_number_of_deaths_has_a_pause() {
        let deaths: Vec<(u64, u64)> = (1..=100).map(|n| (n * 30, 30)).collect();
        assert!(verdicts(&deaths).iter().all(Option::is_some));
    }
}
