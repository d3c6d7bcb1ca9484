//! An OAuth authorization server in this process that does what a test tells it, and counts.
//!
//! Below its issuer: `/authorize` (redirects at once), `/token`, `/register`, `/revoke`, and `/custom` for token
//! requests of no standard. It refuses what a strict one refuses: a code used twice, another client's code, a wrong
//! verifier, a wrong client secret, a `redirect_uri` that nobody registered. A refresh token that is used twice
//! revokes everything that came from the same sign-in, and is counted.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::canary;

mod routes;
mod tokens;

/// A running server; ends with its connections when it is dropped.
pub struct Authority {
    state: Arc<State>,
    ended: CancellationToken,
}

/// What its connections share.
pub(crate) struct State {
    address: SocketAddr,
    shape: Mutex<Shape>,
    book: Mutex<Book>,
    /// Token requests that are under way: `held` waits here.
    gate: watch::Sender<bool>,
    waiting: AtomicUsize,
}

/// Where its metadata are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discovery {
    /// RFC 8414 alone.
    Rfc8414,
    /// OpenID Connect alone; behind the issuer's path.
    Oidc,
    /// OpenID Connect alone; with the issuer's path behind the well-known part.
    OidcInserted,
    /// Nowhere.
    Nowhere,
}

/// What registration does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registration {
    /// It is open.
    Open,
    /// There is none.
    None,
    /// It answers 400.
    Refuses,
    /// It answers 500.
    Fails,
}

/// The parameter `iss` of an authorization answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Iss {
    /// Announced and right.
    Right,
    /// Announced and absent.
    Missing,
    /// Announced and somebody else.
    Wrong,
    /// Not announced and absent.
    Unannounced,
    /// Not announced, and somebody else.
    UnannouncedWrong,
}

/// What becomes of a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// There is none.
    None,
    /// It stays; answers to refreshes don't repeat it.
    Kept,
    /// Each is good for one use; a second revokes everything of the same sign-in.
    Rotated,
}

/// How the server behaves. Tests change what they need.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The issuer's path, e.g. `/realms/a`; empty for none.
    pub path: String,
    /// The issuer that the metadata name, where it isn't its own.
    pub names_itself: Option<String>,
    /// Where its metadata are.
    pub discovery: Discovery,
    /// Whether the metadata announce PKCE with S256.
    pub pkce: bool,
    /// What registration does.
    pub registration: Registration,
    /// Whether the metadata say that a client id may be the URL of a document.
    pub client_documents: bool,
    /// The ways to say at the token endpoint who one is; the first is what registered clients get.
    pub methods: Vec<&'static str>,
    /// The parameter `iss`.
    pub iss: Iss,
    /// What becomes of refresh tokens.
    pub refresh: Refresh,
    /// Whether there is a revocation endpoint.
    pub revocation: bool,
    /// How long access tokens are good for; `None` says nothing and means an hour.
    pub lifetime: Option<u64>,
    /// What `expires_in` says, where that is not the truth.
    pub expires_in: Option<Value>,
    /// The scopes in the metadata.
    pub scopes: Vec<&'static str>,
    /// Who signs in.
    pub person: String,
    /// The OAuth error that `/authorize` answers with.
    pub denies: Option<&'static str>,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            path: String::new(),
            names_itself: None,
            discovery: Discovery::Rfc8414,
            pkce: true,
            registration: Registration::Open,
            client_documents: false,
            methods: vec!["client_secret_basic", "client_secret_post", "none"],
            iss: Iss::Right,
            refresh: Refresh::Rotated,
            revocation: true,
            lifetime: Some(3600),
            expires_in: None,
            scopes: Vec::new(),
            person: "somebody".to_owned(),
            denies: None,
        }
    }
}

/// What a request for a token meets instead of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A status without an OAuth error, before anything is done.
    Status(u16),
    /// An OAuth error, before anything is done.
    Error(&'static str),
    /// 200 with something that is no JSON, before anything is done.
    Garbage,
    /// The connection is cut, before anything is done.
    Cut,
    /// It waits until the test lets it go on, then does as asked.
    Held,
    /// It waits so long, then does as asked.
    Slow(Duration),
}

/// A request as it came. `fields` are those of the form or of the JSON body.
#[derive(Debug, Clone)]
pub struct Asked {
    /// When.
    pub at: Instant,
    /// The path below the issuer, or the well-known one.
    pub path: String,
    /// The query, or the body.
    pub fields: BTreeMap<String, String>,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The status that it was answered with.
    pub status: u16,
}

