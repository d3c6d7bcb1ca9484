//! A tenant with an authorization server, a person with a browser, and a client.

use axum::http::HeaderMap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::{TenantId, UserId};
use serde_json::{Value, json};
use sha::sha256;
use store::NewSession;
use url::form_urlencoded::{Serializer, parse};

use crate::rest::tests::house::{House, Reply};
use crate::sign_in::token::Token;

pub(super) const ORIGIN: &str = "http://127.0.0.1:5010";
pub(super) const RESOURCE: &str = "http://localhost:5011/t/acme/mcp";
pub(super) const CALLBACK: &str = "http://127.0.0.1:4711/callback";
pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

mod sha {
    pub(super) fn sha256(text: &str) -> Vec<u8> {
        ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref().to_vec()
    }
}

/// Two tenants with authorization servers, and Ann of the first one.
pub(super) struct World {
    pub(super) house: House,
    pub(super) ann: Person,
}

/// Somebody who is signed in with a browser.
pub(super) struct Person {
    pub(super) id: UserId,
    pub(super) cookie: String,
}

impl World {
    pub(super) async fn open() -> Self {
        Self::of(House::open().await).await
    }

    /// The same outside of dev mode.
    pub(super) async fn without_dev() -> Self {
        Self::of(House::without_dev().await).await
    }

    async fn of(house: House) -> Self {
        for tenant in ["acme", "other"] {
            let on = r#"{"authorization_server":true}"#;
            change(&house, &house.platform, &format!("/api/v1/tenants/{tenant}"), on).await;
        }
        for department in ["sales", "legal"] {
            let made = house.admin("POST", "/api/v1/departments", &json!({"name": department}).to_string()).await;
            assert_eq!(made.status.as_u16(), 201, "{}", made.text);
        }
        let body = r#"{"login":"ann","departments":["legal","sales"]}"#;
        let ann = person(&house, &house.admin, house.acme, body).await;
        Self { house, ann }
    }

    /// Somebody of the other tenant.
    pub(super) async fn stranger(&self) -> Person {
        person(&self.house, &self.house.other_admin, self.house.other, r#"{"login":"zoe"}"#).await
    }

    /// Another session of the same person.
    pub(super) async fn session(&self, user: UserId) -> Person {
        Person { id: user, cookie: session(&self.house, self.house.acme, user).await }
    }

    pub(super) async fn change_ann(&self, body: &str) {
        change(&self.house, &self.house.admin, &format!("/api/v1/users/{}", self.ann.id), body).await;
    }

    /// A client that has registered itself.
    pub(super) async fn client(&self) -> String {
        let body = json!({"client_name": "Notes App", "redirect_uris": ["http://127.0.0.1/callback"]});
        let made = self.house.send("POST", "/oauth/acme/register", &body.to_string(), |_| ()).await;
        assert_eq!(made.status.as_u16(), 201, "{}", made.text);
        made.json()["client_id"].as_str().unwrap().to_owned()
    }

    pub(super) async fn get(&self, cookie: &str, path: &str) -> Reply {
        self.house.send("GET", path, "", |headers| put(headers, "cookie", cookie)).await
    }

    /// A form of a page of ours.
    pub(super) async fn form(&self, cookie: &str, path: &str, fields: &[(&str, &str)]) -> Reply {
        let headers = |headers: &mut HeaderMap| {
            put(headers, "cookie", cookie);
            put(headers, "origin", ORIGIN);
        };
        self.post(path, fields, headers).await
    }

    /// A form that a client sends, which has no cookie.
    pub(super) async fn post(&self, path: &str, fields: &[(&str, &str)], more: impl FnOnce(&mut HeaderMap)) -> Reply {
        let body = Serializer::new(String::new()).extend_pairs(fields).finish();
        self.house
            .send("POST", path, &body, |headers| {
                put(headers, "content-type", "application/x-www-form-urlencoded");
                more(headers);
            })
            .await
    }

    pub(super) async fn token(&self, fields: &[(&str, &str)]) -> Reply {
        self.post("/oauth/acme/token", fields, |_| ()).await
    }

    /// What Ann's answer to a request is, by the page that she is shown.
    pub(super) async fn answer(&self, path: &str, decision: &str) -> Reply {
        let page = self.get(&self.ann.cookie, path).await;
        assert_eq!(page.status.as_u16(), 200, "{}", page.text);
        let (csrf, shown) = (field(&page, "csrf"), field(&page, "shown"));
        let fields = [("csrf", csrf.as_str()), ("shown", shown.as_str()), ("decision", decision)];
        self.form(&self.ann.cookie, path, &fields).await
    }

    /// The code of a request that Ann allowed.
    pub(super) async fn code(&self, client: &str) -> String {
        let reply = self.answer(&authorize(client), "allow").await;
        of(&led(&reply), "code").unwrap()
    }

    pub(super) async fn exchange(&self, client: &str, code: &str) -> Reply {
        self.token(&exchange(client, code)).await
    }

    /// The tokens of a request that Ann allowed.
    pub(super) async fn tokens(&self, client: &str) -> Value {
        let code = self.code(client).await;
        let reply = self.exchange(client, &code).await;
        assert_eq!(reply.status.as_u16(), 200, "{}", reply.text);
        reply.json()
    }

    pub(super) async fn refresh(&self, client: &str, token: &str) -> Reply {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", client)]).await
    }
}

/// The fields of an exchange that fits [`authorize`].
pub(super) fn exchange<'a>(client: &'a str, code: &'a str) -> [(&'static str, &'a str); 6] {
    [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
        ("client_id", client),
        ("resource", RESOURCE),
    ]
}

