//! How often a proxy may ask for header lines: whoever has taken one over is not to empty the vault in a minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::Clock;

/// Questions of one node in a second. What it did not ask is saved up for a second, so that a fleet's start is none of it.
const PER_SECOND: i64 = 200;
const SECOND: i64 = 1_000_000;

/// The nodes that asked lately: when each one's share is whole again, microseconds since 1970.
pub(super) struct Rates {
    clock: Arc<dyn Clock>,
    whole_at: Mutex<HashMap<String, i64>>,
}

impl Rates {
    /// The most nodes that are remembered; beyond it nobody else is answered.
    pub(super) const MOST: usize = 4_096;

    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, whole_at: Mutex::default() }
    }

    /// Takes one question of a node's share.
    pub(super) fn take(&self, node: &str) -> bool {
        let now = self.clock.now_micros();
        let mut nodes = self.whole_at.lock().unwrap_or_else(PoisonError::into_inner);
        if nodes.len() >= Self::MOST && !nodes.contains_key(node) {
            nodes.retain(|_, whole_at| *whole_at > now);
            if nodes.len() >= Self::MOST {
                return false;
            }
        }
        let whole_at = nodes.entry(node.to_owned()).or_insert(now);
        // A clock that was set back gives nobody less.
        *whole_at = (*whole_at).clamp(now, now.saturating_add(SECOND));
        if *whole_at - now > SECOND - SECOND / PER_SECOND {
            return false;
        }
        *whole_at += SECOND / PER_SECOND;
        true
    }

    /// How many nodes are remembered.
    pub(super) fn len(&self) -> usize {
        self.whole_at.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
mod tests {
    use model::ManualClock;

    use super::*;

    #[test]
    fn a_node_asks_two_hundred_times_in_a_second_and_another_one_too() {
        let clock = Arc::new(ManualClock::at(5_000_000));
        let rates = Rates::new(clock.clone());
        let taken = |node: &str| (0..1_000).filter(|_| rates.take(node)).count();
        assert_eq!((taken("default/a"), taken("default/b")), (200, 200));
        clock.advance_micros(SECOND / 2);
        assert_eq!(taken("default/a"), 100);
        clock.advance_micros(-10 * SECOND);
        assert_eq!(taken("default/a"), 0);
        clock.advance_micros(SECOND);
        assert_eq!(taken("default/a"), 200, "a clock that was set back locks nobody out for long");
    }

    #[test]
    fn the_number_of_nodes_is_bounded() {
        let clock = Arc::new(ManualClock::at(0));
        let rates = Rates::new(clock.clone());
        for node in 0..Rates::MOST {
            assert!(rates.take(&format!("default/{node}")));
        }
        assert!(!rates.take("default/more") && rates.take("default/0"));
        clock.advance_micros(SECOND);
        assert!(rates.take("default/more"));
        assert_eq!(rates.len(), 1);
    }
}
