//! What stands before an upstream that wants to know who calls: it answers 401 with a challenge of the test's choice
//! until a credential is right, notes every request with its header lines and its time, and takes rights away at will.
//!
//! Behind it the upstream offers one more tool: `whoami` answers with the person and the number of the token that let
//! the call in, the session, and the names of the header lines; never with a secret.

use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use http::{HeaderMap, Response};
use serde_json::{Value, json};

use crate::authority::{self, Authority, Valid};
use crate::upstream::body::{self, Body};

/// A guard, to be given to [`Upstream::guarded`](crate::Upstream::guarded); tests keep a copy to talk to it.
#[derive(Clone)]
pub struct Guard(Arc<Inner>);

struct Inner {
    rules: Mutex<Rules>,
    seen: Mutex<Vec<Seen>>,
}

struct Rules {
    accepts: Vec<Accepted>,
    challenge: Challenge,
    scope: Option<&'static str>,
    needs: Option<(&'static str, &'static str)>,
    refuses: u32,
    refuses_all: bool,
    folded: bool,
    prm: Prm,
}

/// What opens.
#[derive(Clone)]
enum Accepted {
    Header { name: String, value: String, person: String },
    Query { name: String, value: String, person: String },
    Issued(Arc<authority::State>),
    Any { issuer: String },
}

/// What a 401 says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// `Bearer` with `resource_metadata`.
    Metadata,
    /// `Bearer` alone.
    Bearer,
    /// Nothing.
    Silent,
}

/// Where the metadata of the resource are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prm {
    /// At a place of its own, which only the challenge tells.
    Elsewhere,
    /// At the well-known place, behind which the path stands.
    Path,
    /// At the well-known place of the whole host.
    Root,
    /// Nowhere: the host itself is the authorization server.
    Nowhere,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When.
    pub at: Instant,
    /// The HTTP method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// All header lines.
    pub headers: HeaderMap,
    /// The JSON-RPC method, or empty.
    pub asks: String,
    /// Whose credential it was; `None` where it was refused.
    pub person: Option<String>,
    /// The number of the token, if one let it in.
    pub token: Option<u64>,
}

impl Seen {
    /// A header's value, or empty.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

/// Who was let in, as the tools know it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caller {
    person: String,
    token: Option<u64>,
    headers: Vec<String>,
}

impl Caller {
    /// What `whoami` answers.
    pub(crate) fn told(&self, session: &str) -> Value {
        json!({"person": self.person, "token": self.token, "session": session, "headers": self.headers})
    }
}

impl Guard {
    fn of(accepts: Vec<Accepted>, challenge: Challenge, prm: Prm) -> Self {
        let rules =
            Rules { accepts, challenge, scope: None, needs: None, refuses: 0, refuses_all: false, folded: false, prm };
        Self(Arc::new(Inner { rules: Mutex::new(rules), seen: Mutex::default() }))
    }

    /// Lets in who has a valid token of this authorization server, and tells where that is.
    pub fn by(authority: &Authority) -> Self {
        Self::of(vec![Accepted::Issued(authority.state())], Challenge::Metadata, Prm::Path)
    }

    /// Lets in whoever has a token (a JWT) of this issuer that has not ended. Signatures are not looked at.
    pub fn by_issuer(issuer: &str) -> Self {
        Self::of(vec![Accepted::Any { issuer: issuer.to_owned() }], Challenge::Metadata, Prm::Path)
    }

    /// Lets nobody in yet; says nothing of OAuth.
    pub fn shut() -> Self {
        Self::of(Vec::new(), Challenge::Bearer, Prm::Nowhere)
    }

    /// Lets in, as this person, who sends this header with exactly this value.
    pub fn header(self, name: &str, value: &str, person: &str) -> Self {
        self.accept_header(name, value, person);
        self
    }

    /// The same of a bearer token.
    pub fn bearer(self, token: &str, person: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"), person)
    }

    /// The same of a query parameter.
    pub fn query(self, name: &str, value: &str, person: &str) -> Self {
        let accepted = Accepted::Query { name: name.to_owned(), value: value.to_owned(), person: person.to_owned() };
        self.0.rules.lock().unwrap().accepts.push(accepted);
        self
    }

    /// What a 401 says from now on.
    pub fn challenge(self, challenge: Challenge) -> Self {
        self.0.rules.lock().unwrap().challenge = challenge;
        self
    }

