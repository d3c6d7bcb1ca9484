//! An OpenID provider on loopback: it signs what a test says, and exchanges each code once, with PKCE.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{ClaimMapping, IssuerId, KeyRole, SigningAlgorithm};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use store::{Actor, FetchedKeys, IssuerRecord, NewIssuer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use url::Url;

use super::House;

pub(super) const CLIENT: &str = "gatehouse";

pub(super) struct Idp {
    pub(super) base: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

struct State {
    base: String,
    key: Ed25519KeyPair,
    kid: String,
    names_itself: bool,
    /// By code: the challenge that its verifier must meet, and the claims of the token.
    codes: HashMap<String, (String, Value)>,
    exchanges: Vec<String>,
}

pub(super) fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).unwrap();
    bytes
}

fn key() -> Ed25519KeyPair {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap()
}

impl Idp {
    pub(super) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let state = State {
            base: base.clone(),
            key: key(),
            kid: "one".to_owned(),
            names_itself: false,
            codes: HashMap::new(),
            exchanges: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let task = tokio::spawn(serve(listener, state.clone()));
        Self { base, state, task }
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    /// Says that its answers name it (RFC 9207), before it is made an issuer.
    pub(super) fn names_itself(&self) {
        self.with(|state| state.names_itself = true);
    }

    /// Signs with another key from now on.
    pub(super) fn rotate(&self) {
        self.with(|state| (state.key, state.kid) = (key(), "two".to_owned()));
    }

    /// How many codes came to be exchanged.
    pub(super) fn exchanges(&self) -> usize {
        self.with(|state| state.exchanges.len())
    }

    /// The form and the head of the last exchange.
    pub(super) fn last_exchange(&self) -> String {
        self.with(|state| state.exchanges.last().cloned().unwrap_or_default())
    }

    /// Makes it acme's issuer `company`.
    pub(super) async fn trusted(&self, house: &House, change: impl FnOnce(&mut NewIssuer)) -> IssuerRecord {
        let fetched = self.with(|state| FetchedKeys {
            document: state.keys().to_string(),
            metadata: state.metadata().to_string(),
            at: house.app.clock.now_micros(),
        });
        let id = IssuerId::fresh();
        let secret =
            house.app.issuers.seal_secret(house.acme, id, &model::Secret::new("hush".to_owned())).await.unwrap();
        let mut new = NewIssuer {
            id,
            name: "company".parse().unwrap(),
            title: "The company".to_owned(),
            issuer: self.base.clone(),
            client_id: Some(CLIENT.to_owned()),
            client_secret: Some(secret),
            audiences: Vec::new(),
            algorithms: vec![SigningAlgorithm::EdDsa],
            claims: ClaimMapping {
                departments: Some("groups".to_owned()),
                role: Some("roles".to_owned()),
                roles: vec![("boss".to_owned(), KeyRole::PlatformAdmin)],
                ..ClaimMapping::default()
            },
            scope: None,
            unknown_users: false,
            sign_in: true,
            mcp: false,
            enabled: true,
            fetched: Some(fetched),
        };
        change(&mut new);
        house.app.store.tenant(house.acme).create_issuer(&Actor::system("test"), new).await.unwrap().value
    }

    /// What a person who signs in brings back: the URL to the callback. `claims` are put over the usual ones.
    pub(super) fn answers(&self, asked: &str, claims: Value) -> String {
        let asked = Url::parse(asked).unwrap();
        let query: HashMap<String, String> = asked.query_pairs().into_owned().collect();
        assert!(asked.as_str().starts_with(&format!("{}/authorize?", self.base)), "{asked}");
        assert_eq!((query["response_type"].as_str(), query["client_id"].as_str()), ("code", CLIENT));
        assert_eq!(query["code_challenge_method"], "S256");
        assert!(query["scope"].split(' ').any(|scope| scope == "openid"));
        let code = URL_SAFE_NO_PAD.encode(random());
        let mut payload = json!({"iss": self.base, "aud": CLIENT, "sub": "id-ann", "preferred_username": "ann",
            "nonce": query["nonce"], "iat": 1_800_000_000, "exp": 1_800_100_000});
        for (name, value) in claims.as_object().unwrap() {
            payload[name] = value.clone();
        }
        self.with(|state| state.codes.insert(code.clone(), (query["code_challenge"].clone(), payload)));
        let back = Url::parse(&query["redirect_uri"]).unwrap();
        format!("{}?state={}&code={code}", back.path(), query["state"])
    }
}

impl Drop for Idp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    fn keys(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.key.public_key().as_ref());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.kid, "x": x}]})
    }

    fn metadata(&self) -> Value {
        json!({"issuer": self.base, "jwks_uri": format!("{}/keys", self.base),
            "authorization_endpoint": format!("{}/authorize", self.base),
            "token_endpoint": format!("{}/token", self.base),
            "authorization_response_iss_parameter_supported": self.names_itself})
    }

    fn token(&mut self, form: &str) -> Option<Value> {
        let form: HashMap<String, String> = url::form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        let (challenge, payload) = self.codes.remove(form.get("code")?)?;
        let digest = ring::digest::digest(&ring::digest::SHA256, form.get("code_verifier")?.as_bytes());
        if URL_SAFE_NO_PAD.encode(digest) != challenge {
            return None;
        }
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = json!({"alg": "EdDSA", "kid": self.kid, "typ": "JWT"});
        let signed = format!("{}.{}", part(head), part(payload));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()));
        Some(json!({"access_token": "unused", "token_type": "Bearer", "id_token": format!("{signed}.{signature}")}))
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(answer(stream, state.clone()));
    }
}

async fn answer(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head
        .to_lowercase()
        .split_once("content-length: ")
        .map_or(0, |(_, rest)| rest.split("\r\n").next().unwrap().parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    let body = String::from_utf8(body).unwrap();
    let found = {
        let mut state = state.lock().unwrap();
        match head.split(' ').nth(1).unwrap_or_default() {
            "/keys" => Some(state.keys()),
            "/.well-known/openid-configuration" => Some(state.metadata()),
            "/token" => {
                state.exchanges.push(format!("{head}{body}"));
                state.token(&body)
            }
            _ => None,
        }
    };
    let (status, body) = match found {
        Some(found) => ("200 OK", found.to_string()),
        None => ("400 Bad Request", r#"{"error":"invalid_grant"}"#.to_owned()),
    };
    let text =
        format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    _ = stream.write_all(text.as_bytes()).await;
    _ = stream.shutdown().await;
}
