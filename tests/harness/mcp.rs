//! A small MCP client of our own: what it sends and what it saw are both in the test's hand.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::sse::{Event, Events};
use crate::{Answer, Http, canary};

/// An MCP session over Streamable HTTP, or a client of the stateless era, whose requests say everything themselves.
pub struct Mcp {
    http: Http,
    url: String,
    key: String,
    session: String,
    revision: String,
    next: AtomicU64,
    /// The result of `initialize`.
    pub server: Value,
}

/// The stream of one request, event by event.
pub struct Call {
    /// The id of the request.
    pub id: Value,
    events: Events,
}

impl Call {
    /// The next event, also one that has nothing but an id; `None` when the stream ended.
    pub async fn event(&mut self) -> Option<Event> {
        crate::patient("the next event of a call arrives", self.events.next_any()).await
    }

    /// The next message, and the id of its event; `None` when the stream ended.
    pub async fn next(&mut self) -> Option<(Value, String)> {
        let event = crate::patient("the next message of a call arrives", self.events.next()).await?;
        Some((serde_json::from_str(&event.data).unwrap_or_else(|_| panic!("no JSON: {}", event.data)), event.id))
    }

    /// What comes before the answer, and the answer.
    pub async fn answer(&mut self) -> (Vec<Value>, Value) {
        let mut before = Vec::new();
        loop {
            let (message, _) = self.next().await.unwrap_or_else(|| panic!("no answer after {before:?}"));
            if message["id"] == self.id && message.get("method").is_none() {
                return (before, message);
            }
            before.push(message);
        }
    }
}

/// The open GET stream of a session.
pub struct Listening(Events);

impl Listening {
    /// The next message; `None` when the stream ended.
    pub async fn next(&mut self) -> Option<Value> {
        let event = self.0.next().await?;
        Some(serde_json::from_str(&event.data).unwrap_or_else(|_| panic!("no JSON in an event: {}", event.data)))
    }

    /// Reads on until a message of this method comes; panics when patience or the stream ends.
    pub async fn until(&mut self, method: &str) -> Value {
        crate::patient(&format!("a {method} arrives"), async {
            loop {
                let message = self.next().await.unwrap_or_else(|| panic!("the stream ended before {method}"));
                if message["method"] == method {
                    return message;
                }
            }
        })
        .await
    }
}

/// The newest revision of the session era.
pub const REVISION: &str = "2025-11-25";

/// The revision of the stateless era.
pub const STATELESS: &str = "2026-07-28";

/// The headers of a POST, before key and session.
pub const POST: [(&str, &str); 2] =
    [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];

/// Methods whose requests repeat a name in a header in the stateless era.
const NAMED: [&str; 6] = ["tools/call", "prompts/get", "resources/read", "tasks/get", "tasks/update", "tasks/cancel"];

impl Mcp {
    /// Opens a session: `initialize`, then `notifications/initialized`.
    pub async fn open(url: &str, key: &str) -> Self {
        Self::open_as(url, key, REVISION).await
    }

