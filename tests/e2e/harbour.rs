//! An upstream that wants to know who calls, its authorization server, and people who sign in there, as several modules
//! need them.

use serde_json::{Value, json};
use tests::authority::Shape;
use tests::visitor::Shown;
use tests::{Admin, Answer, Authority, Gatehouse, Guard, Mcp, Upstream, Visitor, eventually};

use crate::ways::user;

/// Everything that stands around a test; the server is called `safe`.
pub(crate) struct Harbour {
    pub(crate) house: Gatehouse,
    pub(crate) admin: Admin,
    pub(crate) authority: Authority,
    pub(crate) guard: Guard,
    pub(crate) upstream: Upstream,
}

/// Somebody with an account, a browser that is signed in to the console, and a key.
pub(crate) struct Person {
    pub(crate) login: String,
    pub(crate) visitor: Visitor,
    pub(crate) key: String,
}

impl Person {
    /// A new user.
    pub(crate) async fn new(admin: &Admin, login: &str) -> Self {
        user(admin, login, &[]).await;
        let visitor = Visitor::signed_in(admin, login).await;
        Self { login: login.to_owned(), visitor, key: admin.key_of(login).await }
    }

    /// Opens a login link, says yes, and returns the page at the end.
    pub(crate) async fn walk(&mut self, link: &str) -> Shown {
        let page = self.visitor.goto(link).await;
        assert_eq!(page.answer.status, 200, "{} {}", page.url, page.answer.text());
        assert!(page.answer.text().contains(&self.login), "the page names the user: {}", page.answer.text());
        self.visitor.lead_on(&page).await
    }

    /// The same, and it must end well.
    pub(crate) async fn log_in(&mut self, link: &str) {
        let shown = self.walk(link).await;
        assert_eq!(shown.answer.status, 200, "{} {}", shown.url, shown.answer.text());
    }
}

impl Harbour {
    /// A house with the server `safe`, where people sign in.
    pub(crate) async fn open() -> Self {
        Self::shaped(Shape::default()).await
    }

    /// The same with an authorization server of this shape.
    pub(crate) async fn shaped(shape: Shape) -> Self {
        let authority = Authority::shaped(shape).await;
        let guard = Guard::by(&authority);
        Self::with(authority, guard, &json!({"type": "authorization_code"})).await
    }

    /// The same with a guard and settings of the test's choice.
    pub(crate) async fn with(authority: Authority, guard: Guard, auth: &Value) -> Self {
        let house = Gatehouse::start().await;
        let upstream = Upstream::guarded("safe", &guard).await;
        let admin = house.admin();
        add_with(&admin, "safe", &upstream.url(), auth).await.expect(201);
        Self { house, admin, authority, guard, upstream }
    }

    /// An open session of a person at the server.
    pub(crate) async fn mcp(&self, person: &Person) -> Mcp {
        Mcp::open(&self.house.at("/servers/safe/mcp"), &person.key).await
    }

    /// A person whose connection is there, and their session.
    pub(crate) async fn connected(&self, login: &str) -> (Person, Mcp) {
        let mut person = Person::new(&self.admin, login).await;
        self.authority.change(|shape| login.clone_into(&mut shape.person));
        person.log_in(&link_at(&self.house.at("/servers/safe/mcp"), &person.key).await).await;
        let mcp = self.mcp(&person).await;
        assert_eq!(whoami(&mcp).await["person"], login);
        (person, mcp)
    }

    /// The connections of the server.
    pub(crate) async fn connections(&self) -> Vec<Value> {
        connections(&self.admin, "safe").await
    }

    /// The only connection, as soon as it is like this.
    pub(crate) async fn until_connection(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || async { self.connections().await.into_iter().find(|one| is(one)) }).await
    }
}

/// Adds a server with settings for its credentials, as soon as there is a proxy to try it.
pub(crate) async fn add_with(admin: &Admin, name: &str, url: &str, auth: &Value) -> Answer {
    let body = json!({"name": name, "url": url, "auth": auth});
    eventually("a proxy is attached", || async {
        let answer = admin.post("/api/v1/servers", &body).await;
        (answer.status != 503 || answer.json()["code"] != "no_proxy_attached").then_some(answer)
    })
    .await
}

/// Makes a connection: `body` says for whom, and with what.
pub(crate) async fn connect(admin: &Admin, server: &str, body: &Value) -> Value {
    admin.post(&format!("/api/v1/servers/{server}/connections"), body).await.expect(201).json()
}

/// Changes a connection, whatever its generation is.
pub(crate) async fn change(admin: &Admin, server: &str, id: &str, body: &Value) -> Answer {
    let path = format!("/api/v1/servers/{server}/connections/{id}");
    let tag = admin.get(&path).await.expect(200).header("etag").to_owned();
    admin.try_send("PATCH", &path, &[("if-match", &tag)], body).await.unwrap()
}

/// Sends any request for a record with the `ETag` that it has now.
pub(crate) async fn tagged(admin: &Admin, method: &str, path: &str, record: &str, body: &Value) -> Answer {
    let tag = admin.get(record).await.expect(200).header("etag").to_owned();
    admin.try_send(method, path, &[("if-match", &tag)], body).await.unwrap()
}

/// The connections of a server.
pub(crate) async fn connections(admin: &Admin, server: &str) -> Vec<Value> {
    let list = admin.get(&format!("/api/v1/servers/{server}/connections?limit=100")).await.expect(200).json();
    list["items"].as_array().unwrap_or_else(|| panic!("{list}")).clone()
}

/// What `whoami` of the upstream says of the caller.
pub(crate) async fn whoami(mcp: &Mcp) -> Value {
    serde_json::from_str(&mcp.text("whoami", json!({})).await).unwrap()
}

/// The login link that a client gets which has no connection yet: its session begins, its call is refused.
pub(crate) async fn link_at(url: &str, key: &str) -> String {
    let answer = Mcp::open(url, key).await.call("whoami", json!({})).await;
    assert_eq!(answer["error"]["data"]["error"], "connection_required", "{answer}");
    link_of(&answer)
}

/// The login link of an error that wants one; panics otherwise.
pub(crate) fn link_of(answer: &Value) -> String {
    let data = &answer["error"]["data"];
    assert_eq!((&answer["error"]["code"], &data["needs_reauth"]), (&json!(-31006), &json!(true)), "{answer}");
    data["login_url"].as_str().unwrap_or_else(|| panic!("no link: {answer}")).to_owned()
}
