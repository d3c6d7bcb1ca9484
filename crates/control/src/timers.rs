//! Timers that a test can hurry, and how long they are by the database's instants.

use std::time::Duration;

pub(crate) use daemon::scaled;

/// In microseconds, as instants are kept.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
