//! Named places where a debug build can be told to die, so that tests cut a multi-step change in
//! the middle. Release builds compile them out.

/// Every crash point of the two processes: the name, and what has and has not happened there.
/// A test runs each of them; a point that is not in this list aborts at its first use.
pub const CRASH_POINTS: &[(&str, &str)] = &[
    ("add.probed", "the upstream was probed, nothing is saved"),
    ("add.committed", "the record is committed, no proxy was told"),
    ("change.committed", "the change is committed, no proxy was told"),
    ("delete.committed", "the tombstone is committed, no proxy was told"),
    ("connection.sealed", "a credential is sealed, nothing is saved"),
    ("connection.committed", "the connection is committed, no proxy was told"),
    ("connection.revoked", "the authorization server was told, the secrets are still here"),
    ("connection.removed", "the connection is gone, no proxy was told"),
    ("push.sent", "a push was sent, its answer was not awaited"),
    ("apply.staged", "the proxy decoded a push and has not swapped its table"),
    ("apply.swapped", "the proxy swapped its table and has not answered"),
    ("lkg.written", "the new table file is written and synced, not yet renamed"),
    ("lkg.renamed", "the new table file is renamed, the push is not answered"),
    ("recover.planned", "the differences are known, nothing was pushed"),
    ("recover.pushed", "the repair was pushed, the second look was not taken"),
    ("refresh.leased", "the turn to refresh is taken and the record read again, nothing was asked"),
    ("refresh.answered", "the token endpoint has answered, nothing is stored"),
    ("refresh.committed", "the new token is stored, nobody has it"),
    ("rotation.keys_made", "new data keys seal, nothing was sealed anew"),
    ("rotation.page", "a page of keys or secrets is under the new key, the next one is not"),
];

/// Aborts the process, as `kill -9` would, if `GATEHOUSE_CRASH_AT` names this point. Compiled out of release
/// builds.
#[cfg(debug_assertions)]
pub fn crash_here(point: &'static str) {
    use std::sync::OnceLock;
    static AT: OnceLock<Option<String>> = OnceLock::new();
    debug_assert!(CRASH_POINTS.iter().any(|(name, _)| *name == point), "{point} is not in CRASH_POINTS");
    let at = AT.get_or_init(|| std::env::var("GATEHOUSE_CRASH_AT").ok());
    if at.as_deref() == Some(point) {
        std::process::abort();
    }
}

/// Compiled out of release builds.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn crash_here(_point: &'static str) {}