#[derive(Default)]
pub(crate) struct Book {
    clients: HashMap<String, Client>,
    codes: HashMap<String, Granted>,
    /// By access token.
    access: HashMap<String, Access>,
    /// By refresh token: the family, and whether it was used.
    refresh: HashMap<String, (u64, bool)>,
    families: HashMap<u64, Family>,
    script: VecDeque<Fault>,
    asked: Vec<Asked>,
    issued: u64,
    reused: u64,
    grants_refused: u64,
}

#[derive(Clone)]
struct Client {
    secret: Option<String>,
    redirects: Vec<String>,
}

#[derive(Clone)]
struct Granted {
    client: String,
    redirect: String,
    challenge: String,
    scope: String,
    resource: String,
    person: String,
}

#[derive(Clone)]
struct Family {
    client: String,
    person: String,
    scope: String,
    resource: String,
    revoked: bool,
}

struct Access {
    family: u64,
    number: u64,
    until: Instant,
    scope: String,
}

/// What an access token is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Valid {
    /// Who signed in, or the client's id where nobody did.
    pub person: String,
    /// The how-manieth token of this server it is, from 1.
    pub number: u64,
    /// Its scopes.
    pub scope: String,
    /// The resource that was asked for.
    pub resource: String,
}

impl Authority {
    /// Starts on a free port of 127.0.0.1.
    pub async fn start() -> Self {
        Self::shaped(Shape::default()).await
    }

