//! Timers that a test can hurry.

pub(crate) use daemon::scaled;
