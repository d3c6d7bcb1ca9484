//! A round trip of a browser to an authorization server and back: what is kept in between, and whose answer it takes.
//!
//! The state in the URL is 256 random bits of which only a hash is kept. The code verifier is kept nowhere: it is made of
//! the state and the session's own secret, which only the browser has, and which is in no URL. So the round trip is bound
//! to the session that set out, and ends on any replica.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{ConnectionId, DepartmentId, Holder, Revision, Scope, Secret, UserId};
use ring::digest;
use serde::{Deserialize, Serialize};
use url::Url;
use uuid::Uuid;

use super::metadata::AuthorizationServer;

/// How long a round trip may take.
pub(crate) const LONGEST: Duration = Duration::from_secs(10 * 60);
/// What the rows of our round trips are called.
pub(super) const KIND: &str = "upstream";

/// What is kept between leaving and coming back. Nothing in it is secret.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Trip {
    pub(super) tenant: Uuid,
    pub(super) server: Uuid,
    /// The attempt that is told of the end.
    pub(super) attempt: Uuid,
    scope_type: String,
    holder: Option<Uuid>,
    /// Who set out.
    pub(super) user: Uuid,
    /// Where the server was then: what is granted for it goes nowhere else.
    pub(super) url: String,
    /// The authorization server as it was when the person was sent there: its answer goes to nobody else.
    pub(super) issuer: AuthorizationServer,
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) resource: Option<String>,
    pub(super) scope: Option<String>,
    /// Where the person wanted to be afterwards.
    pub(super) back: Option<String>,
}

/// Whom and what a round trip is for.
pub(super) struct For {
    pub(super) tenant: Uuid,
    pub(super) server: Uuid,
    pub(super) attempt: Uuid,
    pub(super) holder: Holder,
    pub(super) user: Uuid,
    pub(super) url: String,
    pub(super) back: Option<String>,
}

/// What is asked for.
pub(super) struct Asked {
    pub(super) issuer: AuthorizationServer,
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) resource: Option<String>,
    pub(super) scope: Option<String>,
}

impl Trip {
    pub(super) fn new(of: For, asked: Asked) -> Self {
        let holder = match of.holder {
            Holder::Global => None,
            Holder::Department(id) => Some(id.0),
            Holder::User(id) => Some(id.0),
        };
        Self {
            tenant: of.tenant,
            server: of.server,
            attempt: of.attempt,
            scope_type: of.holder.scope().as_str().to_owned(),
            holder,
            user: of.user,
            url: of.url,
            issuer: asked.issuer,
            client_id: asked.client_id,
            redirect_uri: asked.redirect_uri,
            resource: asked.resource,
            scope: asked.scope,
            back: of.back,
        }
    }

    /// The attempt that is told of the end.
    pub(crate) fn attempt(&self) -> Uuid {
        self.attempt
    }

    /// Whom the connection is for.
    pub(crate) fn holder(&self) -> Option<Holder> {
        match (Scope::parse(&self.scope_type)?, self.holder) {
            (Scope::Global, None) => Some(Holder::Global),
            (Scope::Department, Some(id)) => Some(Holder::Department(DepartmentId(id))),
            (Scope::User, Some(id)) => Some(Holder::User(UserId(id))),
            _ => None,
        }
    }

    /// Where the browser is sent.
    pub(super) fn url(&self, state: &Secret, verifier: &Secret) -> Url {
        let mut url = self.issuer.authorization_endpoint.clone();
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("response_type", "code")
                .append_pair("client_id", &self.client_id)
                .append_pair("redirect_uri", &self.redirect_uri)
                .append_pair("state", state.expose())
                .append_pair("code_challenge", &challenge(verifier))
                .append_pair("code_challenge_method", "S256");
            if let Some(resource) = &self.resource {
                query.append_pair("resource", resource);
            }
            if let Some(scope) = &self.scope {
                query.append_pair("scope", scope);
                // OpenID Connect Core, 11: without it servers may leave the refresh token out.
                if super::scopes::words(scope).contains(&super::scopes::OFFLINE) {
                    query.append_pair("prompt", "consent");
                }
            }
        }
        url
    }
}

/// RFC 7636, 4.2, `S256`.
fn challenge(verifier: &Secret) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.expose().as_bytes()))
}

/// What the browser brings back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer<'a> {
    pub(crate) state: Option<&'a str>,
    pub(crate) issuer: Option<&'a str>,
    pub(crate) error: Option<&'a str>,
    pub(crate) description: Option<&'a str>,
}

/// What a person's round trip has become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Connected {
    /// The connection that has the new token.
    pub(crate) connection: ConnectionId,
    /// The revision at which proxies have it.
    pub(crate) revision: Revision,
    /// Where the person wanted to be.
    pub(crate) back: Option<String>,
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn trip(endpoint: &str, resource: Option<&str>, scope: Option<&str>) -> Trip {
        let url = |text: &str| Url::parse(text).unwrap();
        let issuer = AuthorizationServer {
            issuer: "https://as.example".to_owned(),
            authorization_endpoint: url(endpoint),
            token_endpoint: url("https://as.example/token"),
            registration_endpoint: None,
            revocation_endpoint: None,
            methods: None,
            scopes: None,
            names_itself: false,
            client_documents: false,
        };
        let id = Uuid::from_u128(7);
        let holder = Holder::User(UserId(id));
        let of = For { tenant: id, server: id, attempt: id, holder, user: id, url: String::new(), back: None };
        let asked = Asked {
            issuer,
            client_id: "our id".to_owned(),
            redirect_uri: "https://gate.example/oauth/callback".to_owned(),
            resource: resource.map(str::to_owned),
            scope: scope.map(str::to_owned),
        };
        Trip::new(of, asked)
    }

    #[test]
    fn the_browser_is_sent_with_a_challenge_and_without_the_verifier() {
        // RFC 7636, appendix B.
        let verifier = Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned());
        let state = Secret::new("the-state".to_owned());
        let trip =
            trip("https://as.example/authorize?tenant=x", Some("https://a.example/mcp"), Some("a offline_access"));
        let url = trip.url(&state, &verifier);
        let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
        for (name, value) in [
            ("tenant", "x"),
            ("response_type", "code"),
            ("client_id", "our id"),
            ("redirect_uri", "https://gate.example/oauth/callback"),
            ("state", "the-state"),
            ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
            ("code_challenge_method", "S256"),
            ("resource", "https://a.example/mcp"),
            ("scope", "a offline_access"),
            ("prompt", "consent"),
        ] {
            assert_eq!(query[name], value, "{name}");
        }
        assert!(!url.as_str().contains(verifier.expose()));
    }

    #[test]
    fn what_nobody_said_is_not_asked_for() {
        let nothing = Secret::new("s".to_owned());
        let url = trip("https://as.example/authorize", None, None).url(&nothing, &nothing);
        for name in ["scope=", "resource=", "prompt="] {
            assert!(!url.as_str().contains(name), "{url}");
        }
    }

    #[test]
    fn whom_it_is_for_comes_back_as_it_was() {
        let trip = trip("https://as.example/authorize", None, None);
        let text = serde_json::to_string(&trip).unwrap();
        let back: Trip = serde_json::from_str(&text).unwrap();
        assert_eq!(back.holder(), Some(Holder::User(UserId(Uuid::from_u128(7)))));
        let odd = Trip { scope_type: "global".to_owned(), ..back };
        assert_eq!(odd.holder(), None);
    }
}
