//! What a protected server (RFC 9728) and an authorization server (RFC 8414, OpenID Connect) say of themselves, read and
//! found fit. Nothing here asks anybody.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::places::are_same;
use crate::outward::usable;
use crate::rest::parse_json;

/// Authorization servers and scopes that a document may name.
const MAX_NAMES: usize = 100;
/// Characters of one of them.
const MAX_NAME: usize = 2048;

/// Why a document is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MetadataError {
    /// Not JSON, or a member is of another kind than it must be.
    #[error("the metadata is not what the RFC describes")]
    Malformed,
    /// The protected server's metadata speaks of another server.
    #[error("the server's metadata names another resource")]
    OtherResource,
    /// It names no authorization server.
    #[error("the server's metadata names no authorization server")]
    NoServer,
    /// The authorization server's metadata speaks of another one.
    #[error("the authorization server's metadata names another issuer")]
    OtherIssuer,
    /// A URL in it may not be used.
    #[error("the authorization server's metadata has a `{0}` that is not an https URL")]
    Url(&'static str),
    /// Nobody could tell that the code is used by whoever asked for it.
    #[error("the authorization server does not say that it supports PKCE with S256")]
    NoPkce,
    /// People can't sign in there.
    #[error("the authorization server has no grant type `authorization_code`")]
    NoCodes,
}

/// What a protected server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resource {
    /// Its own name, which goes into every request for tokens.
    pub(crate) resource: String,
    /// Who gives tokens for it; at least one.
    pub(crate) authorization_servers: Vec<String>,
    /// What there is to ask for.
    pub(crate) scopes: Option<Vec<String>>,
}

impl Resource {
    /// Reads the metadata of the server at `url`.
    pub(crate) fn parse(text: &[u8], url: &Url) -> Result<Self, MetadataError> {
        let document = object(text)?;
        let resource = string(&document, "resource")?.ok_or(MetadataError::Malformed)?;
        if !covers(&resource, url) {
            return Err(MetadataError::OtherResource);
        }
        let authorization_servers = strings(&document, "authorization_servers")?.unwrap_or_default();
        if authorization_servers.is_empty() {
            return Err(MetadataError::NoServer);
        }
        Ok(Self { resource, authorization_servers, scopes: strings(&document, "scopes_supported")? })
    }
}

/// Whether a name of a resource means the server at a URL: the same origin, and its path or one above it.
fn covers(resource: &str, url: &Url) -> bool {
    let Ok(named) = Url::parse(resource) else { return false };
    let path = named.path().trim_end_matches('/');
    let below = url.path().strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let query = named.query().is_none() || named.query() == url.query();
    named.origin().is_tuple() && named.origin() == url.origin() && named.fragment().is_none() && query && below
}

/// The name of a server that has no metadata of its own.
pub(crate) fn canonical(url: &Url) -> String {
    let mut named = url.clone();
    named.set_fragment(None);
    let text = String::from(named);
    text.strip_suffix('/').map(str::to_owned).unwrap_or(text)
}

/// How a client shows at a token endpoint who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Method {
    /// The secret in `Authorization`.
    ClientSecretBasic,
    /// The secret in the form.
    ClientSecretPost,
    /// It only says its name.
    None,
}

impl Method {
    /// The word of the RFCs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::None => "none",
        }
    }

    /// Reads the word.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::ClientSecretBasic, Self::ClientSecretPost, Self::None].into_iter().find(|one| one.as_str() == word)
    }
}

/// What an authorization server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuthorizationServer {
    /// Its name, byte for byte.
    pub(crate) issuer: String,
    /// Where people sign in.
    pub(crate) authorization_endpoint: Url,
    /// Where codes and refresh tokens become tokens.
    pub(crate) token_endpoint: Url,
    /// Where clients register.
    pub(crate) registration_endpoint: Option<Url>,
    /// Where tokens are taken back.
    pub(crate) revocation_endpoint: Option<Url>,
    /// How clients show who they are; `None`: it says nothing of it.
    pub(crate) methods: Option<Vec<String>>,
    /// Scopes that it knows.
    pub(crate) scopes: Option<Vec<String>>,
    /// Its answers to the browser name it (RFC 9207).
    pub(crate) names_itself: bool,
    /// It reads metadata of clients where their ids lead.
    pub(crate) client_documents: bool,
}

