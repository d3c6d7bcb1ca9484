//! What is kept of a server's authorization server between logins: refreshing and revoking ask it, and asking for its
//! metadata each time would make them fail whenever that is away.

use serde::{Deserialize, Serialize};

use super::metadata::AuthorizationServer;
use super::scopes;

/// Logins after which a server may ask for the very scopes that were asked for, before another one is refused.
const TRIES: u32 = 3;
/// How long it is refused; microseconds.
const PAUSE: i64 = 10 * 60 * 1_000_000;

/// What is known; nothing of it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// The URL of the server for which it was found.
    pub(super) url: String,
    /// The client that an admin had given then: it was given for this issuer.
    pub(super) client_id: Option<String>,
    /// For which tokens are asked.
    pub(super) resource: Option<String>,
    /// The authorization server.
    pub(super) server: AuthorizationServer,
    /// What the last login asked for.
    pub(super) asked: Option<String>,
    /// What the server has asked for since, by 403.
    #[serde(default)]
    pub(super) more: Option<String>,
    /// How often it asked for what it had been given.
    #[serde(default)]
    again: u32,
    /// When it did so last.
    #[serde(default)]
    again_at: i64,
}

impl Known {
    /// What was just found, beside what was known before.
    pub(super) fn new(
        url: &str,
        client_id: Option<&str>,
        resource: Option<String>,
        server: AuthorizationServer,
        before: Option<&Self>,
    ) -> Self {
        let before = before.filter(|before| before.server.issuer == server.issuer);
        Self {
            url: url.to_owned(),
            client_id: client_id.map(str::to_owned),
            resource,
            server,
            asked: before.and_then(|before| before.asked.clone()),
            more: before.and_then(|before| before.more.clone()),
            again: before.map_or(0, |before| before.again),
            again_at: before.map_or(0, |before| before.again_at),
        }
    }

    /// The same, as somebody sets out with these scopes.
    pub(super) fn asking(self, scope: Option<&str>) -> Self {
        Self { asked: scope.map(str::to_owned), ..self }
    }

    /// Reads what was kept for the server at this URL; what was kept for another one is nothing.
    pub(super) fn read(text: &str, url: &str) -> Option<Self> {
        serde_json::from_str(text).ok().filter(|known: &Self| known.url == url)
    }

    /// Whether a client that an admin gave was given for another issuer than this one.
    pub(super) fn binds_elsewhere(&self, client_id: Option<&str>, issuer: &str) -> bool {
        client_id.is_some() && self.client_id.as_deref() == client_id && self.server.issuer != issuer
    }

    /// The server refused with 403 and these scopes. What it asks for beyond what it was given is asked for next time.
    pub(super) fn challenged(&mut self, scope: &str, now: i64) {
        let given = scopes::union(self.asked.as_deref(), self.more.as_deref()).unwrap_or_default();
        if scopes::covers(self.asked.as_deref().unwrap_or_default(), scope) {
            self.again = self.again.saturating_add(1);
            self.again_at = now;
        } else if !scopes::covers(&given, scope) {
            self.again = 0;
        }
        self.more = scopes::union(self.more.as_deref(), Some(scope));
    }

    /// Whether another login would not help: it gets what it asks for and asks for it again.
    pub(super) fn is_insatiable(&self, now: i64) -> bool {
        self.again >= TRIES && now.saturating_sub(self.again_at) < PAUSE
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    fn server(issuer: &str) -> AuthorizationServer {
        AuthorizationServer {
            issuer: issuer.to_owned(),
            authorization_endpoint: Url::parse("https://as.example/authorize").unwrap(),
            token_endpoint: Url::parse("https://as.example/token").unwrap(),
            registration_endpoint: None,
            revocation_endpoint: None,
            methods: None,
            scopes: None,
            names_itself: true,
            client_documents: false,
        }
    }

    fn known() -> Known {
        Known::new("https://a.example/mcp", Some("own"), None, server("https://as.example"), None)
    }

    #[test]
    fn what_was_kept_is_read_back_for_the_same_server_only() {
        let text = serde_json::to_string(&known()).unwrap();
        assert_eq!(Known::read(&text, "https://a.example/mcp"), Some(known()));
        assert_eq!(Known::read(&text, "https://b.example/mcp"), None);
        assert_eq!(Known::read("{}", "https://a.example/mcp"), None);
    }

    #[test]
    fn a_client_that_an_admin_gave_is_not_taken_to_another_issuer() {
        let known = known();
        for (client, issuer, elsewhere) in [
            (Some("own"), "https://as.example", false),
            (Some("own"), "https://evil.example", true),
            // Given anew, or registered by ourselves.
            (Some("other"), "https://evil.example", false),
            (None, "https://evil.example", false),
        ] {
            assert_eq!(known.binds_elsewhere(client, issuer), elsewhere, "{client:?} {issuer}");
        }
    }

    #[test]
    fn a_step_up_is_the_union_and_ends_when_it_does_not_help() {
        let mut known = known();
        known.asked = Some("read".to_owned());
        known.challenged("write", 1);
        assert_eq!((known.more.as_deref(), known.is_insatiable(1)), (Some("write"), false));
        known.challenged("write admin", 2);
        assert_eq!(known.more.as_deref(), Some("write admin"));
        // Now everything was asked for, and it says the same again.
        known.asked = Some("read write admin".to_owned());
        for at in 0..3 {
            assert!(!known.is_insatiable(at));
            known.challenged("admin", at);
        }
        assert!(known.is_insatiable(3) && !known.is_insatiable(3 + PAUSE));
        known.challenged("another", 4);
        assert!(!known.is_insatiable(4), "something new may help");
        // Another authorization server begins anew.
        let moved = Known::new("https://a.example/mcp", None, None, server("https://new.example"), Some(&known));
        assert_eq!((moved.asked, moved.more), (None, None));
    }
}
