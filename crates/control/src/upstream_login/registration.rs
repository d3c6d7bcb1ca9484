//! Which client we are at an authorization server: the one that an admin gave, the document at our public URL, or
//! one that is registered there by itself (RFC 7591).

use model::Secret;
use serde_json::Value;

use super::client::{self, ClientAuth};
use super::metadata::{AuthorizationServer, Method};
use crate::rest::parse_json;

/// Bytes of a name and of a secret that a server gives.
const MAX_ID: usize = 2048;
const MAX_SECRET: usize = 4096;
/// Seconds before its end from which on a registration is no longer used.
const MARGIN: i64 = 60;

/// How we come to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// An admin gave it.
    Given,
    /// The server reads our document.
    Document,
    /// It registers us, and lets us show who we are so.
    Register(Method),
    /// An admin must give one.
    Nobody,
}

/// Chooses the way. `base` is our public URL.
pub(super) fn way(given: Option<&str>, server: &AuthorizationServer, base: &str) -> Way {
    if given.is_some() {
        return Way::Given;
    }
    let documented = server.client_documents && (server.methods.is_none() || server.takes(Method::None));
    // What others can't fetch describes nobody; servers on this machine can.
    if documented && base.starts_with("https://") {
        return Way::Document;
    }
    match (&server.registration_endpoint, wanted(server)) {
        (Some(_), Some(method)) => Way::Register(method),
        _ if documented && server.issuer.starts_with("http://") => Way::Document,
        _ => Way::Nobody,
    }
}

/// The best way to show who we are that the server takes; `None` if there is none that we have.
fn wanted(server: &AuthorizationServer) -> Option<Method> {
    [Method::ClientSecretBasic, Method::ClientSecretPost, Method::None].into_iter().find(|method| server.takes(*method))
}

/// What is asked for when we register.
pub(super) fn request(base: &str, method: Method, scope: Option<&str>) -> Value {
    let mut body = client::described(base, method);
    if let (Some(scope), Some(members)) = (scope, body.as_object_mut()) {
        members.insert("scope".to_owned(), scope.into());
    }
    body
}

/// A client that was registered.
pub(super) struct Registered {
    pub(super) id: String,
    pub(super) secret: Option<Secret>,
    pub(super) method: Method,
    /// Microseconds since 1970; `None`: it does not end.
    pub(super) secret_until: Option<i64>,
}

impl Registered {
    /// Reads the answer to a registration; `None` when it is none. `asked` holds where it says nothing.
    pub(super) fn parse(body: &[u8], asked: Method) -> Option<Self> {
        let answer = parse_json(body).ok()?;
        let text = |name: &str, most: usize| {
            let text = answer.get(name)?.as_str()?;
            (!text.is_empty() && text.len() <= most && !text.chars().any(char::is_control)).then(|| text.to_owned())
        };
        let id = text("client_id", MAX_ID)?;
        let secret = text("client_secret", MAX_SECRET).map(Secret::new);
        let told = match answer.get("token_endpoint_auth_method") {
            None | Some(Value::Null) => None,
            Some(word) => Some(Method::parse(word.as_str()?)?),
        };
        let method = match (told, &secret) {
            (Some(method), Some(_)) => method,
            (None, Some(_)) if asked == Method::None => Method::ClientSecretPost,
            (None, Some(_)) => asked,
            (_, None) => Method::None,
        };
        let until = answer.get("client_secret_expires_at").and_then(Value::as_i64).filter(|until| *until > 0);
        Some(Self { id, secret, method, secret_until: until.map(|until| until.saturating_mul(1_000_000)) })
    }
}

/// Whether a registration that we have is still of use: for the redirect URI of today, and not at its end.
pub(super) fn is_usable(redirect: &str, registered_for: &str, secret_until: Option<i64>, now: i64) -> bool {
    redirect == registered_for && secret_until.is_none_or(|until| until > now.saturating_add(MARGIN * 1_000_000))
}