impl AuthorizationServer {
    /// Reads the metadata of `issuer`.
    pub(crate) fn parse(text: &[u8], issuer: &str, dev: bool) -> Result<Self, MetadataError> {
        Self::read(text, dev, |named| named == issuer)
    }

    /// Reads the metadata at the origin of a server of 2025-03-26: it was looked for by its place alone, so it says the
    /// name itself, which is none of another origin.
    pub(super) fn parse_own(text: &[u8], server: &Url, dev: bool) -> Result<Self, MetadataError> {
        Self::read(text, dev, |named| usable(named, dev).is_some_and(|named| named.origin() == server.origin()))
    }

    fn read(text: &[u8], dev: bool, is_meant: impl FnOnce(&str) -> bool) -> Result<Self, MetadataError> {
        let document = object(text)?;
        let named = string(&document, "issuer")?.ok_or(MetadataError::Malformed)?;
        if !is_meant(&named) {
            return Err(MetadataError::OtherIssuer);
        }
        let url = |name: &'static str| -> Result<Option<Url>, MetadataError> {
            let text = string(&document, name)?;
            text.map(|text| usable(&text, dev).ok_or(MetadataError::Url(name))).transpose()
        };
        let needed = |name: &'static str| url(name)?.ok_or(MetadataError::Url(name));
        let pkce = strings(&document, "code_challenge_methods_supported")?;
        if !pkce.is_some_and(|methods| methods.iter().any(|method| method == "S256")) {
            return Err(MetadataError::NoPkce);
        }
        let grants = strings(&document, "grant_types_supported")?;
        if grants.is_some_and(|grants| !grants.iter().any(|grant| grant == "authorization_code")) {
            return Err(MetadataError::NoCodes);
        }
        let flag = |name: &str| document.get(name).and_then(Value::as_bool).unwrap_or(false);
        Ok(Self {
            issuer: named,
            authorization_endpoint: needed("authorization_endpoint")?,
            token_endpoint: needed("token_endpoint")?,
            registration_endpoint: url("registration_endpoint")?,
            revocation_endpoint: url("revocation_endpoint")?,
            methods: strings(&document, "token_endpoint_auth_methods_supported")?,
            scopes: strings(&document, "scopes_supported")?,
            names_itself: flag("authorization_response_iss_parameter_supported"),
            client_documents: flag("client_id_metadata_document_supported"),
        })
    }

    /// Whether a way to show who a client is may be used; one that is never named is the first of RFC 6749.
    pub(crate) fn takes(&self, method: Method) -> bool {
        match &self.methods {
            None => method == Method::ClientSecretBasic,
            Some(methods) => methods.iter().any(|known| known == method.as_str()),
        }
    }

    /// How a client with a secret, or without one, shows who it is.
    pub(crate) fn method(&self, secret: bool) -> Method {
        match secret {
            false => Method::None,
            true if self.takes(Method::ClientSecretBasic) => Method::ClientSecretBasic,
            true if self.takes(Method::ClientSecretPost) => Method::ClientSecretPost,
            // It names neither, and there is a secret: what every server must know (RFC 6749, 2.3.1).
            true => Method::ClientSecretBasic,
        }
    }
}

/// The token endpoint in the metadata of an issuer that settings name: they hold URLs, so its name is compared as one.
pub(super) fn token_endpoint(text: &[u8], issuer: &str, dev: bool) -> Result<Url, MetadataError> {
    let document = object(text)?;
    let named = string(&document, "issuer")?.ok_or(MetadataError::Malformed)?;
    if !are_same(&named, issuer) {
        return Err(MetadataError::OtherIssuer);
    }
    let endpoint = string(&document, "token_endpoint")?.ok_or(MetadataError::Malformed)?;
    usable(&endpoint, dev).ok_or(MetadataError::Url("token_endpoint"))
}

