//! What a client asks for at the authorization endpoint, judged in the order that matters: nothing is sent to a
//! redirect URI before client and redirect URI are known to belong together.

use model::TenantName;

use crate::authorization::SCOPE;
use crate::authorization::client::Client;
use crate::authorization::parameters::Parameters;
use crate::authorization::pkce;
use crate::authorization::redirect::RedirectUri;
use crate::authorization::refusal::{Reason, Refusal};
use crate::authorization::resource::Resource;

/// Bytes that the id of a client may have: it may be a URL.
pub(crate) const MAX_CLIENT: usize = 2048;

/// A request whose parameters can be read. What is wrong before this is shown to the user and told to nobody.
pub(crate) struct Asked {
    parameters: Parameters,
}

/// A request that may be shown to its user for consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) resource: Resource,
    pub(crate) challenge: String,
}

impl Asked {
    /// Reads the query.
    pub(crate) fn parse(query: &str) -> Result<Self, Refusal> {
        let parameters = Parameters::parse(query.as_bytes())?;
        if parameters.need("client_id")?.len() > MAX_CLIENT {
            return Err(Refusal::new(Reason::InvalidRequest, "a parameter is too long").about("client_id"));
        }
        parameters.need("redirect_uri")?;
        Ok(Self { parameters })
    }

    /// Who asks, by its own account.
    pub(crate) fn client_id(&self) -> &str {
        self.parameters.get("client_id").unwrap_or_default()
    }

    /// What the client wants back with the answer.
    pub(crate) fn state(&self) -> Option<&str> {
        self.parameters.get("state")
    }

    /// Where the answer goes, if this client has registered it.
    pub(crate) fn redirect(&self, client: &Client) -> Result<RedirectUri, Refusal> {
        let refusal = Refusal::new(Reason::InvalidRequest, "this client has not registered the redirect URI");
        let asked = RedirectUri::parse(self.parameters.need("redirect_uri")?).map_err(|_| refusal)?;
        if client.redirects.iter().any(|registered| registered.allows(&asked)) { Ok(asked) } else { Err(refusal) }
    }

    /// The rest: what is wrong here, the client is told.
    pub(crate) fn wanted(&self, tenant: &TenantName) -> Result<Wanted, Refusal> {
        if self.parameters.need("response_type")? != "code" {
            return Err(Refusal::new(Reason::UnsupportedResponseType, "the only response type is code"));
        }
        // Without a method the challenge would be the verifier itself (RFC 7636, 4.3).
        if self.parameters.get("code_challenge_method") != Some("S256") {
            return Err(Refusal::new(Reason::InvalidRequest, "must be S256").about("code_challenge_method"));
        }
        let challenge = self.parameters.need("code_challenge")?;
        if !pkce::is_challenge(challenge) {
            return Err(Refusal::new(Reason::InvalidRequest, "is no SHA-256 in base64url").about("code_challenge"));
        }
        scope(self.parameters.get("scope"))?;
        let resource = resource(self.parameters.get("resource"), tenant)?;
        let resource = resource
            .ok_or_else(|| Refusal::new(Reason::InvalidTarget, "name what the token is for").about("resource"))?;
        Ok(Wanted { resource, challenge: challenge.to_owned() })
    }
}

/// There is one scope. Others that clients ask for by habit (`openid`, `offline_access`) are left out, and the
/// answer says which one they got (RFC 6749, 3.3).
pub(crate) fn scope(asked: Option<&str>) -> Result<(), Refusal> {
    match asked {
        Some(asked) if !asked.split(' ').any(|one| one == SCOPE) => {
            Err(Refusal::new(Reason::InvalidScope, "the only scope is mcp"))
        }
        _ => Ok(()),
    }
}