    /// Where the metadata of the resource are.
    pub fn prm(self, prm: Prm) -> Self {
        self.0.rules.lock().unwrap().prm = prm;
        self
    }

    /// The scope that challenges and metadata name.
    pub fn scope(self, scope: &'static str) -> Self {
        self.0.rules.lock().unwrap().scope = Some(scope);
        self
    }

    /// One more header line that opens.
    pub fn accept_header(&self, name: &str, value: &str, person: &str) {
        let accepted = Accepted::Header { name: name.to_owned(), value: value.to_owned(), person: person.to_owned() };
        self.0.rules.lock().unwrap().accepts.push(accepted);
    }

    /// One more bearer token that opens.
    pub fn accept_bearer(&self, token: &str, person: &str) {
        self.accept_header("authorization", &format!("Bearer {token}"), person);
    }

    /// No header line or query parameter opens any more.
    pub fn forget_secrets(&self) {
        self.0
            .rules
            .lock()
            .unwrap()
            .accepts
            .retain(|accepted| matches!(accepted, Accepted::Issued(_) | Accepted::Any { .. }));
    }

    /// Refuses the next so many requests with 401, whatever they bring.
    pub fn refuse_next(&self, times: u32) {
        self.0.rules.lock().unwrap().refuses = times;
    }

    /// Refuses every request from now on, or no longer.
    pub fn refuse_all(&self, all: bool) {
        self.0.rules.lock().unwrap().refuses_all = all;
    }

    /// Answers what it refuses with 200 and a JSON-RPC error that tells of a 401.
    pub fn fold(&self, folded: bool) {
        self.0.rules.lock().unwrap().folded = folded;
    }

    /// Calls of this tool need this scope from now on: 403 `insufficient_scope` without.
    pub fn needs(&self, tool: &'static str, scope: &'static str) {
        self.0.rules.lock().unwrap().needs = Some((tool, scope));
    }

    /// Every request to the MCP path so far, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.0.seen.lock().unwrap().clone()
    }

    /// The calls of tools, in order.
    pub fn calls(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.asks == "tools/call").collect()
    }

    /// How many requests were refused.
    pub fn refused(&self) -> usize {
        self.0.seen.lock().unwrap().iter().filter(|seen| seen.person.is_none()).count()
    }

    /// The requests since then that brought this text in a header line or in the query.
    pub fn bringing(&self, text: &str, since: Instant) -> Vec<Seen> {
        let mut seen = self.seen();
        seen.retain(|seen| seen.at >= since);
        seen.retain(|seen| {
            let in_header = |value: &http::HeaderValue| value.to_str().is_ok_and(|value| value.contains(text));
            seen.headers.values().any(in_header) || seen.target.contains(text)
        });
        seen
    }

    /// Whether a secret came, in any header line or in the query, as it is or in base64.
    pub fn saw(&self, secret: &str) -> bool {
        let forms = crate::canary::forms(secret);
        self.0.seen.lock().unwrap().iter().any(|seen| {
            let has = |text: &str| forms.iter().any(|(_, form)| text.contains(form.as_str()));
            seen.headers.values().any(|value| value.to_str().is_ok_and(has)) || has(&seen.target)
        })
    }

    /// Lets a request in, or answers it.
    pub(crate) fn admits(&self, head: &Parts, message: &Value) -> Result<Caller, Box<Response<Body>>> {
        let path = head.uri.path();
        if let Some(metadata) = self.metadata(head) {
            return Err(Box::new(metadata));
        }
        if path.contains("/.well-known/") {
            return Err(Box::new(body::whole(404, "text/plain", "nothing is here")));
        }
        let mut rules = self.0.rules.lock().unwrap();
        let mut valid = rules.accepts.iter().find_map(|accepted| accepted.opens(head));
        if rules.refuses_all || rules.refuses > 0 {
            rules.refuses = rules.refuses.saturating_sub(1);
            valid = None;
        }
        let asks = message["method"].as_str().unwrap_or_default().to_owned();
        self.0.seen.lock().unwrap().push(Seen {
            at: Instant::now(),
            method: head.method.to_string(),
            target: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            headers: head.headers.clone(),
            asks,
            person: valid.as_ref().map(|valid| valid.person.clone()),
            token: valid.as_ref().map(|valid| valid.number).filter(|number| *number > 0),
        });
        let Some(valid) = valid else { return Err(Box::new(rules.refusal(head, message))) };
        if let Some((tool, scope)) = rules.needs {
            let called = message["method"] == "tools/call" && message["params"]["name"] == tool;
            if called && !valid.scope.split(' ').any(|one| one == scope) {
                return Err(Box::new(rules.insufficient(head, scope)));
            }
        }
        let headers = head.headers.keys().map(ToString::to_string).collect();
        Ok(Caller { person: valid.person, token: Some(valid.number).filter(|number| *number > 0), headers })
    }

    fn metadata(&self, head: &Parts) -> Option<Response<Body>> {
        let rules = self.0.rules.lock().unwrap();
        let place = rules.place(head)?;
        (head.method == "GET" && head.uri.path() == place).then(|| {
            let issuer = rules.accepts.iter().find_map(|accepted| match accepted {
                Accepted::Issued(authority) => Some(authority.issuer()),
                Accepted::Any { issuer } => Some(issuer.clone()),
                _ => None,
            });
            let mut metadata = json!({"resource": format!("{}/mcp", origin(head)), "authorization_servers": [issuer]});
            if let Some(scope) = rules.scope {
                metadata["scopes_supported"] = json!(scope.split(' ').collect::<Vec<_>>());
            }
            body::json(&metadata)
        })
    }
}

