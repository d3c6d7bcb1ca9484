//! What an issuer says of itself (OpenID Connect Discovery 1.0), as far as it is of use here.

use serde::Deserialize;
use url::Url;

use crate::outward::usable;

/// An issuer's document, read and found fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Discovery {
    /// Where its public keys are.
    pub(crate) jwks_uri: Url,
    /// Where people sign in.
    pub(crate) authorization_endpoint: Option<Url>,
    /// Where codes become tokens.
    pub(crate) token_endpoint: Option<Url>,
    /// Whether the client's secret may go into the header `Authorization`; else it goes into the form.
    pub(crate) basic: bool,
    /// Whether its answers to the browser name it (RFC 9207).
    pub(crate) names_itself: bool,
}

/// Why a document is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DiscoveryError {
    /// Not JSON, or without a member that must be there.
    #[error("its discovery document is not one")]
    Malformed,
    /// It speaks of another issuer.
    #[error("its discovery document names another issuer")]
    OtherIssuer,
    /// An address in it can't be used.
    #[error("its discovery document has a `{0}` that is not an https URL")]
    Url(&'static str),
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    jwks_uri: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// Where the document of an issuer is; `None` if the issuer's name is no URL that could have one: https (plain http
/// to loopback with `dev`), without query, fragment and user.
pub(crate) fn place(issuer: &str, dev: bool) -> Option<Url> {
    let url = usable(issuer, dev)?;
    if url.query().is_some() || !url.path().is_ascii() {
        return None;
    }
    Url::parse(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))).ok()
}

impl Discovery {
    /// Reads the document of `issuer`.
    pub(crate) fn parse(text: &str, issuer: &str, dev: bool) -> Result<Self, DiscoveryError> {
        let document: Document = serde_json::from_str(text).map_err(|_| DiscoveryError::Malformed)?;
        if document.issuer != issuer {
            return Err(DiscoveryError::OtherIssuer);
        }
        let url = |name, text: &str| usable(text, dev).ok_or(DiscoveryError::Url(name));
        let optional = |name, text: Option<String>| text.map(|text| url(name, &text)).transpose();
        let methods = document.token_endpoint_auth_methods_supported;
        Ok(Self {
            jwks_uri: url("jwks_uri", &document.jwks_uri)?,
            authorization_endpoint: optional("authorization_endpoint", document.authorization_endpoint)?,
            token_endpoint: optional("token_endpoint", document.token_endpoint)?,
            // What holds where nothing is said.
            basic: methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic")),
            names_itself: document.authorization_response_iss_parameter_supported,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://id.example/realms/a";

    #[test]
    fn the_place_is_below_the_issuer_which_is_a_plain_https_url() {
        let suffix = ".well-known/openid-configuration";
        for (issuer, dev, expected) in [
            ("https://id.example", false, Some("https://id.example/")),
            ("https://id.example/", false, Some("https://id.example/")),
            (ISSUER, false, Some("https://id.example/realms/a/")),
            ("http://127.0.0.1:9/x", true, Some("http://127.0.0.1:9/x/")),
            ("http://localhost:9", true, Some("http://localhost:9/")),
            ("http://127.0.0.1:9/x", false, None),
            ("http://id.example", true, None),
            ("https://ann@id.example", false, None),
            ("https://id.example?x=1", false, None),
            ("https://id.example#x", false, None),
            ("urn:gatehouse", true, None),
            ("id.example", true, None),
            ("", true, None),
        ] {
            let expected = expected.map(|base| format!("{base}{suffix}"));
            assert_eq!(place(issuer, dev).map(String::from), expected, "{issuer}");
        }
    }

    #[test]
    fn only_a_document_of_the_very_issuer_counts() {
        let document = |member: &str, value: serde_json::Value| {
            let mut document = json!({"issuer": ISSUER, "jwks_uri": "https://keys.example/a", "more": {"x": 1}});
            document[member] = value;
            Discovery::parse(&document.to_string(), ISSUER, false)
        };
        let plain = document("x", json!(1)).unwrap();
        assert_eq!((plain.jwks_uri.as_str(), plain.basic, plain.names_itself), ("https://keys.example/a", true, false));
        let post = document("token_endpoint_auth_methods_supported", json!(["client_secret_post"])).unwrap();
        assert!(!post.basic);
        for (member, value, why) in [
            ("issuer", json!("https://id.example/realms/a/"), DiscoveryError::OtherIssuer),
            ("issuer", json!("https://ID.example/realms/a"), DiscoveryError::OtherIssuer),
            ("issuer", json!(7), DiscoveryError::Malformed),
            ("jwks_uri", json!(null), DiscoveryError::Malformed),
            ("jwks_uri", json!("http://keys.example/a"), DiscoveryError::Url("jwks_uri")),
            ("token_endpoint", json!("javascript:1"), DiscoveryError::Url("token_endpoint")),
            ("authorization_endpoint", json!("/authorize"), DiscoveryError::Url("authorization_endpoint")),
        ] {
            assert_eq!(document(member, value.clone()), Err(why), "{member} {value}");
        }
        let twice = format!(r#"{{"issuer":"{ISSUER}","issuer":"{ISSUER}","jwks_uri":"https://keys.example"}}"#);
        assert_eq!(Discovery::parse(&twice, ISSUER, false), Err(DiscoveryError::Malformed));
    }
}
