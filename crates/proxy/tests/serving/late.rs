//! What is taken away between the check of who calls and what they asked for.

use identity::Claims;
use model::{GrantId, KeyRole, KeyVerifier, Limits, Resource, ResourceName, TenantSpec, UserSpec};
use serde_json::{Value, json};
use tests::{Mcp, Upstream, eventually, patient};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::house::{House, server, tenant};
use crate::papers::{Issuing, Signing, user};
use crate::tokens::{agent, you};

/// A call whose last byte is still to come.
struct Withheld {
    connection: TcpStream,
    last: Vec<u8>,
}

impl Withheld {
    /// Sends all of a message but its last byte.
    #[expect(clippy::disallowed_methods, reason = "a client that stops in the middle is written by hand")]
    async fn begin(house: &House, path: &str, bearer: &str, session: &str, message: &Value) -> Self {
        let base = house.at("");
        let authority = base.strip_prefix("http://").unwrap();
        let mut connection = TcpStream::connect(authority).await.unwrap();
        let body = message.to_string().into_bytes();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {authority}\r\nauthorization: Bearer {bearer}\r\nmcp-session-id: {session}\r\n\
             content-type: application/json\r\naccept: application/json, text/event-stream\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let (most, last) = body.split_at(body.len() - 1);
        connection.write_all(&[head.as_bytes(), most].concat()).await.unwrap();
        Self { connection, last: last.to_vec() }
    }

    /// Sends the rest, and says what came back.
    async fn end(mut self) -> (u16, String) {
        self.connection.write_all(&self.last).await.unwrap();
        let mut answer = Vec::new();
        patient("the answer", self.connection.read_to_end(&mut answer)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
    }
}

fn call(text: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": {"text": text}}})
}

#[tokio::test]
async fn who_is_shut_out_while_a_body_comes_calls_nothing() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&server("notes", &upstream.url()));
    // One call at a time: a second one is refused once the first has been let in.
    let one = TenantSpec { limits: Limits { concurrent: 1, ..Limits::default() }, ..tenant() };
    house.put([Resource::Tenant(one.clone())]);
    let path = "/servers/notes/mcp";
    let url = house.at(path);
    let (signing, ann) = (Signing::new(), user("ann"));
    let witness = Mcp::open(&url, &house.key(KeyRole::User).text).await;
    type Take = Box<dyn Fn(&House, &KeyVerifier)>;
    let narrowed = |change: fn(&mut KeyVerifier)| -> Take {
        Box::new(move |house: &House, key: &KeyVerifier| {
            let mut less = key.clone();
            change(&mut less);
            house.put([Resource::Key(less)]);
        })
    };
    let gone: fn(&House, &KeyVerifier) = |house, key| house.remove([ResourceName::Key(key.id)]);
    let inactive = UserSpec { active: false, ..ann.clone() };
    let cases: [(&str, bool, u16, Take); 9] = [
        ("nothing", false, 200, Box::new(|_, _| ())),
        ("nothing of a token", true, 200, Box::new(|_, _| ())),
        ("the key", false, 401, Box::new(gone)),
        ("the key's time", false, 401, narrowed(|key| key.expires_at = Some(0))),
        ("the key's server", false, 404, narrowed(|key| key.servers = Some(vec!["else".to_owned()]))),
        ("the key's role", false, 403, narrowed(|key| key.role = KeyRole::Viewer)),
        ("the key's scope", false, 401, narrowed(|key| key.scopes.mcp = false)),
        ("the acting key", true, 401, Box::new(gone)),
        ("the user", true, 401, Box::new(move |house, _| house.put([Resource::User(inactive.clone())]))),
    ];
    for (name, with_token, status, take) in cases {
        house.put([signing.resource(), Resource::User(ann.clone())]);
        let key = agent(&house);
        let claims = signing.on_behalf(key.verifier.id, &ann);
        let bearer = if with_token { signing.sign(&Claims { ..claims }) } else { key.text.clone() };
        let mcp = Mcp::open(&url, &bearer).await;
        let withheld = Withheld::begin(&house, path, &bearer, mcp.session(), &call(name)).await;
        let under_way = async || {
            let answer = witness.post(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await.unwrap();
            (answer.status == 429).then_some(())
        };
        eventually("the call is under way", under_way).await;
        take(&house, &key.verifier);
        let (answered, text) = withheld.end().await;
        assert_eq!(answered, status, "{name}: {text}");
        assert_eq!(upstream.calls(name), u32::from(status == 200), "{name}");
    }
}

