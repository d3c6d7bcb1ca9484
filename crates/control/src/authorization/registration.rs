//! Dynamic client registration (RFC 7591): what a client says of itself, and what of it is kept.

use serde_json::{Value, json};

use crate::authorization::SCOPE;
use crate::authorization::client::{Client, Kind, shown_name};
use crate::authorization::redirect::RedirectUri;
use crate::authorization::refusal::{Reason, Refusal};

/// Redirect URIs of one client.
const MOST_REDIRECTS: usize = 10;

/// What is kept of a registration, or of a client's own document: unknown members are ignored, as RFC 7591 wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metadata {
    /// Empty where nothing can be shown.
    pub(crate) name: String,
    pub(crate) redirects: Vec<RedirectUri>,
}

impl Metadata {
    /// Reads the members that decide something.
    pub(crate) fn read(body: &Value) -> Result<Self, Refusal> {
        let metadata = |why| Refusal::new(Reason::InvalidClientMetadata, why);
        let members = body.as_object().ok_or_else(|| metadata("must be a JSON object"))?;
        let name = match members.get("client_name") {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(name)) => shown_name(name),
            Some(_) => return Err(metadata("must be a text").about("client_name")),
        };
        let listed = |member, needed: &str| match members.get(member) {
            None | Some(Value::Null) => true,
            Some(Value::Array(values)) => values.iter().any(|value| value == needed),
            Some(_) => false,
        };
        if !listed("grant_types", "authorization_code") {
            return Err(metadata("must have authorization_code").about("grant_types"));
        }
        if !listed("response_types", "code") {
            return Err(metadata("must have code").about("response_types"));
        }
        Ok(Self { name, redirects: redirects(members.get("redirect_uris"))? })
    }

    /// As the client that it describes.
    pub(crate) fn client(self, id: String, kind: Kind) -> Client {
        Client { id, name: self.name, redirects: self.redirects, kind }
    }
}

fn redirects(value: Option<&Value>) -> Result<Vec<RedirectUri>, Refusal> {
    let refuse = |why| Refusal::new(Reason::InvalidRedirectUri, why).about("redirect_uris");
    let values = value.and_then(Value::as_array).ok_or_else(|| refuse("must be a list of texts"))?;
    if !(1..=MOST_REDIRECTS).contains(&values.len()) {
        return Err(refuse("must have 1 to 10 entries"));
    }
    let read = |value: &Value| {
        let text = value.as_str().ok_or_else(|| refuse("must be a list of texts"))?;
        RedirectUri::parse(text).map_err(|_| {
            refuse("each must use https, http on loopback, or the private scheme of an app, without fragment and user")
        })
    };
    values.iter().map(read).collect()
}

/// The answer of a registration: what was kept, whatever was asked for. There is no secret, so the way to
/// authenticate is none.
pub(crate) fn answer(client: &Client, issued_at: i64) -> Value {
    let redirects: Vec<&str> = client.redirects.iter().map(RedirectUri::as_str).collect();
    json!({
        "client_id": client.id,
        "client_id_issued_at": issued_at,
        "client_name": client.name,
        "redirect_uris": redirects,
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
        "scope": SCOPE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_real_clients_send_is_taken() {
        for body in [
            json!({"redirect_uris": ["http://localhost:3334/oauth/callback"], "token_endpoint_auth_method": "none",
                "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
                "client_name": "MCP CLI Proxy", "client_uri": "https://github.com/modelcontextprotocol/mcp-cli",
                "software_id": "2e6dc280-f3c3-4e01-99a7-8181dbd1d23d", "software_version": "0.15.1", "scope": "mcp"}),
            json!({"redirect_uris": ["http://127.0.0.1:8090/callback"], "application_type": "native"}),
            json!({"redirect_uris": ["https://app.example/cb"], "token_endpoint_auth_method": "client_secret_post",
                "client_name": null, "contacts": ["x"], "logo_uri": "http://169.254.169.254/x"}),
        ] {
            let read = Metadata::read(&body).unwrap();
            let client = read.client("id".to_owned(), Kind::Registered);
            let answer = answer(&client, 7);
            assert_eq!(answer["redirect_uris"], body["redirect_uris"]);
            assert_eq!(answer["token_endpoint_auth_method"], "none");
            assert!(answer.get("client_secret").is_none() && answer.get("logo_uri").is_none());
        }
    }

    #[test]
    fn each_mistake_has_its_word() {
        use Reason::{InvalidClientMetadata, InvalidRedirectUri};
        for (body, reason) in [
            (json!([]), InvalidClientMetadata),
            (json!("x"), InvalidClientMetadata),
            (json!({"redirect_uris": ["https://a.example/"], "client_name": 7}), InvalidClientMetadata),
            (
                json!({"redirect_uris": ["https://a.example/"], "grant_types": ["client_credentials"]}),
                InvalidClientMetadata,
            ),
            (
                json!({"redirect_uris": ["https://a.example/"], "grant_types": "authorization_code"}),
                InvalidClientMetadata,
            ),
            (json!({"redirect_uris": ["https://a.example/"], "response_types": ["token"]}), InvalidClientMetadata),
            (json!({}), InvalidRedirectUri),
            (json!({"redirect_uris": []}), InvalidRedirectUri),
            (json!({"redirect_uris": "https://a.example/"}), InvalidRedirectUri),
            (json!({"redirect_uris": [7]}), InvalidRedirectUri),
            (json!({"redirect_uris": ["javascript:alert(1)"]}), InvalidRedirectUri),
            (json!({"redirect_uris": ["https://a.example/", "http://a.example/"]}), InvalidRedirectUri),
            (json!({"redirect_uris": vec!["https://a.example/"; MOST_REDIRECTS + 1]}), InvalidRedirectUri),
        ] {
            assert_eq!(Metadata::read(&body).unwrap_err().reason, reason, "{body}");
        }
    }
}
