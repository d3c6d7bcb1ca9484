//! What a consent page has shown, as a seal in its form: what is allowed is that and nothing else, in that session.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use subtle::ConstantTimeEq as _;

use crate::authorization::client::Client;

/// The seal, under a secret that only this session's pages know.
pub(crate) fn seal(session: &str, query: &str, client: &Client) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, session.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    for part in ["gatehouse/consent/v1", query, &client.id, &client.name] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(context.sign())
}

/// Whether a form has the seal.
pub(crate) fn is(seal: &str, given: &str) -> bool {
    bool::from(seal.as_bytes().ct_eq(given.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorization::client::Kind;

    #[test]
    fn whatever_the_page_shows_changes_the_seal() {
        let client = |id: &str, name: &str| Client {
            id: id.to_owned(),
            name: name.to_owned(),
            redirects: Vec::new(),
            kind: Kind::Document,
        };
        let shown = seal("session", "resource=a", &client("i", "n"));
        assert!(is(&shown, &seal("session", "resource=a", &client("i", "n"))));
        for other in [
            seal("another", "resource=a", &client("i", "n")),
            seal("session", "resource=b", &client("i", "n")),
            seal("session", "resource=a", &client("j", "n")),
            seal("session", "resource=a", &client("i", "m")),
            seal("session", "resource=ai", &client("", "n")),
            String::new(),
        ] {
            assert!(!is(&shown, &other));
        }
    }
}
