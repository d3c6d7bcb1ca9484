//! Sign-ins that failed: each is counted, and a line of the log says whom it was about and from where. Nothing of a
//! password is near.

use std::sync::{Mutex, PoisonError};

use axum::http::request::Parts;

use super::session;
use crate::App;
use crate::pages::Refusal;

/// Lines of the log within a minute: a flood is counted, and must not fill a disk.
const LINES: u32 = 600;
/// The time over which lines are counted, microseconds.
const WINDOW: i64 = 60 * 1_000_000;
/// Most characters of a name that are written.
const MAX_NAME: usize = 64;

/// What it failed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Tenant, login and password don't belong together.
    Password,
    /// A one-time link that opens nothing.
    Link,
    /// The way back from an issuer.
    Issuer,
    /// Too many tries.
    Limit,
}

impl Reason {
    pub(crate) const ALL: [Self; 4] = [Self::Password, Self::Link, Self::Issuer, Self::Limit];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Link => "link",
            Self::Issuer => "issuer",
            Self::Limit => "limit",
        }
    }

    /// What a refused way back from an issuer failed by; `None` if it is our own fault, or nobody's.
    pub(crate) fn of(refusal: &Refusal) -> Option<Self> {
        match refusal {
            Refusal::TooMany(_) => Some(Self::Limit),
            Refusal::Busy | Refusal::Unavailable | Refusal::Internal => None,
            _ => Some(Self::Issuer),
        }
    }
}

/// The lines of this minute.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    until: i64,
    written: u32,
}

impl Failures {
    /// Counts a failure. Tenant and login are as they were given; whoever types a password there by mistake finds no
    /// more of it in the log than looks like a name.
    pub(crate) fn note(app: &App, parts: &Parts, reason: Reason, tenant: &str, login: &str) {
        app.counters.sign_in_failed(reason);
        if !app.sign_in.failures.may_write(app.clock.now_micros()) {
            return;
        }
        let (tenant, login) = (safe(tenant), safe(login));
        let ip = session::ip(parts).unwrap_or_default();
        tracing::info!(reason = reason.as_str(), tenant, login, ip, "a sign-in failed");
    }

    fn may_write(&self, now: i64) -> bool {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.until <= now {
            *lines = Lines { until: now.saturating_add(WINDOW), written: 0 };
        }
        let may = lines.written < LINES;
        lines.written += u32::from(may);
        may
    }
}

/// A name as names are here; other characters would forge lines or hide in them.
fn safe(given: &str) -> String {
    let shown = |character: char| {
        if character.is_ascii_alphanumeric() || "._@+-".contains(character) { character } else { '?' }
    };
    given.chars().take(MAX_NAME).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_forge_nothing() {
        for (given, written) in [
            ("ann.b+c@acme-1_x.example", "ann.b+c@acme-1_x.example"),
            ("ann\nlevel=error", "ann?level?error"),
            ("\u{1b}[31m\u{202e}x", "??31m?x"),
            ("", ""),
        ] {
            assert_eq!(safe(given), written);
        }
        assert_eq!(safe(&"x".repeat(10_000)).len(), MAX_NAME);
    }

    #[test]
    fn a_flood_writes_so_many_lines_a_minute() {
        let failures = Failures::default();
        let written = |now| (0..LINES + 10).filter(|_| failures.may_write(now)).count();
        assert_eq!((written(5), written(WINDOW + 4), written(WINDOW + 5)), (LINES as usize, 0, LINES as usize));
    }

    #[test]
    fn what_is_nobodys_fault_is_no_failed_sign_in() {
        for (refusal, reason) in [
            (Refusal::NoAccount { login: None }, Some(Reason::Issuer)),
            (Refusal::State("x"), Some(Reason::Issuer)),
            (Refusal::IssuerDown("x"), Some(Reason::Issuer)),
            (Refusal::TooMany(1), Some(Reason::Limit)),
            (Refusal::Busy, None),
            (Refusal::Unavailable, None),
            (Refusal::Internal, None),
        ] {
            assert_eq!(Reason::of(&refusal), reason, "{refusal:?}");
        }
    }
}
