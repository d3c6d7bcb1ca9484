//! An issuer on loopback for tests: any path in front of the well-known one is an issuer, all have the same keys.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::Signer;
use model::SignerId;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// The issuer; it ends with the test.
pub(crate) struct Idp {
    /// Its address; a path may follow.
    pub(crate) base: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

struct State {
    base: String,
    keys: Value,
    /// What is answered at a path in place of the usual: status line, further headers, body.
    answers: HashMap<String, (String, String, String)>,
    down: bool,
    requests: Vec<String>,
}

impl Idp {
    pub(crate) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let answers = HashMap::new();
        let state = State { base: base.clone(), keys: keys(&["one"]), answers, down: false, requests: vec![] };
        let state = Arc::new(Mutex::new(state));
        let task = tokio::spawn(serve(listener, state.clone()));
        Self { base, state, task }
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    /// Answers this at a path.
    pub(crate) fn answers(&self, path: &str, status: &str, headers: &str, body: &str) {
        self.with(|state| state.answers.insert(path.into(), (status.into(), headers.into(), body.into())));
    }

    /// Signs with other keys from now on; answers the set.
    pub(crate) fn rotate(&self, kids: &[&str]) -> String {
        self.with(|state| state.keys = keys(kids));
        self.with(|state| state.keys.to_string())
    }

    /// Breaks every connection, or no longer does.
    pub(crate) fn down(&self, down: bool) {
        self.with(|state| state.down = down);
    }

    /// The heads of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.with(|state| state.requests.clone())
    }
}

impl Drop for Idp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn keys(kids: &[&str]) -> Value {
    let key = |kid: &&str| {
        let (signer, _) = Signer::generate(SignerId::fresh()).unwrap();
        let x = URL_SAFE_NO_PAD.encode(signer.public());
        json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": x})
    };
    json!({"keys": kids.iter().map(key).collect::<Vec<_>>()})
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
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let answer = {
        let mut state = state.lock().unwrap();
        state.requests.push(head);
        if state.down { None } else { Some(state.answer(&path)) }
    };
    let Some((status, headers, body)) = answer else { return };
    let text = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len());
    _ = stream.write_all(text.as_bytes()).await;
    // Whoever takes no more of it has closed.
    _ = stream.shutdown().await;
}

impl State {
    fn answer(&self, path: &str) -> (String, String, String) {
        let ok = |body: String| ("200 OK".to_owned(), "content-type: application/json\r\n".to_owned(), body);
        if let Some(answer) = self.answers.get(path) {
            return answer.clone();
        }
        if path == "/keys" {
            return ok(self.keys.to_string());
        }
        match path.strip_suffix(WELL_KNOWN) {
            Some(prefix) => {
                let issuer = format!("{}{prefix}", self.base);
                ok(json!({
                    "issuer": issuer,
                    "jwks_uri": format!("{}/keys", self.base),
                    "authorization_endpoint": format!("{issuer}/authorize"),
                    "token_endpoint": format!("{issuer}/token"),
                })
                .to_string())
            }
            None => ("404 Not Found".to_owned(), String::new(), String::new()),
        }
    }
}
