//! Where documents about a protected server and about its authorization server may stand.

use url::Url;

use crate::outward::usable;

/// Where a server's own metadata may stand (RFC 9728), in this order: what it said, beside its path, at the root.
pub(super) fn of_resource(said: Option<&str>, server: &Url, dev: bool) -> Vec<Url> {
    let said = said.and_then(|said| usable(said, dev));
    let beside = well_known(server, "oauth-protected-resource", server.path());
    let root = well_known(server, "oauth-protected-resource", "");
    unique(said.into_iter().chain([beside, root]))
}

/// Where the metadata of an authorization server may stand (RFC 8414, then OpenID Connect); `None` if its name is none.
pub(super) fn of_issuer(issuer: &str, dev: bool) -> Option<Vec<Url>> {
    let url = usable(issuer, dev).filter(|url| url.query().is_none())?;
    let path = url.path();
    let oauth = well_known(&url, "oauth-authorization-server", path);
    let inserted = well_known(&url, "openid-configuration", path);
    let mut appended = url.clone();
    appended.set_path(&format!("{}/.well-known/openid-configuration", path.trim_end_matches('/')));
    Some(unique([oauth, inserted, appended]))
}

/// Whether two names of issuers are one URL, however they are spelt.
pub(super) fn are_same(one: &str, other: &str) -> bool {
    let read = |text: &str| Url::parse(text.trim_end_matches('/')).ok();
    read(one).is_some_and(|one| read(other) == Some(one))
}

/// The origin of a server as a name of an authorization server: what a server of 2025-03-26 is its own with.
pub(super) fn own_issuer(server: &Url) -> String {
    server.origin().ascii_serialization()
}

fn well_known(url: &Url, what: &str, path: &str) -> Url {
    let mut at = url.clone();
    at.set_query(None);
    at.set_fragment(None);
    at.set_path(&format!("/.well-known/{what}{}", path.trim_end_matches('/')));
    at
}

fn unique(urls: impl IntoIterator<Item = Url>) -> Vec<Url> {
    let mut all: Vec<Url> = Vec::new();
    for url in urls {
        if !all.contains(&url) {
            all.push(url);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_metadata_is_where_it_says_then_beside_its_path_then_at_the_root() {
        let server = Url::parse("https://a.example/t/mcp").unwrap();
        let told =
            |said: Option<&str>| of_resource(said, &server, false).iter().map(Url::to_string).collect::<Vec<_>>();
        let known = [
            "https://a.example/.well-known/oauth-protected-resource/t/mcp",
            "https://a.example/.well-known/oauth-protected-resource",
        ];
        assert_eq!(told(None), known);
        assert_eq!(told(Some(known[1])), [known[1], known[0]]);
        assert_eq!(told(Some("https://b.example/meta")), ["https://b.example/meta", known[0], known[1]]);
        assert_eq!(told(Some("javascript:alert(1)")), known, "what may not be asked is not");
        let root = Url::parse("https://a.example/").unwrap();
        assert_eq!(of_resource(None, &root, false).len(), 1);
    }

    #[test]
    fn an_issuers_metadata_is_asked_for_in_the_order_of_the_rfcs() {
        let told = |issuer: &str| {
            of_issuer(issuer, false).map(|all| all.iter().map(|url| url.path().to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(
            told("https://a.example/t").unwrap(),
            [
                "/.well-known/oauth-authorization-server/t",
                "/.well-known/openid-configuration/t",
                "/t/.well-known/openid-configuration"
            ]
        );
        let root = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];
        assert_eq!(told("https://a.example").unwrap(), root);
        assert_eq!(told("https://a.example/").unwrap(), root);
        for none in ["http://a.example", "https://a.example?x=1", "urn:a", ""] {
            assert_eq!(told(none), None, "{none}");
        }
        assert_eq!(own_issuer(&Url::parse("https://A.example:443/t/mcp").unwrap()), "https://a.example");
    }
}
