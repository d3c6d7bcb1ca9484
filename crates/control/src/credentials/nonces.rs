//! Evidence counts once: what was shown is remembered for as long as it could be shown again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use identity::evidence::EVIDENCE_LIFETIME;
use model::Clock;

/// Evidence may be a minute old and a minute ahead.
const REMEMBERED: i64 = 2 * EVIDENCE_LIFETIME;

/// The nonces of the last two minutes, at this replica.
pub(super) struct Nonces {
    clock: Arc<dyn Clock>,
    seen: Mutex<HashMap<[u8; 16], i64>>,
}

impl Nonces {
    /// The most that are remembered: beyond it evidence is refused, which the bound of questions for each node keeps
    /// from happening with fewer than a dozen nodes that ask as fast as they may.
    pub(super) const MOST: usize = 262_144;

    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, seen: Mutex::default() }
    }

    /// Whether it was never shown; from now on it was.
    pub(super) fn is_new(&self, nonce: [u8; 16]) -> bool {
        let now = self.clock.now_micros();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= Self::MOST {
            seen.retain(|_, until| *until > now);
        }
        if seen.len() >= Self::MOST || seen.get(&nonce).is_some_and(|until| *until > now) {
            return false;
        }
        seen.insert(nonce, now.saturating_add(REMEMBERED));
        true
    }

    /// How many are remembered.
    pub(super) fn len(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

#[cfg(test)]
mod tests {
    use model::ManualClock;

    use super::*;

    #[test]
    fn a_nonce_is_new_once_in_two_minutes_and_their_number_is_bounded() {
        let clock = Arc::new(ManualClock::at(0));
        let nonces = Nonces::new(clock.clone());
        assert!(nonces.is_new([1; 16]) && !nonces.is_new([1; 16]) && nonces.is_new([2; 16]));
        clock.advance_micros(REMEMBERED);
        assert!(nonces.is_new([1; 16]));
        for number in 0..Nonces::MOST as u128 {
            nonces.is_new((number + 1_000).to_be_bytes());
        }
        assert_eq!(nonces.len(), Nonces::MOST);
        assert!(!nonces.is_new([9; 16]), "what can't be remembered is not believed");
        clock.advance_micros(REMEMBERED);
        assert!(nonces.is_new([9; 16]));
        assert_eq!(nonces.len(), 1);
    }
}
