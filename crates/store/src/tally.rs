//! What the database was asked, how long it took, and how full its pools are: for whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sea_orm::{DatabaseConnection, DbBackend};

/// Upper bounds of the classes of statements' durations, in seconds; one class more for what took longer.
pub const STATEMENT_SECONDS: [f64; 10] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0];

/// Numbers since the start of the process; each only grows.
#[derive(Debug, Default)]
pub struct Tally {
    classes: [AtomicU64; STATEMENT_SECONDS.len() + 1],
    micros: AtomicU64,
    failed: AtomicU64,
    changes: AtomicU64,
}

/// How full a pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// `write` or `read`.
    pub name: &'static str,
    /// Connections that somebody uses.
    pub used: u32,
    /// Most connections.
    pub most: u32,
}

impl Tally {
    /// How many statements fell into each class of [`STATEMENT_SECONDS`], and the sum of all in seconds. Waiting
    /// for a connection counts.
    pub fn statements(&self) -> (Vec<u64>, f64) {
        let classes = self.classes.iter().map(|class| class.load(Ordering::Relaxed)).collect();
        (classes, self.micros.load(Ordering::Relaxed) as f64 / 1e6)
    }

    /// Statements that failed, those that took too long included.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Changes that were committed, each with its audit row.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    pub(crate) fn asked(&self, took: Duration, answered: bool) {
        let seconds = took.as_secs_f64();
        if let Some(class) = self.classes.get(STATEMENT_SECONDS.partition_point(|bound| *bound < seconds)) {
            class.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        if !answered {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }
}

impl Pool {
    pub(crate) fn of(name: &'static str, connection: &DatabaseConnection) -> Self {
        let (open, idle, most) = match connection.get_database_backend() {
            DbBackend::Postgres => {
                let pool = connection.get_postgres_connection_pool();
                (pool.size(), pool.num_idle(), pool.options().get_max_connections())
            }
            DbBackend::Sqlite => {
                let pool = connection.get_sqlite_connection_pool();
                (pool.size(), pool.num_idle(), pool.options().get_max_connections())
            }
            // No other kind can be opened.
            _ => (0, 0, 0),
        };
        Self { name, used: open.saturating_sub(u32::try_from(idle).unwrap_or(open)), most }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_counts_in_the_first_class_that_holds_it() {
        let tally = Tally::default();
        for (millis, answered) in [(0, true), (1, true), (5_000, true), (5_001, false)] {
            tally.asked(Duration::from_millis(millis), answered);
        }
        let (classes, seconds) = tally.statements();
        assert_eq!(classes, [1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert!((seconds - 10.002).abs() < 1e-9);
        assert_eq!(tally.failed(), 1);
    }
}