/// An answer of an authorization server to the browser: whether it is of the one that was asked (RFC 9207). Names are
/// compared byte by byte; nothing is normalised.
pub(crate) fn answers(server: &AuthorizationServer, named: Option<&str>) -> bool {
    match named {
        Some(named) => named == server.issuer,
        None => !server.names_itself,
    }
}

fn object(text: &[u8]) -> Result<Value, MetadataError> {
    parse_json(text).ok().filter(Value::is_object).ok_or(MetadataError::Malformed)
}

fn string(document: &Value, name: &str) -> Result<Option<String>, MetadataError> {
    match document.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() <= MAX_NAME => Ok(Some(text.clone())),
        Some(_) => Err(MetadataError::Malformed),
    }
}

fn strings(document: &Value, name: &str) -> Result<Option<Vec<String>>, MetadataError> {
    let list = match document.get(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(list)) if list.len() <= MAX_NAMES => list,
        Some(_) => return Err(MetadataError::Malformed),
    };
    let text = |item: &Value| item.as_str().filter(|text| text.len() <= MAX_NAME).map(str::to_owned);
    list.iter().map(|item| text(item).ok_or(MetadataError::Malformed)).collect::<Result<_, _>>().map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://as.example/t";

    fn server(change: impl FnOnce(&mut Value)) -> Result<AuthorizationServer, MetadataError> {
        let mut document = json!({
            "issuer": ISSUER,
            "authorization_endpoint": "https://as.example/authorize",
            "token_endpoint": "https://as.example/token",
            "code_challenge_methods_supported": ["plain", "S256"],
            "more": {"x": 1},
        });
        change(&mut document);
        AuthorizationServer::parse(document.to_string().as_bytes(), ISSUER, false)
    }

    #[test]
    fn a_servers_metadata_must_be_about_that_server() {
        let url = Url::parse("https://a.example/t/mcp").unwrap();
        let told = |resource: Value| {
            let document = json!({"resource": resource, "authorization_servers": [ISSUER]});
            Resource::parse(document.to_string().as_bytes(), &url).map(|resource| resource.resource)
        };
        for good in ["https://a.example/t/mcp", "https://a.example/t/mcp/", "https://A.example/t", "https://a.example"]
        {
            assert_eq!(told(json!(good)).as_deref(), Ok(good));
        }
        for other in [
            "https://evil.example/t/mcp",
            "https://a.example:8443/t/mcp",
            "http://a.example/t/mcp",
            "https://a.example/t/mc",
            "https://a.example/t/mcp/more",
            "https://a.example/other",
            "https://a.example/t/mcp#x",
            "https://a.example/t/mcp?x=1",
            "a.example",
            "",
        ] {
            assert_eq!(told(json!(other)), Err(MetadataError::OtherResource), "{other}");
        }
        assert_eq!(told(json!(7)), Err(MetadataError::Malformed));
        assert_eq!(told(Value::Null), Err(MetadataError::Malformed));
        let none = json!({"resource": "https://a.example/t/mcp", "authorization_servers": []});
        assert_eq!(Resource::parse(none.to_string().as_bytes(), &url), Err(MetadataError::NoServer));
        assert_eq!(Resource::parse(b"<html>", &url), Err(MetadataError::Malformed));
    }

    #[test]
    fn a_server_without_metadata_is_named_by_its_url() {
        for (url, name) in [
            ("https://A.example/t/mcp", "https://a.example/t/mcp"),
            ("https://a.example/", "https://a.example"),
            ("https://a.example/mcp/#x", "https://a.example/mcp"),
        ] {
            assert_eq!(canonical(&Url::parse(url).unwrap()), name);
        }
    }

    #[test]
    fn the_issuer_of_the_metadata_must_be_the_one_that_was_asked_and_pkce_must_be_offered() {
        assert_eq!(server(|_| ()).unwrap().issuer, ISSUER);
        for (member, value, why) in [
            ("issuer", json!("https://as.example/t/"), MetadataError::OtherIssuer),
            ("issuer", json!("https://AS.example/t"), MetadataError::OtherIssuer),
            ("issuer", Value::Null, MetadataError::Malformed),
            ("code_challenge_methods_supported", Value::Null, MetadataError::NoPkce),
            ("code_challenge_methods_supported", json!([]), MetadataError::NoPkce),
            ("code_challenge_methods_supported", json!(["plain"]), MetadataError::NoPkce),
            ("grant_types_supported", json!(["client_credentials"]), MetadataError::NoCodes),
            ("authorization_endpoint", json!("javascript:alert(1)"), MetadataError::Url("authorization_endpoint")),
            ("authorization_endpoint", json!("http://as.example/a"), MetadataError::Url("authorization_endpoint")),
            ("authorization_endpoint", Value::Null, MetadataError::Url("authorization_endpoint")),
            ("token_endpoint", json!("http://127.0.0.1/token"), MetadataError::Url("token_endpoint")),
            ("token_endpoint", Value::Null, MetadataError::Url("token_endpoint")),
            ("registration_endpoint", json!("file:///etc"), MetadataError::Url("registration_endpoint")),
            ("revocation_endpoint", json!("/revoke"), MetadataError::Url("revocation_endpoint")),
            ("scopes_supported", json!("a b"), MetadataError::Malformed),
        ] {
            assert_eq!(server(|document| document[member] = value.clone()), Err(why), "{member} {value}");
        }
        let twice = format!(r#"{{"issuer":"https://evil.example","issuer":"{ISSUER}"}}"#);
        assert_eq!(AuthorizationServer::parse(twice.as_bytes(), ISSUER, false), Err(MetadataError::Malformed));
    }

    #[test]
    fn a_server_that_is_its_own_issuer_says_its_name_and_names_nobody_elsewhere() {
        let of = Url::parse("https://a.example/t/mcp").unwrap();
        let named = |issuer: Value| {
            let document = json!({"issuer": issuer, "authorization_endpoint": "https://a.example/authorize",
                "token_endpoint": "https://a.example/token", "code_challenge_methods_supported": ["S256"]});
            AuthorizationServer::parse_own(document.to_string().as_bytes(), &of, false).map(|server| server.issuer)
        };
        for own in ["https://a.example", "https://a.example/", "https://a.example/oauth"] {
            assert_eq!(named(json!(own)).as_deref(), Ok(own), "as it is written");
        }
        for other in
            ["https://evil.example", "https://a.example:8443", "http://a.example", "https://a.example.evil.example", ""]
        {
            assert_eq!(named(json!(other)), Err(MetadataError::OtherIssuer), "{other}");
        }
        assert_eq!(named(Value::Null), Err(MetadataError::Malformed));
    }

    #[test]
    fn a_client_shows_who_it_is_in_a_way_that_the_server_takes() {
        let method = |methods: Value, secret| {
            server(|document| document["token_endpoint_auth_methods_supported"] = methods).unwrap().method(secret)
        };
        assert_eq!(method(Value::Null, true), Method::ClientSecretBasic);
        assert_eq!(method(json!(["client_secret_post", "client_secret_basic"]), true), Method::ClientSecretBasic);
        assert_eq!(method(json!(["client_secret_post", "none"]), true), Method::ClientSecretPost);
        assert_eq!(method(json!(["client_secret_basic"]), false), Method::None);
    }

    #[test]
    fn an_answer_names_the_issuer_that_was_asked_byte_for_byte() {
        let quiet = server(|_| ()).unwrap();
        let naming =
            server(|document| document["authorization_response_iss_parameter_supported"] = json!(true)).unwrap();
        for (named, by_quiet, by_naming) in [
            (Some(ISSUER), true, true),
            (None, true, false),
            (Some("https://as.example/t/"), false, false),
            (Some("https://AS.example/t"), false, false),
            (Some("https://evil.example"), false, false),
            (Some(""), false, false),
        ] {
            assert_eq!((answers(&quiet, named), answers(&naming, named)), (by_quiet, by_naming), "{named:?}");
        }
    }
}