/// A good request.
pub(super) fn authorize(client: &str) -> String {
    authorize_with(client, &[])
}

/// The same with some parameters changed, or left out where they are empty.
pub(super) fn authorize_with(client: &str, changed: &[(&str, &str)]) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(sha256(VERIFIER));
    let good = [
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", CALLBACK),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
        ("resource", RESOURCE),
        ("scope", "mcp"),
        ("state", "st&te"),
    ];
    let kept = good.into_iter().filter(|(name, _)| !changed.iter().any(|(other, _)| other == name));
    let all = kept.chain(changed.iter().copied()).filter(|(_, value)| !value.is_empty());
    format!("/oauth/acme/authorize?{}", Serializer::new(String::new()).extend_pairs(all).finish())
}

/// Where a page leads by itself.
pub(super) fn led(reply: &Reply) -> String {
    assert_eq!(reply.status.as_u16(), 200, "{}", reply.text);
    let refresh = reply.header("refresh").strip_prefix("0;url=");
    refresh.unwrap_or_else(|| panic!("leads nowhere: {}", reply.text)).to_owned()
}

/// A parameter of a URL.
pub(super) fn of(url: &str, name: &str) -> Option<String> {
    let query = url.split_once('?')?.1;
    parse(query.as_bytes()).find(|(other, _)| other == name).map(|(_, value)| value.into_owned())
}

/// A hidden field of a page: of the last form that has it.
pub(super) fn field(page: &Reply, name: &str) -> String {
    let before = format!("name=\"{name}\" value=\"");
    let (_, rest) = page.text.rsplit_once(&before).unwrap_or_else(|| panic!("no {name} in {}", page.text));
    rest.split('"').next().unwrap().to_owned()
}

pub(super) fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if !value.is_empty() {
        headers.insert(name, value.parse().unwrap());
    }
}

async fn change(house: &House, key: &str, path: &str, body: &str) {
    let reply = house
        .send("PATCH", path, body, |headers| {
            put(headers, "authorization", &format!("Bearer {key}"));
            put(headers, "if-match", "*");
        })
        .await;
    assert_eq!(reply.status.as_u16(), 200, "{}", reply.text);
}

async fn person(house: &House, admin: &str, tenant: TenantId, body: &str) -> Person {
    let made = house.ask(admin, "POST", "/api/v1/users", body).await;
    assert_eq!(made.status.as_u16(), 201, "{}", made.text);
    let id: UserId = made.json()["id"].as_str().unwrap().parse().unwrap();
    Person { id, cookie: session(house, tenant, id).await }
}

async fn session(house: &House, tenant: TenantId, user: UserId) -> String {
    let token = Token::fresh().unwrap();
    let new = NewSession {
        hash: token.hash(),
        tenant,
        user,
        issuer: None,
        ip: None,
        agent: None,
        expires_at: 1_900_000_000_000_000,
    };
    house.app.store.platform().create_session(new).await.unwrap();
    format!("gatehouse={}", token.text().expose())
}
