//! When an upstream that fails is left alone: `Ready → Cooling → Trial → Ready`, with `now` as an argument.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Transport failures in a row that open the cooldown; a failed connect opens it at once.
const FAILURES: u32 = 3;
/// First pause; each further one in a row is twice as long.
const FIRST: Duration = Duration::from_secs(30);
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(300);
/// A trial that never reports back (its client went away) counts as over after this long.
const TRIAL: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
enum State {
    Ready { failures: u32, pauses: u32 },
    Cooling { until: Instant, pauses: u32 },
    Trial { since: Instant, pauses: u32 },
}

/// The cooldown of one mount. The lock is held for a few instructions, never over IO.
#[derive(Debug)]
pub(crate) struct Cooldown(Mutex<State>);

impl Default for Cooldown {
    fn default() -> Self {
        Self(Mutex::new(State::Ready { failures: 0, pauses: 0 }))
    }
}

impl Cooldown {
    /// May a request go out now? While cooling: how long to wait. After a pause, one caller goes
    /// first and the others wait for what it finds.
    pub(crate) fn admit(&self, now: Instant) -> Result<(), Duration> {
        let mut state = self.lock();
        match *state {
            State::Ready { .. } => Ok(()),
            State::Cooling { until, .. } if now < until => Err(until - now),
            State::Trial { since, .. } if now < since + TRIAL => Err(Duration::from_secs(1)),
            State::Cooling { pauses, .. } | State::Trial { pauses, .. } => {
                *state = State::Trial { since: now, pauses };
                Ok(())
            }
        }
    }

    /// The upstream answered, whatever it said: tool errors and refused credentials never count.
    pub(crate) fn succeeded(&self) {
        let mut state = self.lock();
        if !matches!(*state, State::Ready { failures: 0, pauses: 0 }) {
            *state = State::Ready { failures: 0, pauses: 0 };
        }
    }

    /// An answer has begun that will take its time. A trial is over by it; only the end of the answer
    /// tells whether the upstream is well again.
    pub(crate) fn answers(&self) {
        let mut state = self.lock();
        if let State::Trial { pauses, .. } = *state {
            *state = State::Ready { failures: FAILURES - 1, pauses };
        }
    }

    /// The transport failed; `connect` if not even a connection came about. `jitter` is 0.0 to 1.0
    /// and lengthens the pause by up to a tenth.
    pub(crate) fn failed(&self, now: Instant, connect: bool, jitter: f64) {
        let mut state = self.lock();
        *state = match *state {
            State::Ready { failures, pauses } if !connect && failures + 1 < FAILURES => {
                State::Ready { failures: failures + 1, pauses }
            }
            State::Cooling { until, pauses } if now < until => State::Cooling { until, pauses },
            State::Ready { pauses, .. } | State::Trial { pauses, .. } | State::Cooling { pauses, .. } => {
                let pause = FIRST.saturating_mul(1 << pauses.min(4)).min(LONGEST);
                State::Cooling { until: now + pause + pause.mul_f64(jitter.clamp(0.0, 1.0) / 10.0), pauses: pauses + 1 }
            }
        };
    }

    /// How long the upstream is still left alone.
    pub(crate) fn remaining(&self, now: Instant) -> Option<Duration> {
        match *self.lock() {
            State::Cooling { until, .. } if now < until => Some(until - now),
            _ => None,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_failed_connect_cools_at_once_and_other_failures_at_the_third() {
        let now = Instant::now();
        let cooldown = Cooldown::default();
        cooldown.failed(now, true, 0.0);
        assert_eq!(cooldown.admit(now), Err(FIRST));

        let cooldown = Cooldown::default();
        cooldown.failed(now, false, 0.0);
        cooldown.failed(now, false, 0.0);
        assert_eq!(cooldown.admit(now), Ok(()));
        cooldown.failed(now, false, 0.0);
        assert_eq!(cooldown.admit(now), Err(FIRST));
    }

    #[test]
    fn a_success_between_forgets_the_failures() {
        let now = Instant::now();
        let cooldown = Cooldown::default();
        cooldown.failed(now, false, 0.0);
        cooldown.failed(now, false, 0.0);
        cooldown.succeeded();
        cooldown.failed(now, false, 0.0);
        assert_eq!(cooldown.admit(now), Ok(()));
    }

    #[test]
    fn after_the_pause_one_trial_decides_for_all() {
        let mut now = Instant::now();
        let cooldown = Cooldown::default();
        let mut pause = FIRST;
        for _ in 0..6 {
            cooldown.failed(now, true, 0.0);
            assert_eq!(cooldown.remaining(now), Some(pause));
            now += pause;
            assert_eq!(cooldown.admit(now), Ok(()), "the trial");
            assert_eq!(cooldown.admit(now), Err(SECOND), "everybody else waits");
            pause = (pause * 2).min(LONGEST);
        }
        cooldown.succeeded();
        assert_eq!(cooldown.admit(now), Ok(()));
        cooldown.failed(now, true, 1.0);
        assert_eq!(cooldown.remaining(now), Some(FIRST + FIRST / 10), "success starts from the first pause again");
    }

    #[test]
    fn an_answer_that_has_begun_ends_the_trial_and_one_that_breaks_off_cools_for_longer() {
        let now = Instant::now();
        let cooldown = Cooldown::default();
        cooldown.failed(now, true, 0.0);
        let later = now + FIRST;
        assert_eq!(cooldown.admit(later), Ok(()), "the trial");
        cooldown.answers();
        assert_eq!(cooldown.admit(later), Ok(()), "everybody may");
        cooldown.failed(later, false, 0.0);
        assert_eq!(cooldown.remaining(later), Some(FIRST * 2));

        let cooldown = Cooldown::default();
        cooldown.failed(now, false, 0.0);
        cooldown.answers();
        cooldown.failed(now, false, 0.0);
        assert_eq!(cooldown.remaining(now), None, "outside of a trial it changes nothing");
    }

    #[test]
    fn a_trial_that_never_reports_back_is_taken_over() {
        let now = Instant::now();
        let cooldown = Cooldown::default();
        cooldown.failed(now, true, 0.0);
        let later = now + FIRST;
        assert_eq!(cooldown.admit(later), Ok(()));
        assert_eq!(cooldown.admit(later + TRIAL), Ok(()));
    }
}
