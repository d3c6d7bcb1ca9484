//! Whether this process has a table, and whether it is young enough to be trusted.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use crate::fault::Fault;

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

    /// When control was last heard of, microseconds since 1970; `None` while a fixed table is served.
    pub(crate) fn last_heard(&self) -> Option<i64> {
        Some(self.heard.load(Ordering::Acquire)).filter(|heard| *heard != 0)
    }

    /// Whether there is a table.
    pub fn has_table(&self) -> bool {
        self.table.load(Ordering::Acquire)
    }

    /// Whether the table may still be served at `now` to a tenant that trusts it for `stale_after`: a
    /// revocation must not be lost for ever.
    pub(crate) fn check(&self, now: i64, stale_after: Option<Duration>) -> Result<(), Fault> {
        let heard = self.heard.load(Ordering::Acquire);
        let trusted = stale_after.map_or(i64::MAX, |after| i64::try_from(after.as_micros()).unwrap_or(i64::MAX));
        if heard != 0 && now.saturating_sub(heard) > trusted { Err(Fault::ConfigStale) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_trusted_for_as_long_as_its_tenant_says() {
        let readiness = Readiness::default();
        assert!(!readiness.has_table());
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(readiness.check(i64::MAX, hour), Ok(()), "a fixed table does not age");
        readiness.heard(1_000);
        for (now, stale_after, fresh) in [
            (1_000 + 3_600_000_000, hour, true),
            (1_001 + 3_600_000_000, hour, false),
            (1_001 + 3_600_000_000, Some(Duration::from_secs(7200)), true),
            (i64::MAX, None, true),
            (i64::MAX, Some(Duration::MAX), true),
            (999, Some(Duration::ZERO), true),
            (1_001, Some(Duration::ZERO), false),
        ] {
            let expected = if fresh { Ok(()) } else { Err(Fault::ConfigStale) };
            assert_eq!(readiness.check(now, stale_after), expected, "{now} {stale_after:?}");
        }
    }
}
