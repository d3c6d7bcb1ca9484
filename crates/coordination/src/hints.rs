//! Who waits for which topic in this process.

use std::sync::Arc;

use tokio::sync::broadcast;

/// Hints that a slow waiter may be behind; more than that count as one for every topic.
const BEHIND: usize = 256;

/// Every hint of this process, whatever its topic.
pub(crate) struct Board(broadcast::Sender<Arc<str>>);

impl Default for Board {
    fn default() -> Self {
        Self(broadcast::Sender::new(BEHIND))
    }
}

impl Board {
    /// Wakes who waits for `topic`.
    pub(crate) fn wake(&self, topic: &str) {
        // Nobody may be waiting.
        _ = self.0.send(topic.into());
    }

    /// The hints on `topic` from now on.
    pub(crate) fn hints(&self, topic: &str) -> Hints {
        Hints { topic: topic.into(), all: self.0.subscribe() }
    }
}

/// The hints on one topic.
#[derive(Debug)]
pub struct Hints {
    topic: Box<str>,
    all: broadcast::Receiver<Arc<str>>,
}

impl Hints {
    /// Waits for the next hint. Whoever was too slow to hear them all is woken too. Never returns once the
    /// other end is gone.
    pub async fn next(&mut self) {
        loop {
            match self.all.recv().await {
                Ok(topic) if *topic == *self.topic => return,
                Ok(_) => (),
                Err(broadcast::error::RecvError::Lagged(_)) => return,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_hint_wakes_its_topic_only() {
        let board = Board::default();
        let (mut changes, mut commands) = (board.hints("changes"), board.hints("commands"));
        board.wake("changes");
        changes.next().await;
        assert!(changes.next().now_or_never().is_none());
        assert!(commands.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn who_missed_some_is_woken_as_well() {
        let board = Board::default();
        let mut changes = board.hints("changes");
        (0..2 * BEHIND).for_each(|_| board.wake("commands"));
        changes.next().await;
    }
}