    /// The same, behaving as told from the beginning.
    pub async fn shaped(shape: Shape) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(State {
            address,
            shape: Mutex::new(shape),
            book: Mutex::default(),
            gate: watch::Sender::new(false),
            waiting: AtomicUsize::new(0),
        });
        let ended = CancellationToken::new();
        tokio::spawn(serve(listener, state.clone(), ended.clone()));
        Self { state, ended }
    }

    /// Its name, under which it is found.
    pub fn issuer(&self) -> String {
        self.state.issuer()
    }

    /// The URL of its token endpoint.
    pub fn token_url(&self) -> String {
        format!("{}/token", self.issuer())
    }

    /// The URL for token requests of no standard: takes any JSON, and answers `{"data": {"token", "lives"}}`.
    pub fn custom_url(&self) -> String {
        format!("{}/custom", self.issuer())
    }

    /// Changes how it behaves from now on.
    pub fn change(&self, change: impl FnOnce(&mut Shape)) {
        change(&mut self.state.shape.lock().unwrap());
    }

    /// What the next requests for tokens meet, in this order, after what was said before.
    pub fn next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state.book.lock().unwrap().script.extend(faults);
    }

    /// Takes back what has not been met yet; returns how much that was.
    pub fn calm(&self) -> usize {
        std::mem::take(&mut self.state.book.lock().unwrap().script).len()
    }

    /// How much of what the next requests meet is left.
    pub fn left(&self) -> usize {
        self.state.book.lock().unwrap().script.len()
    }

    /// Lets the requests that are held go on.
    pub fn let_go(&self) {
        self.state.gate.send_replace(true);
    }

    /// How many requests are held.
    pub fn held(&self) -> usize {
        self.state.waiting.load(Ordering::Relaxed)
    }

    /// Makes a client known; returns its secret.
    pub fn client(&self, id: &str) -> String {
        let secret = canary::secret("client-secret");
        let client = Client { secret: Some(secret.clone()), redirects: Vec::new() };
        self.state.book.lock().unwrap().clients.insert(id.to_owned(), client);
        secret
    }

    /// Forgets all clients that registered.
    pub fn forget_clients(&self) {
        self.state.book.lock().unwrap().clients.clear();
    }

    /// Access and refresh token of a sign-in of this person, as if it had happened.
    pub fn signed_in(&self, client: &str, person: &str) -> Value {
        let family = Family {
            client: client.to_owned(),
            person: person.to_owned(),
            scope: String::new(),
            resource: String::new(),
            revoked: false,
        };
        self.state.begin(family)
    }

    /// What becomes of access tokens: none that was issued is good any more. Refresh tokens stay good.
    pub fn expire_access(&self) {
        let mut book = self.state.book.lock().unwrap();
        let now = Instant::now();
        book.access.values_mut().for_each(|access| access.until = now);
    }

    /// Revokes everything that was issued, refresh tokens too.
    pub fn revoke_all(&self) {
        let mut book = self.state.book.lock().unwrap();
        book.families.values_mut().for_each(|family| family.revoked = true);
    }

    /// What a token is good for now.
    pub fn valid(&self, token: &str) -> Option<Valid> {
        self.state.valid(token)
    }

    /// Every request whose path ends like this, in order.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        let book = self.state.book.lock().unwrap();
        book.asked.iter().filter(|asked| asked.path.ends_with(path)).cloned().collect()
    }

    /// The requests for tokens with this grant type, in order.
    pub fn grants(&self, kind: &str) -> Vec<Asked> {
        let mut asked = self.asked("/token");
        asked.retain(|asked| asked.fields.get("grant_type").is_some_and(|grant| grant == kind));
        asked
    }

    /// How many refreshes were asked for.
    pub fn refreshes(&self) -> usize {
        self.grants("refresh_token").len()
    }

    /// How many access tokens were issued.
    pub fn issued(&self) -> u64 {
        self.state.book.lock().unwrap().issued
    }

    /// How often a refresh token was used twice.
    pub fn reused(&self) -> u64 {
        self.state.book.lock().unwrap().reused
    }

    /// How often `invalid_grant` was answered.
    pub fn grants_refused(&self) -> u64 {
        self.state.book.lock().unwrap().grants_refused
    }

    /// How many sign-ins are still good for a new token.
    pub fn alive(&self) -> usize {
        self.state.book.lock().unwrap().families.values().filter(|family| !family.revoked).count()
    }

    /// Every secret that it has handed out: clients' secrets, codes, tokens.
    pub fn secrets(&self) -> Vec<String> {
        let book = self.state.book.lock().unwrap();
        let clients = book.clients.values().filter_map(|client| client.secret.clone());
        clients.chain(book.access.keys().cloned()).chain(book.refresh.keys().cloned()).collect()
    }

    /// Stops listening and closes every connection.
    pub fn end(&self) {
        self.ended.cancel();
    }

    pub(crate) fn state(&self) -> Arc<State> {
        self.state.clone()
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

impl State {
    fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The issuer's name.
    pub(crate) fn issuer(&self) -> String {
        format!("{}{}", self.origin(), self.shape.lock().unwrap().path)
    }

    /// The scopes of the metadata.
    pub(crate) fn valid(&self, token: &str) -> Option<Valid> {
        let book = self.book.lock().unwrap();
        let access = book.access.get(token)?;
        let family = book.families.get(&access.family)?;
        let good = !family.revoked && access.until > Instant::now();
        good.then(|| Valid {
            person: family.person.clone(),
            number: access.number,
            scope: access.scope.clone(),
            resource: family.resource.clone(),
        })
    }

    fn begin(&self, family: Family) -> Value {
        let mut book = self.book.lock().unwrap();
        let id = book.families.len() as u64;
        let scope = family.scope.clone();
        book.families.insert(id, family);
        drop(book);
        self.issue(id, &scope, true)
    }

    /// The answer that carries a new access token; with a refresh token where there are any, and it is time for one.
    fn issue(&self, family: u64, scope: &str, first: bool) -> Value {
        let shape = self.shape.lock().unwrap().clone();
        let mut book = self.book.lock().unwrap();
        book.issued += 1;
        let (number, token) = (book.issued, canary::secret("access-token"));
        let until = Instant::now() + Duration::from_secs(shape.lifetime.unwrap_or(3600));
        book.access.insert(token.clone(), Access { family, number, until, scope: scope.to_owned() });
        let mut answer = json!({"access_token": token, "token_type": "Bearer"});
        if let Some(said) = shape.expires_in.or_else(|| shape.lifetime.map(Value::from)) {
            answer["expires_in"] = said;
        }
        if !scope.is_empty() {
            answer["scope"] = json!(scope);
        }
        if shape.refresh == Refresh::Rotated || (shape.refresh == Refresh::Kept && first) {
            let refresh = canary::secret("refresh-token");
            book.refresh.insert(refresh.clone(), (family, false));
            answer["refresh_token"] = json!(refresh);
        }
        answer
    }
}

async fn serve(listener: TcpListener, state: Arc<State>, ended: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = ended.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else { continue };
        let (state, over) = (state.clone(), ended.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| routes::route(state.clone(), request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                () = over.cancelled() => (),
                _ = connection => (),
            }
        });
    }
}
