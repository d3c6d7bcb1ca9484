//! Ourselves as a client of an authorization server: the name, how it is shown, and the document that describes us.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use model::Secret;
use serde_json::{Value, json};
use url::Url;

use super::metadata::Method;
use crate::outward::{Form, basic};

/// Where the document stands that describes us.
pub(crate) const DOCUMENT: &str = "/oauth/client-metadata.json";
/// Where authorization servers lead back to.
pub(crate) const CALLBACK: &str = "/oauth/callback";
/// What people read at an authorization server.
const NAME: &str = "Gatehouse";

/// Who we are at one authorization server.
#[derive(Debug)]
pub(crate) struct ClientAuth {
    /// Our name there.
    pub(crate) id: String,
    /// What proves it.
    pub(crate) secret: Option<Secret>,
    /// How it is sent.
    pub(crate) method: Method,
    /// An admin gave it: it is never dropped, nor another one registered in its place.
    pub(crate) fixed: bool,
}

impl ClientAuth {
    /// Adds who we are to a request, which is a form.
    pub(crate) fn sign(&self, headers: &mut HeaderMap, form: &mut Form) {
        let secret = self.secret.as_ref().map_or("", Secret::expose);
        match self.method {
            Method::ClientSecretBasic => {
                headers.extend(basic(&self.id, secret).map(|line| (AUTHORIZATION, line)));
            }
            Method::ClientSecretPost => {
                form.put("client_id", &self.id);
                form.put("client_secret", secret);
            }
            Method::None => form.put("client_id", &self.id),
        }
    }
}

/// What we are, wherever that is asked: for a registration, and for the document.
pub(super) fn described(base: &str, method: Method) -> Value {
    let redirect = redirect(base);
    let local = Url::parse(&redirect).is_ok_and(|url| url.scheme() == "http");
    json!({
        "client_name": NAME,
        "redirect_uris": [redirect],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method.as_str(),
        // A web application is one that others can reach (OpenID Connect Registration, 2).
        "application_type": if local { "native" } else { "web" },
    })
}

/// The document itself.
pub(crate) fn document(base: &str) -> Value {
    let mut described = described(base, Method::None);
    if let Some(members) = described.as_object_mut() {
        members.insert("client_id".to_owned(), document_url(base).into());
        members.insert("client_uri".to_owned(), base.into());
    }
    described
}

/// Where the document stands: our name at servers that read it.
pub(super) fn document_url(base: &str) -> String {
    format!("{base}{DOCUMENT}")
}

/// Where every authorization server leads back to: of our settings, never of a request.
pub(super) fn redirect(base: &str) -> String {
    format!("{base}{CALLBACK}")
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn signed(method: Method, secret: Option<&str>) -> (String, String) {
        let secret = secret.map(|secret| Secret::new(secret.to_owned()));
        let client = ClientAuth { id: "our id".to_owned(), secret, method, fixed: false };
        let (mut headers, mut form) = (HeaderMap::new(), Form::of(&[("a", "b&c")]));
        client.sign(&mut headers, &mut form);
        let line = headers.get(AUTHORIZATION).map_or("", |line| line.to_str().unwrap());
        (line.to_owned(), form.text().to_owned())
    }

    #[test]
    fn the_secret_goes_where_the_server_wants_it_and_nowhere_else() {
        let (line, form) = signed(Method::ClientSecretBasic, Some("s:1"));
        assert_eq!(line, format!("Basic {}", STANDARD.encode("our+id:s%3A1")));
        assert_eq!(form, "a=b%26c");
        let post = signed(Method::ClientSecretPost, Some("s:1"));
        assert_eq!(post, (String::new(), "a=b%26c&client_id=our+id&client_secret=s%3A1".to_owned()));
        assert_eq!(signed(Method::None, None), (String::new(), "a=b%26c&client_id=our+id".to_owned()));
    }

    #[test]
    fn the_redirect_uri_is_built_from_the_settings() {
        let document = document("https://gate.example/base");
        assert_eq!(document["client_id"], "https://gate.example/base/oauth/client-metadata.json");
        assert_eq!(document["redirect_uris"], json!(["https://gate.example/base/oauth/callback"]));
        assert_eq!(
            (&document["application_type"], &document["token_endpoint_auth_method"]),
            (&json!("web"), &json!("none"))
        );
        assert_eq!(described("http://127.0.0.1:5010", Method::ClientSecretPost)["application_type"], "native");
        assert!(document.get("client_secret").is_none());
    }
}
