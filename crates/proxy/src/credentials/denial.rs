//! Why somebody has no credential for a server, as clients, models and people are told.

use std::time::Duration;

use model::ConnectionStatus;
use wire::{Challenge, Unresolved};

use super::Unserved;

/// Why a request can't bear a credential, or not this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoCredential {
    /// The stable word.
    pub(crate) error: &'static str,
    /// The same or more.
    pub(crate) reason: &'static str,
    /// For people and models.
    pub(crate) message: String,
    /// Somebody has to connect: nothing else helps.
    pub(crate) needs_login: bool,
    /// Where, if the server has a way to sign in.
    pub(crate) login_url: Option<String>,
    /// Only where trying again may help.
    pub(crate) retry_after: Option<Duration>,
}

impl NoCredential {
    /// Nobody can use the server before somebody connects. `login_url`: where the caller can.
    fn login(error: &'static str, server: &str, what: &str, login_url: Option<String>) -> Self {
        let way = match &login_url {
            Some(url) => format!("Ask the user to open {url} and to try again afterwards."),
            None => "Ask the user, or an administrator, to give the server a working credential.".to_owned(),
        };
        let message = format!("Do not retry: {what} for the server \"{server}\". {way}");
        Self { error, reason: error, message, needs_login: true, login_url, retry_after: None }
    }

    /// The table knows of no connection that serves.
    pub(super) fn unserved(unserved: Unserved, server: &str, login_url: Option<String>) -> Self {
        match unserved {
            Unserved::NoConnection => {
                Self::login("connection_required", server, "there is no connection for you", login_url)
            }
            Unserved::Unusable(ConnectionStatus::Invalid) => {
                Self::login("connection_required", server, "the connection does not fit any more", login_url)
            }
            Unserved::Unusable(_) => Self::reauth(server, login_url),
        }
    }

    /// Whoever the connection is of has to sign in again.
    pub(super) fn reauth(server: &str, login_url: Option<String>) -> Self {
        Self::login("reauth_required", server, "the credential is not accepted any more", login_url)
    }

    /// The upstream wants more than the credential may.
    pub(super) fn insufficient(challenge: &Challenge, server: &str, login_url: Option<String>) -> Self {
        // Only what RFC 6749 lets a scope be: an upstream's own sentences are not ours to pass on.
        let is_scope = |scope: &&str| {
            scope.len() <= 256 && scope.bytes().all(|byte| matches!(byte, b' ' | 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
        };
        let what = match challenge.scope.as_deref().filter(is_scope) {
            Some(scope) => format!("the credential lacks the scope \"{scope}\""),
            None => "the credential may not do this".to_owned(),
        };
        Self::login("insufficient_scope", server, &what, login_url)
    }

    /// Control says that there are none.
    pub(super) fn unresolved(unresolved: &Unresolved, server: &str, login_url: Option<String>) -> Self {
        match unresolved.reason.as_str() {
            "connection_required" => {
                Self::login("connection_required", server, "there is no connection for you", login_url)
            }
            "reauth_required" => Self::reauth(server, login_url),
            _ => {
                let reason = match unresolved.reason.as_str() {
                    "credential_unreadable" => "credential_unreadable",
                    "context_missing" => "context_missing",
                    "template" => "template",
                    "upstream_auth" => "upstream_auth",
                    "sealed" => "sealed",
                    "busy" => "busy",
                    _ => "credential_unavailable",
                };
                Self::unavailable(reason, server, &unresolved.message, unresolved.retry_after)
            }
        }
    }

    /// There is one that can't be had. `retry_after`: now.
    pub(super) fn unavailable(reason: &'static str, server: &str, why: &str, retry_after: Option<Duration>) -> Self {
        let advice = if retry_after.is_some() { "" } else { "Do not retry: " };
        let message = format!("{advice}the credential for the server \"{server}\" can't be used: {why}");
        let error = "credential_unavailable";
        Self { error, reason, message, needs_login: false, login_url: None, retry_after }
    }

    /// The credential was taken away while a request was on its way.
    pub(crate) fn withdrawn() -> Self {
        let error = "credential_unavailable";
        let message = "the credential was replaced or taken away while the request was on its way".to_owned();
        let retry_after = Some(Duration::from_secs(1));
        Self { error, reason: "withdrawn", message, needs_login: false, login_url: None, retry_after }
    }

    #[cfg(test)]
    pub(crate) fn for_test(error: &'static str) -> Self {
        Self::login(error, "notes", "a test", None)
    }
}