/// The client that an admin gave.
pub(super) fn given(id: &str, secret: Option<Secret>, server: &AuthorizationServer) -> ClientAuth {
    let method = server.method(secret.is_some());
    ClientAuth { id: id.to_owned(), secret, method, fixed: true }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use url::Url;

    use super::*;

    const BASE: &str = "https://gate.example";
    const LOCAL: &str = "http://127.0.0.1:5010";

    fn server(documents: bool, register: bool, methods: Option<&[&str]>) -> AuthorizationServer {
        let url = |path: &str| Url::parse(&format!("https://as.example/{path}")).unwrap();
        AuthorizationServer {
            issuer: "https://as.example".to_owned(),
            authorization_endpoint: url("authorize"),
            token_endpoint: url("token"),
            registration_endpoint: register.then(|| url("register")),
            revocation_endpoint: None,
            methods: methods.map(|methods| methods.iter().map(|&method| method.to_owned()).collect()),
            scopes: None,
            names_itself: false,
            client_documents: documents,
        }
    }

    #[test]
    fn the_client_of_an_admin_comes_first_then_the_document_then_a_registration() {
        let basic = Way::Register(Method::ClientSecretBasic);
        let all: Option<&[&str]> = Some(&["none", "client_secret_post", "client_secret_basic"]);
        for (given, server, base, expected) in [
            (Some("own"), server(true, true, None), BASE, Way::Given),
            (None, server(true, true, None), BASE, Way::Document),
            (None, server(true, true, all), BASE, Way::Document),
            (None, server(true, true, Some(&["client_secret_basic"])), BASE, basic),
            // A document that nobody else can fetch.
            (None, server(true, true, None), LOCAL, basic),
            (None, server(true, false, None), LOCAL, Way::Nobody),
            (None, server(false, true, None), BASE, basic),
            (None, server(false, true, all), BASE, basic),
            (
                None,
                server(false, true, Some(&["client_secret_post", "none"])),
                BASE,
                Way::Register(Method::ClientSecretPost),
            ),
            (None, server(false, true, Some(&["none"])), BASE, Way::Register(Method::None)),
            (None, server(false, true, Some(&["tls_client_auth"])), BASE, Way::Nobody),
            (None, server(false, false, None), BASE, Way::Nobody),
        ] {
            assert_eq!(way(given, &server, base), expected, "{given:?} {server:?} {base}");
        }
        let local = AuthorizationServer { issuer: "http://127.0.0.1:9".to_owned(), ..server(true, false, None) };
        assert_eq!(way(None, &local, LOCAL), Way::Document);
    }

    #[test]
    fn a_registration_says_how_we_show_who_we_are() {
        let told = |answer: Value, asked| {
            Registered::parse(answer.to_string().as_bytes(), asked)
                .map(|client| (client.method, client.secret.is_some(), client.secret_until))
        };
        use Method::{ClientSecretBasic as Basic, ClientSecretPost as Post, None as Open};
        for (answer, asked, expected) in [
            (json!({"client_id": "a"}), Basic, Some((Open, false, None))),
            (json!({"client_id": "a", "client_secret": "s"}), Basic, Some((Basic, true, None))),
            (json!({"client_id": "a", "client_secret": "s"}), Open, Some((Post, true, None))),
            (
                json!({"client_id": "a", "client_secret": "s", "token_endpoint_auth_method": "client_secret_post"}),
                Basic,
                Some((Post, true, None)),
            ),
            (
                json!({"client_id": "a", "client_secret": "s", "client_secret_expires_at": 7}),
                Basic,
                Some((Basic, true, Some(7_000_000))),
            ),
            (json!({"client_id": "a", "client_secret_expires_at": 0}), Open, Some((Open, false, None))),
            (json!({"client_id": "a", "token_endpoint_auth_method": "tls_client_auth"}), Basic, None),
            (json!({"client_id": ""}), Basic, None),
            (json!({"client_id": 7}), Basic, None),
            (json!([]), Basic, None),
        ] {
            assert_eq!(told(answer.clone(), asked), expected, "{answer}");
        }
        assert!(Registered::parse(b"<html>", Basic).is_none());
    }

    #[test]
    fn a_registration_for_another_redirect_uri_or_at_its_end_is_made_anew() {
        let now = 1_000_000_000;
        assert!(is_usable("https://a/cb", "https://a/cb", None, now));
        assert!(is_usable("https://a/cb", "https://a/cb", Some(now + 61_000_000), now));
        assert!(!is_usable("https://a/cb", "https://b/cb", None, now), "the redirect URI has changed");
        assert!(!is_usable("https://a/cb", "https://a/cb", Some(now + 59_000_000), now));
    }
}
