//! Short ways that several modules take.

use std::time::Duration;

use serde_json::{Value, json};
use tests::load::Target;
use tests::{Admin, Answer, Gatehouse, Http, Mcp, Upstream, eventually};

/// An upstream of this name, started and added.
pub(crate) async fn mounted(admin: &Admin, name: &str) -> Upstream {
    let upstream = Upstream::named(name).await;
    admin.add(name, &upstream.url()).await;
    upstream
}

/// Where nobody listens: a port that was free a moment ago.
pub(crate) fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://127.0.0.1:{}/mcp", listener.local_addr().unwrap().port())
}

/// Waits until the list of tools holds this name, or doesn't.
pub(crate) async fn until_offered(mcp: &Mcp, tool: &str, offered: bool) {
    let what = format!("{tool} is {}offered", if offered { "" } else { "not " });
    eventually(&what, || async { (mcp.tools().await.iter().any(|name| name == tool) == offered).then_some(()) }).await;
}

/// Tenants with servers of their own, each server with an upstream of its own.
pub(crate) struct Town {
    pub(crate) admins: Vec<Admin>,
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) targets: Vec<Target>,
}

impl Town {
    /// Builds `tenants` × `servers`; each server has a client key, half of them call on the aggregate.
    pub(crate) async fn build(house: &Gatehouse, tenants: usize, servers: usize) -> Self {
        let mut town = Self { admins: Vec::new(), upstreams: Vec::new(), targets: Vec::new() };
        for t in 0..tenants {
            let admin = house.admin().tenant(&format!("town{t}")).await;
            for s in 0..servers {
                let name = format!("t{t}s{s}");
                town.upstreams.push(mounted(&admin, &name).await);
                let key = admin.key("client").await;
                let (path, tool) = match s % 2 {
                    0 => ("/mcp".to_owned(), format!("{name}__echo")),
                    _ => (format!("/servers/{name}/mcp"), "echo".to_owned()),
                };
                town.targets.push(Target { url: house.at(&path), key, tool, says: name });
            }
            town.admins.push(admin);
        }
        town
    }

    /// How often each target is called, so that the whole load is above 200 calls per second.
    pub(crate) fn pace(&self) -> Duration {
        Duration::from_millis(1000 * self.targets.len() as u64 / 220)
    }

    /// Texts that reached an upstream more than once.
    pub(crate) fn repeated(&self) -> Vec<String> {
        self.upstreams.iter().flat_map(Upstream::repeated).collect()
    }
}

/// The message of an answer of the seed's surface.
pub(crate) fn message(body: &Value) -> &str {
    body["message"].as_str().unwrap_or_else(|| panic!("no message in {body}"))
}

/// Makes a user who is in these departments, which are made where they are missing; returns the record.
pub(crate) async fn user(admin: &Admin, login: &str, departments: &[&str]) -> Value {
    for name in departments {
        let made = admin.post("/api/v1/departments", &json!({ "name": name })).await;
        assert!([201, 409].contains(&made.status.as_u16()), "{name}: {}", made.text());
    }
    admin.post("/api/v1/users", &json!({"login": login, "departments": departments})).await.expect(201).json()
}

/// Begins an MCP session with this bearer and returns whatever comes.
pub(crate) async fn knock(url: &str, bearer: &str) -> Answer {
    knock_with(url, &[("authorization", &format!("Bearer {bearer}"))]).await
}

/// The same with these headers instead.
pub(crate) async fn knock_with(url: &str, headers: &[(&str, &str)]) -> Answer {
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    let headers = [&tests::mcp::POST[..], headers].concat();
    Http::default().send("POST", url, &headers, hello.to_string()).await.unwrap()
}
