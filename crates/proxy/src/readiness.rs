//! Whether this process has a table, and whether it is young enough to be trusted.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use crate::fault::Fault;

/// After so long without control a tenant fails closed: a revocation must not be lost for ever.
const TRUSTED: i64 = 24 * 3600 * 1_000_000;

/// What the link knows and requests ask.
#[derive(Debug, Default)]
pub struct Readiness {
    table: AtomicBool,
    /// Last word of control, microseconds since 1970; 0 while a fixed table is served.
    heard: AtomicI64,
}

impl Readiness {
    /// A table was applied: of control's, of the last good file, or a fixed one.
    pub fn table_is_there(&self) {
        self.table.store(true, Ordering::Release);
    }

    /// Control spoke at `now` (microseconds since 1970), or had when the last good file was written.
    pub fn heard(&self, now: i64) {
        self.heard.store(now, Ordering::Release);
    }

    /// Whether there is a table.
    pub fn has_table(&self) -> bool {
        self.table.load(Ordering::Acquire)
    }

    /// Whether the table may still be served at `now`.
    pub(crate) fn check(&self, now: i64) -> Result<(), Fault> {
        let heard = self.heard.load(Ordering::Acquire);
        if heard != 0 && now.saturating_sub(heard) > TRUSTED { Err(Fault::ConfigStale) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_trusted_for_a_day_without_control() {
        let readiness = Readiness::default();
        assert!(!readiness.has_table());
        assert_eq!(readiness.check(i64::MAX), Ok(()), "a fixed table does not age");
        readiness.heard(1_000);
        assert_eq!(readiness.check(1_000 + TRUSTED), Ok(()));
        assert_eq!(readiness.check(1_001 + TRUSTED), Err(Fault::ConfigStale));
    }
}