#[tokio::test]
async fn a_department_that_is_taken_away_lives_on_in_no_token_of_ours() {
    let house = House::start().await;
    let (signing, ann) = (Signing::new(), user("ann"));
    house.put([signing.resource(), Resource::User(ann.clone())]);
    let key = agent(&house);
    let departments = ["board", "ops", "sales"].map(str::to_owned).to_vec();
    let claims = Claims { departments, ..signing.on_behalf(key.verifier.id, &ann) };
    let granted = Claims { by: signing.granted(GrantId::fresh(), &ann).by, ..claims.clone() };
    for token in [claims, granted].map(|claims| signing.sign(&claims)) {
        let mcp = Mcp::open(&house.at("/servers/gatehouse/mcp"), &token).await;
        for (recorded, told) in [
            (vec!["sales", "board"], json!(["board", "sales"])),
            (vec!["sales"], json!(["sales"])),
            (vec![], json!([])),
            (vec!["other", "ops"], json!(["ops"])),
        ] {
            let departments = recorded.into_iter().map(str::to_owned).collect();
            house.put([Resource::User(UserSpec { departments, ..ann.clone() })]);
            assert_eq!(you(&mcp).await["departments"], told);
        }
    }
}

#[tokio::test]
async fn an_issuers_new_key_ends_nothing_that_an_old_one_let_in() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    upstream.answer_as_events();
    house.mount(&server("notes", &upstream.url()));
    let (mut issuing, next) = (Issuing::new("https://id.example"), Issuing::new("https://id.example"));
    let keys = |set: &str| serde_json::from_str::<Value>(set).unwrap()["keys"][0].clone();
    let (own, mut added) = (keys(&issuing.spec.keys), keys(&next.spec.keys));
    added["kid"] = json!("two");
    house.put([issuing.resource(), Resource::User(user("ann"))]);
    let url = house.at("/t/acme/servers/notes/mcp");
    let mcp = Mcp::open(&url, &issuing.sign(&issuing.claims("ann", &url))).await;
    let mut stream = mcp.listen().await;
    let token = issuing.sign(&issuing.claims("ann", &url));
    let begin = |text: &'static str| {
        let mcp = mcp.stolen_by(&token);
        tokio::spawn(async move {
            mcp.try_request("tools/call", json!({"name": "slow", "arguments": {"text": text}})).await
        })
    };
    let under_way = async |text| {
        eventually("the call is under way", async || (upstream.calls(text) == 1).then_some(())).await;
    };
    let first = begin("first");
    under_way("first").await;
    issuing.spec.keys = json!({"keys": [own.clone(), added.clone()]}).to_string();
    house.put([issuing.resource()]);
    upstream.add_tool("new");
    stream.until("notifications/tools/list_changed").await;
    upstream.open_gate();
    let (_, answer) = patient("the call is answered", first).await.unwrap().unwrap();
    assert_eq!(answer["result"]["content"][0]["text"], "upstream: first");
    // The same key under another name is the same key; without it nothing of it goes on.
    upstream.close_gate();
    let mut renamed = own;
    renamed["kid"] = json!("three");
    issuing.spec.keys = json!({"keys": [renamed, added.clone()]}).to_string();
    let second = begin("second");
    under_way("second").await;
    house.put([issuing.resource()]);
    issuing.spec.keys = json!({"keys": [added]}).to_string();
    house.put([issuing.resource()]);
    let ended = patient("the answer ends", second).await.unwrap();
    assert!(ended.as_ref().is_err_and(|error| error.contains("without an answer")), "{ended:?}");
    patient("the stream ends", async { while stream.next().await.is_some() {} }).await;
}

#[tokio::test]
async fn those_for_whom_one_client_comes_are_not_one() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&server("notes", &upstream.url()));
    let mut issuing = Issuing::new("https://id.example");
    issuing.spec.claims.external_id = "uid".to_owned();
    house.put([issuing.resource(), Resource::User(user("ann")), Resource::User(user("bob"))]);
    let url = house.at("/t/acme/mcp");
    // The subject is the client, whoever uses it.
    let token = |login: &str| {
        let mut claims = issuing.claims(login, &url);
        (claims["sub"], claims["uid"]) = (json!("app"), json!(format!("idp|{login}")));
        issuing.sign(&claims)
    };
    let anns = Mcp::open(&url, &token("ann")).await;
    assert_eq!(anns.text("notes__echo", json!({"text": "x"})).await, "upstream: x");
    let stolen = anns.stolen_by(&token("bob"));
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    assert_eq!(stolen.post(&ping).await.unwrap().status, 404);
    let bobs = Mcp::open(&url, &token("bob")).await;
    assert_eq!(bobs.text("notes__echo", json!({"text": "x"})).await, "upstream: x");
    assert_eq!(upstream.sessions(), 2, "one person's session never serves another");
}