impl Rules {
    fn place(&self, _: &Parts) -> Option<&'static str> {
        match self.prm {
            Prm::Elsewhere => Some("/about/this-resource"),
            Prm::Path => Some("/.well-known/oauth-protected-resource/mcp"),
            Prm::Root => Some("/.well-known/oauth-protected-resource"),
            Prm::Nowhere => None,
        }
    }

    fn refusal(&self, head: &Parts, message: &Value) -> Response<Body> {
        if self.folded {
            let error = json!({"code": -32001, "message": "HTTP 401 Unauthorized"});
            return body::json(&json!({"jsonrpc": "2.0", "id": message["id"], "error": error}));
        }
        let mut said = "Bearer realm=\"a-realm-of-the-upstream\"".to_owned();
        match (self.challenge, self.place(head)) {
            (Challenge::Silent, _) => return body::whole(401, "text/plain", "who are you?"),
            (Challenge::Metadata, Some(place)) => {
                said.push_str(&format!(", resource_metadata=\"{}{place}\"", origin(head)));
            }
            _ => (),
        }
        if let Some(scope) = self.scope {
            said.push_str(&format!(", scope=\"{scope}\""));
        }
        with_challenge(401, &said)
    }

    fn insufficient(&self, head: &Parts, scope: &str) -> Response<Body> {
        let mut said = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
        if let Some(place) = self.place(head) {
            said.push_str(&format!(", resource_metadata=\"{}{place}\"", origin(head)));
        }
        with_challenge(403, &said)
    }
}

fn with_challenge(status: u16, said: &str) -> Response<Body> {
    let mut response = body::whole(status, "text/plain", "who are you?");
    response.headers_mut().insert("www-authenticate", said.parse().unwrap());
    response
}

fn origin(head: &Parts) -> String {
    let host = head.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or_default();
    format!("http://{host}")
}

impl Accepted {
    fn opens(&self, head: &Parts) -> Option<Valid> {
        let alone = |person: &String| Valid {
            person: person.clone(),
            number: 0,
            scope: String::new(),
            resource: String::new(),
        };
        match self {
            Self::Header { name, value, person } => {
                let mut values = head.headers.get_all(name.as_str()).iter();
                values.any(|given| given.as_bytes() == value.as_bytes()).then(|| alone(person))
            }
            Self::Query { name, value, person } => {
                let query = head.uri.query().unwrap_or_default();
                let mut pairs = url::form_urlencoded::parse(query.as_bytes());
                pairs.any(|(key, given)| key == name.as_str() && given == value.as_str()).then(|| alone(person))
            }
            Self::Issued(authority) => {
                let given = head.headers.get("authorization")?.to_str().ok()?;
                authority.valid(given.strip_prefix("Bearer ")?)
            }
            Self::Any { issuer } => {
                let given = head.headers.get("authorization")?.to_str().ok()?;
                let body = given.strip_prefix("Bearer ")?.split('.').nth(1)?;
                let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()?;
                let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
                let good = claims["iss"] == issuer.as_str() && claims["exp"].as_u64()? > now;
                good.then(|| alone(&claims["sub"].as_str().unwrap_or_default().to_owned()))
            }
        }
    }
}
