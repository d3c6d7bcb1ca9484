//! How long changes are under way: from their commit until the last attached proxy of this replica has them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::Revision;
use store::Commit;

/// Changes that may be under way; what comes beyond them is not measured.
pub(super) const UNDER_WAY: usize = 4_096;

/// How far the attached proxies have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// No proxy is attached here.
    Nobody,
    /// One has yet to be brought to anything.
    Nothing,
    /// All have this.
    All(Revision),
}

/// The changes that not every proxy has, oldest first.
#[derive(Default)]
pub(super) struct Lag(Mutex<VecDeque<Commit>>);

impl Lag {
    /// These were published.
    pub(super) fn published(&self, commits: Vec<Commit>) {
        let mut under_way = self.lock();
        let room = UNDER_WAY.saturating_sub(under_way.len());
        under_way.extend(commits.into_iter().take(room));
    }

    /// Whether it is worth looking how far the others are when a proxy has come this far.
    pub(super) fn is_waited_for(&self, settled: Option<Revision>) -> bool {
        self.lock().front().is_some_and(|first| settled >= Some(first.revision))
    }

    /// Takes out what everybody has. Where nobody is attached nothing is waited for, and nothing was measured.
    pub(super) fn reached(&self, reached: Reached) -> Vec<Commit> {
        let mut under_way = self.lock();
        match reached {
            Reached::Nothing => vec![],
            Reached::Nobody => {
                under_way.clear();
                vec![]
            }
            Reached::All(revision) => {
                let done = under_way.partition_point(|commit| commit.revision <= revision);
                under_way.drain(..done).collect()
            }
        }
    }

    /// How many changes are under way.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Commit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(seq: i64) -> Commit {
        Commit { revision: at(seq), at: seq, urgent: false }
    }

    fn at(seq: i64) -> Revision {
        Revision { epoch: 1, seq }
    }

    #[test]
    fn a_change_has_arrived_when_the_last_proxy_has_it() {
        let lag = Lag::default();
        lag.published(vec![commit(1), commit(2)]);
        lag.published(vec![commit(3)]);
        assert_eq!(lag.reached(Reached::Nothing), []);
        assert_eq!(lag.reached(Reached::All(at(0))), []);
        assert_eq!(lag.reached(Reached::All(at(2))), [commit(1), commit(2)]);
        assert_eq!(lag.reached(Reached::All(Revision { epoch: 2, seq: 0 })), [commit(3)], "a newer history");
        assert_eq!(lag.len(), 0);
    }

    #[test]
    fn nobody_is_waited_for_where_nobody_is() {
        let lag = Lag::default();
        lag.published(vec![commit(1)]);
        assert_eq!(lag.reached(Reached::Nobody), []);
        assert_eq!(lag.len(), 0);
    }

    #[test]
    fn only_what_may_end_something_is_worth_a_look() {
        let lag = Lag::default();
        assert!(!lag.is_waited_for(Some(at(9))), "nothing is under way");
        lag.published(vec![commit(4)]);
        for (settled, worth) in [(None, false), (Some(at(3)), false), (Some(at(4)), true), (Some(at(5)), true)] {
            assert_eq!(lag.is_waited_for(settled), worth, "{settled:?}");
        }
    }

    #[test]
    fn a_proxy_that_never_answers_makes_nothing_grow() {
        let lag = Lag::default();
        (0..10).for_each(|at| lag.published((at * 1_000..(at + 1) * 1_000).map(commit).collect()));
        assert_eq!(lag.len(), UNDER_WAY);
    }
}
