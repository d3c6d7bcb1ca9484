//! What the link counts, for whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the classes of a latency of the link, in milliseconds; one class more for what took longer.
pub const PUSH_MILLIS: [u64; 10] = [1, 2, 5, 10, 25, 50, 100, 250, 1_000, 5_000];

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, by: u64) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    /// How often it happened since the start.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters of the link since the start of the process.
#[derive(Debug, Default)]
pub struct LinkCounters {
    /// Streams that were accepted.
    pub sessions: Count,
    /// Streams that were refused: another pool, another protocol, a database that is away.
    pub refused: Count,
    /// Pushes sent, snapshots included.
    pub pushes: Count,
    /// Snapshots sent.
    pub snapshots: Count,
    /// Bytes of resources sent in snapshots.
    pub snapshot_bytes: Count,
    /// Answers to another push than the one under way.
    pub nonce_mismatches: Count,
    /// Heartbeats whose digest was not ours.
    pub digest_mismatches: Count,
    /// Streams that were ended by a newer one of the same node.
    pub replaced: Count,
    /// Things asked of control that the pool of the asking proxy has no business with.
    pub foreign: Count,
    /// Readings of the whole intended state.
    pub whole_reads: Count,
    /// Commands that were passed on through the database.
    pub relayed: Count,
    /// From a push to its answer, of each proxy.
    pub push: Latency,
    /// From the commit of a change to the answer of the last attached proxy; revocations apart.
    pub config_lag: Latency,
    /// The same of changes that take something from a key.
    pub revoke_lag: Latency,
}

/// How long something took each time.
#[derive(Debug, Default)]
pub struct Latency {
    classes: [Count; PUSH_MILLIS.len() + 1],
    micros: Count,
}

impl Latency {
    /// How often it fell into each class of [`PUSH_MILLIS`], and the sum in seconds.
    pub fn read(&self) -> (Vec<u64>, f64) {
        (self.classes.iter().map(Count::get).collect(), self.micros.get() as f64 / 1e6)
    }

    pub(crate) fn took(&self, took: Duration) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let class = PUSH_MILLIS.partition_point(|bound| *bound < millis);
        if let Some(count) = self.classes.get(class) {
            count.add(1);
        }
        self.micros.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_counts_in_the_first_class_that_holds_it() {
        let latency = Latency::default();
        for millis in [0, 1, 2, 3, 5_000, 5_001] {
            latency.took(Duration::from_millis(millis));
        }
        let (classes, seconds) = latency.read();
        assert_eq!(classes, [2, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert!((seconds - 10.007).abs() < 1e-9);
    }
}
