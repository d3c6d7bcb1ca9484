//! Expiring marks of this process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Marks that are kept at once; beyond it the ones that have expired go first, then nothing more is known.
const KEPT: usize = 100_000;

/// What became of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It is ours now.
    Set,
    /// Somebody set it before and it has not expired.
    Taken,
    /// Nobody can say: do the work.
    Unknown,
}

/// Names and when they end.
#[derive(Default)]
pub(crate) struct Marks(Mutex<HashMap<Box<str>, Instant>>);

impl Marks {
    pub(crate) fn set(&self, name: &str, ttl: Duration) -> Mark {
        let now = Instant::now();
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.get(name).is_some_and(|until| *until > now) {
            return Mark::Taken;
        }
        if marks.len() >= KEPT {
            marks.retain(|_, until| *until > now);
        }
        if marks.len() >= KEPT {
            return Mark::Unknown;
        }
        marks.insert(name.into(), now + ttl);
        Mark::Set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_mark_is_taken_until_it_expires() {
        let marks = Marks::default();
        assert_eq!(marks.set("a", Duration::from_secs(5)), Mark::Set);
        assert_eq!(marks.set("a", Duration::from_secs(5)), Mark::Taken);
        assert_eq!(marks.set("b", Duration::from_secs(5)), Mark::Set);
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(marks.set("a", Duration::from_secs(5)), Mark::Set);
    }

    #[tokio::test(start_paused = true)]
    async fn expired_marks_make_room_and_a_full_book_says_so() {
        let marks = Marks::default();
        for number in 0..KEPT {
            assert_eq!(marks.set(&number.to_string(), Duration::from_secs(1)), Mark::Set);
        }
        assert_eq!(marks.set("more", Duration::from_secs(1)), Mark::Unknown);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(marks.set("more", Duration::from_secs(1)), Mark::Set);
    }
}