    /// Opens a session of a given revision.
    pub async fn open_as(url: &str, key: &str, revision: &str) -> Self {
        Self::try_open(url, key, revision).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Opens a session, or says what came instead.
    pub async fn try_open(url: &str, key: &str, revision: &str) -> Result<Self, String> {
        Self::try_able(url, key, revision, json!({})).await
    }

    /// Opens a session of a client that can be asked these.
    pub async fn able(url: &str, key: &str, capabilities: Value) -> Self {
        Self::try_able(url, key, REVISION, capabilities).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same with a given revision, or what came instead.
    pub async fn try_able(url: &str, key: &str, revision: &str, capabilities: Value) -> Result<Self, String> {
        let mut mcp = Self {
            http: Http::default(),
            url: url.to_owned(),
            key: key.to_owned(),
            session: String::new(),
            revision: revision.to_owned(),
            next: AtomicU64::new(1),
            server: Value::Null,
        };
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": revision, "capabilities": capabilities, "clientInfo": {"name": "tests", "version": "1"}}});
        let bearer = format!("Bearer {key}");
        let mut headers = POST.to_vec();
        headers.push(("authorization", &bearer));
        let response = mcp.http.open("POST", url, &headers, hello.to_string()).await?;
        let status = response.status();
        let session = response.headers().get("mcp-session-id").and_then(|id| id.to_str().ok()).unwrap_or("").to_owned();
        let (_, message) = read(response, &json!(0)).await?;
        if message["result"].is_null() {
            return Err(format!("initialize of {url}: {status} {message}"));
        }
        mcp.revision = message["result"]["protocolVersion"].as_str().unwrap_or(revision).to_owned();
        mcp.session = session;
        mcp.server = message["result"].clone();
        let accepted = mcp.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await?;
        if accepted.status != 202 {
            return Err(format!("notifications/initialized: {} {}", accepted.status, accepted.text()));
        }
        Ok(mcp)
    }

    /// A client of the stateless era that can be asked nothing.
    pub fn stateless(url: &str, key: &str) -> Self {
        Self {
            http: Http::default(),
            url: url.to_owned(),
            key: key.to_owned(),
            session: String::new(),
            revision: STATELESS.to_owned(),
            next: AtomicU64::new(1),
            server: Value::Null,
        }
    }

    /// The sealed session id that the server gave.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// The agreed revision.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    fn headers<'a>(&'a self, bearer: &'a str) -> Vec<(&'a str, &'a str)> {
        let mut headers = POST.to_vec();
        headers.push(("authorization", bearer));
        if !self.session.is_empty() {
            headers.push(("mcp-session-id", &self.session));
        }
        if self.revision.as_str() >= "2025-06-18" {
            headers.push(("mcp-protocol-version", &self.revision));
        }
        headers
    }

    /// Posts a message as it is and reads the whole answer.
    pub async fn post(&self, message: &Value) -> Result<Answer, String> {
        self.post_bytes(message.to_string()).await
    }

    /// Posts any bytes and reads the whole answer.
    pub async fn post_bytes(&self, body: impl Into<bytes::Bytes>) -> Result<Answer, String> {
        let bearer = format!("Bearer {}", self.key);
        let answer = self.http.send("POST", &self.url, &self.headers(&bearer), body).await?;
        canary::none_in("an MCP answer", &answer.body);
        Ok(answer)
    }

    /// Sends a request and returns what came before its answer, and the answer; `Err` when none came.
    pub async fn try_request(&self, method: &str, params: Value) -> Result<(Vec<Value>, Value), String> {
        let id = json!(self.next.fetch_add(1, Ordering::Relaxed));
        self.try_request_as(id, method, params).await
    }

    /// The same with an id of the test's choice.
    pub async fn try_request_as(&self, id: Value, method: &str, params: Value) -> Result<(Vec<Value>, Value), String> {
        let mut params = params;
        let name = [&params["name"], &params["uri"], &params["taskId"]].into_iter().find_map(Value::as_str);
        let name = name.filter(|_| NAMED.contains(&method)).map(str::to_owned);
        let bearer = format!("Bearer {}", self.key);
        let mut headers = self.headers(&bearer);
        if self.revision == STATELESS {
            params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(STATELESS);
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
            params["_meta"]["io.modelcontextprotocol/clientInfo"] = json!({"name": "tests", "version": "1"});
            headers.push(("mcp-method", method));
            headers.extend(name.iter().map(|name| ("mcp-name", name.as_str())));
        }
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let response = self.http.open("POST", &self.url, &headers, message.to_string()).await?;
        read(response, &id).await
    }

    /// Sends a request that is answered by events, and reads none of them.
    pub async fn begin(&self, method: &str, params: Value) -> Call {
        let id = json!(self.next.fetch_add(1, Ordering::Relaxed));
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let bearer = format!("Bearer {}", self.key);
        let headers = self.headers(&bearer);
        let posting = self.http.open("POST", &self.url, &headers, message.to_string());
        let response = crate::patient("a call is answered", posting).await.unwrap();
        let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
        assert_eq!(kind.as_deref(), Some("text/event-stream"), "{message}");
        Call { id, events: Events::of(response.into_body()) }
    }

    /// Calls a tool that is answered by events.
    pub async fn begin_call(&self, tool: &str, arguments: Value) -> Call {
        self.begin("tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    /// Comes back for what came after an event, of the request with this id; or the status that came instead.
    pub async fn resume(&self, last: &str, id: Value) -> Result<Call, u16> {
        let bearer = format!("Bearer {}", self.key);
        let mut headers = self.headers(&bearer);
        headers.retain(|(name, _)| !matches!(*name, "accept" | "content-type"));
        headers.extend([("accept", "text/event-stream"), ("last-event-id", last)]);
        let response = self.http.open("GET", &self.url, &headers, "").await.unwrap();
        match response.status().as_u16() {
            200 => Ok(Call { id, events: Events::of(response.into_body()) }),
            status => Err(status),
        }
    }

    /// Answers a question.
    pub async fn respond(&self, id: &Value, result: Value) -> Answer {
        self.post(&json!({"jsonrpc": "2.0", "id": id, "result": result})).await.unwrap()
    }

    /// Sends a request and returns its answer, result or error, as a whole message.
    pub async fn request(&self, method: &str, params: Value) -> Value {
        let what = format!("{method} is answered");
        let (_, answer) =
            crate::patient(&what, self.try_request(method, params)).await.unwrap_or_else(|error| panic!("{error}"));
        answer
    }

    /// Calls a tool and returns the whole answer.
    pub async fn call(&self, tool: &str, arguments: Value) -> Value {
        self.request("tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    /// Calls a tool that answers with one text and returns it; panics on an error.
    pub async fn text(&self, tool: &str, arguments: Value) -> String {
        text_of(&self.call(tool, arguments).await)
    }

    /// The names of all tools, page by page.
    pub async fn tools(&self) -> Vec<String> {
        self.list("tools/list", "tools", "name").await
    }

    /// One field of every element of a list, page by page.
    pub async fn list(&self, method: &str, list: &str, field: &str) -> Vec<String> {
        let mut names = Vec::new();
        let mut params = json!({});
        loop {
            let answer = self.request(method, params.clone()).await;
            let page = answer["result"][list].as_array().unwrap_or_else(|| panic!("{method}: {answer}")).clone();
            names.extend(page.iter().map(|one| one[field].as_str().unwrap_or_default().to_owned()));
            match answer["result"].get("nextCursor") {
                Some(cursor) => params = json!({"cursor": cursor}),
                None => return names,
            }
        }
    }

    /// Sends a notification.
    pub async fn notify(&self, method: &str, params: Value) -> Answer {
        self.post(&json!({"jsonrpc": "2.0", "method": method, "params": params})).await.unwrap()
    }

    /// Opens the GET stream.
    pub async fn listen(&self) -> Listening {
        self.try_listen().await.unwrap_or_else(|status| panic!("GET of {}: {status}", self.url))
    }

    /// Opens the GET stream, or returns the status that came instead.
    pub async fn try_listen(&self) -> Result<Listening, u16> {
        let bearer = format!("Bearer {}", self.key);
        let mut headers = self.headers(&bearer);
        headers.retain(|(name, _)| !matches!(*name, "accept" | "content-type"));
        headers.push(("accept", "text/event-stream"));
        let response = self.http.open("GET", &self.url, &headers, "").await.unwrap();
        match response.status().as_u16() {
            200 => Ok(Listening(Events::of(response.into_body()))),
            status => Err(status),
        }
    }

    /// Ends the session.
    pub async fn delete(&self) -> Answer {
        let bearer = format!("Bearer {}", self.key);
        self.http.send("DELETE", &self.url, &self.headers(&bearer), "").await.unwrap()
    }

    /// The same session at another URL, as a balancer would lead it there.
    pub fn at(&self, url: &str) -> Self {
        Self {
            http: Http::default(),
            url: url.to_owned(),
            key: self.key.clone(),
            session: self.session.clone(),
            revision: self.revision.clone(),
            next: AtomicU64::new(1_000_000 + self.next.fetch_add(1_000, Ordering::Relaxed)),
            server: self.server.clone(),
        }
    }

    /// The same session id in the hands of another key.
    pub fn stolen_by(&self, key: &str) -> Self {
        Self {
            http: Http::default(),
            url: self.url.clone(),
            key: key.to_owned(),
            session: self.session.clone(),
            revision: self.revision.clone(),
            next: AtomicU64::new(1_000_000),
            server: Value::Null,
        }
    }
}

/// The text of a tool's answer; panics on an error.
pub fn text_of(answer: &Value) -> String {
    assert_ne!(answer["result"]["isError"], true, "{answer}");
    answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text in {answer}")).to_owned()
}

/// The code of an error answer; panics when it is a result.
pub fn code_of(answer: &Value) -> i64 {
    answer["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error: {answer}"))
}

/// Reads a JSON or SSE answer up to the message with this id.
async fn read(response: http::Response<hyper::body::Incoming>, id: &Value) -> Result<(Vec<Value>, Value), String> {
    use http_body_util::BodyExt as _;
    let status = response.status();
    let sse =
        response.headers().get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    canary::none_in("the head of an MCP answer", format!("{:?}", response.headers()).as_bytes());
    if !sse {
        let body = response.into_body().collect().await.map_err(|error| format!("body: {error:?}"))?.to_bytes();
        canary::none_in("an MCP answer", &body);
        let message = serde_json::from_slice(&body)
            .map_err(|_| format!("{status}, no JSON: {}", String::from_utf8_lossy(&body)))?;
        return Ok((Vec::new(), message));
    }
    let mut events = Events::of(response.into_body());
    let mut before = Vec::new();
    while let Some(event) = events.next().await {
        canary::none_in("an event of an MCP answer", event.data.as_bytes());
        let message: Value = serde_json::from_str(&event.data).map_err(|_| format!("no JSON: {}", event.data))?;
        if message["id"] == *id && message.get("method").is_none() {
            return Ok((before, message));
        }
        before.push(message);
    }
    Err(format!("{status}: the stream ended without an answer to {id}; before it came {before:?}"))
}
