//! Client id metadata documents: a client whose id is an https URL is described by what stands there.

use url::Url;

use crate::authorization::client::{Client, Kind};
use crate::authorization::refusal::{Reason, Refusal};
use crate::authorization::registration::Metadata;
use crate::rest::parse_json;

/// Bytes of a document.
pub(crate) const MAX_DOCUMENT: usize = 64 << 10;

/// Whether a client's id says that it is the URL of its metadata.
pub(crate) fn is_document(id: &str) -> bool {
    id.starts_with("https://") || id.starts_with("http://")
}

/// The URL, if this id may be one: https (on loopback http too, in dev mode), with a path, in its one spelling, so that
/// no two ids are one place. The address policy judges it again when it is dialled.
pub(crate) fn url(id: &str, dev: bool) -> Option<Url> {
    let url = Url::parse(id).ok().filter(|url| url.as_str() == id)?;
    let loopback = url.host_str().is_some_and(|host| matches!(host, "localhost" | "127.0.0.1" | "[::1]"));
    let scheme = url.scheme() == "https" || (dev && loopback && url.scheme() == "http");
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    (scheme && plain && url.path() != "/").then_some(url)
}

/// Reads the document that was fetched for an id.
pub(crate) fn read(id: &str, url: &Url, body: &[u8]) -> Result<Client, Refusal> {
    let refuse = |why| Refusal::new(Reason::InvalidClient, why);
    let value = parse_json(body).map_err(|_| refuse("the client's metadata is not JSON"))?;
    if value.get("client_id").and_then(|named| named.as_str()) != Some(id) {
        return Err(refuse("the client's metadata names another client_id"));
    }
    // A secret in public is none.
    if value.get("client_secret").is_some() || value.get("client_secret_expires_at").is_some() {
        return Err(refuse("the client's metadata must not hold a secret"));
    }
    let method = value.get("token_endpoint_auth_method");
    if method.is_some_and(|method| method != "none") {
        return Err(refuse("the client's metadata must have the token_endpoint_auth_method none"));
    }
    let mut metadata =
        Metadata::read(&value).map_err(|_| refuse("the client's metadata is not what RFC 7591 describes"))?;
    if metadata.name.is_empty() {
        metadata.name = url.host_str().unwrap_or_default().to_owned();
    }
    Ok(metadata.client(id.to_owned(), Kind::Document))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "https://app.example/oauth/client.json";

    #[test]
    fn an_id_is_a_url_in_its_one_spelling() {
        for (id, production, dev) in [
            (ID, true, true),
            ("https://app.example:8443/c", true, true),
            ("https://app.example/c?v=1", true, true),
            ("http://127.0.0.1:9000/c", false, true),
            ("http://localhost:9000/c", false, true),
            ("http://app.example/c", false, false),
            ("https://app.example/", false, false),
            ("https://app.example", false, false),
            ("https://APP.example/c", false, false),
            ("https://app.example:443/c", false, false),
            ("https://app.example/a/../c", false, false),
            ("https://app.example/c#x", false, false),
            ("https://user@app.example/c", false, false),
            ("https:/app.example/c", false, false),
            ("ftp://app.example/c", false, false),
            ("javascript:alert(1)", false, false),
            ("client", false, false),
        ] {
            assert_eq!((url(id, false).is_some(), url(id, true).is_some()), (production, dev), "{id}");
        }
    }

    #[test]
    fn a_document_describes_its_own_id_and_no_other() {
        let good = json!({"client_id": ID, "client_name": "App", "redirect_uris": ["http://127.0.0.1/cb"]});
        let with = |member: &str, value: Value| {
            let mut changed = good.clone();
            changed[member] = value;
            changed
        };
        let url = url(ID, false).unwrap();
        let told = |body: &Value| read(ID, &url, body.to_string().as_bytes());
        let client = told(&good).unwrap();
        assert_eq!((client.name.as_str(), client.host().as_deref()), ("App", Some("app.example")));
        assert_eq!(told(&with("client_name", Value::Null)).unwrap().name, "app.example");
        for wrong in [
            with("client_id", json!("https://app.example/oauth/client.json/")),
            with("client_id", Value::Null),
            with("client_secret", json!("s")),
            with("token_endpoint_auth_method", json!("client_secret_post")),
            with("redirect_uris", json!([])),
            with("redirect_uris", json!(["javascript:alert(1)"])),
            json!([]),
        ] {
            assert_eq!(told(&wrong).unwrap_err().reason, Reason::InvalidClient, "{wrong}");
        }
        assert!(read(ID, &url, b"<html>").is_err());
        let twice =
            format!("{{\"client_id\":\"x\",\"client_id\":\"{ID}\",\"redirect_uris\":[\"https://a.example/\"]}}");
        assert!(read(ID, &url, twice.as_bytes()).is_err());
    }
}