/// What a token is asked for, where it is said.
pub(crate) fn resource(asked: Option<&str>, tenant: &TenantName) -> Result<Option<Resource>, Refusal> {
    let Some(asked) = asked else { return Ok(None) };
    let refusal = Refusal::new(Reason::InvalidTarget, "is no MCP URL of this tenant").about("resource");
    Resource::parse(asked, tenant).map(Some).ok_or(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorization::client::Kind;

    const GOOD: [(&str, &str); 8] = [
        ("response_type", "code"),
        ("client_id", "c"),
        ("redirect_uri", "http://127.0.0.1:4711/cb"),
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
        ("resource", "http://localhost:5011/mcp"),
        ("scope", "mcp"),
        ("state", "s"),
    ];

    /// The good request with one parameter changed, or taken away.
    fn with(name: &str, value: Option<&str>) -> String {
        let others = GOOD.into_iter().filter(|(other, _)| *other != name);
        let all = others.chain(value.map(|value| (name, value)));
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(all).finish()
    }

    fn client() -> Client {
        let redirects = ["http://127.0.0.1/cb", "https://app.example/cb"];
        Client {
            id: "c".to_owned(),
            name: "App".to_owned(),
            redirects: redirects.iter().map(|text| RedirectUri::parse(text).unwrap()).collect(),
            kind: Kind::Registered,
        }
    }

    fn judged(query: &str) -> Result<Wanted, Refusal> {
        Asked::parse(query)?.wanted(&"default".parse().unwrap())
    }

    #[test]
    fn a_good_request_is_understood() {
        for query in [
            with("state", None),
            with("scope", None),
            with("scope", Some("openid mcp offline_access")),
            with("unknown", Some("x")),
            with("prompt", Some("none")),
        ] {
            assert!(judged(&query).is_ok(), "{query}: {:?}", judged(&query));
        }
        let asked = Asked::parse(&with("state", Some("a b"))).unwrap();
        assert_eq!((asked.client_id(), asked.state()), ("c", Some("a b")));
        assert_eq!(asked.redirect(&client()).unwrap().as_str(), "http://127.0.0.1:4711/cb");
    }

    #[test]
    fn each_mistake_has_its_word() {
        for (name, value, reason) in [
            ("client_id", None, Reason::InvalidRequest),
            ("redirect_uri", None, Reason::InvalidRequest),
            ("response_type", None, Reason::InvalidRequest),
            ("response_type", Some("token"), Reason::UnsupportedResponseType),
            ("response_type", Some("code token"), Reason::UnsupportedResponseType),
            ("code_challenge", None, Reason::InvalidRequest),
            ("code_challenge", Some("short"), Reason::InvalidRequest),
            ("code_challenge_method", None, Reason::InvalidRequest),
            ("code_challenge_method", Some("plain"), Reason::InvalidRequest),
            ("code_challenge_method", Some("s256"), Reason::InvalidRequest),
            ("resource", None, Reason::InvalidTarget),
            ("resource", Some("http://localhost:5011/t/other/mcp"), Reason::InvalidTarget),
            ("resource", Some("nonsense"), Reason::InvalidTarget),
            ("scope", Some("admin"), Reason::InvalidScope),
            ("scope", Some("mcp2"), Reason::InvalidScope),
        ] {
            assert_eq!(judged(&with(name, value)).unwrap_err().reason, reason, "{name} {value:?}");
        }
        for name in ["client_id", "redirect_uri", "state", "resource", "code_challenge", "response_type"] {
            let twice = format!("{}&{name}=x", with("", None));
            assert_eq!(judged(&twice).unwrap_err().description(), "a parameter stands twice", "{name}");
        }
    }

    #[test]
    fn only_a_registered_redirect_uri_is_answered() {
        for (uri, fits) in [
            ("http://127.0.0.1:1/cb", true),
            ("https://app.example/cb", true),
            ("https://app.example/cb2", false),
            ("https://evil.example/cb", false),
            ("javascript:alert(1)", false),
        ] {
            let asked = Asked::parse(&with("redirect_uri", Some(uri))).unwrap();
            assert_eq!(asked.redirect(&client()).is_ok(), fits, "{uri}");
        }
    }
}
