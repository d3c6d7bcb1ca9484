//! A client of HTTP+SSE (2024-11-05), as raw as can be.

use serde_json::{Value, json};

use crate::sse::Events;
use crate::{Answer, Http, canary, patient};

/// A stream, and the URL to post to.
pub struct SseSession {
    /// The connections of the client.
    pub http: Http,
    key: String,
    events: Events,
    /// Where to post.
    pub posts: String,
}

impl SseSession {
    /// Opens the stream at a path below `base`.
    pub async fn open(base: &str, path: &str, key: &str) -> Self {
        let (http, bearer) = (Http::default(), format!("Bearer {key}"));
        let headers = [("authorization", bearer.as_str()), ("accept", "text/event-stream")];
        let response = http.open("GET", &format!("{base}{path}"), &headers, "").await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut events = Events::of(response.into_body());
        let endpoint = patient("the endpoint comes", events.next()).await.unwrap();
        assert_eq!(endpoint.name, "endpoint");
        assert!(endpoint.data.starts_with('/'), "{}", endpoint.data);
        let posts = format!("{base}{}", endpoint.data);
        Self { http, key: key.to_owned(), events, posts }
    }

    /// The same with a session, of a client with these capabilities.
    pub async fn begin(base: &str, path: &str, key: &str, capabilities: Value) -> Self {
        let mut session = Self::open(base, path, key).await;
        session.post(&hello(capabilities)).await.expect(202);
        let hello = session.answer(0).await;
        assert_eq!(hello["result"]["protocolVersion"], "2024-11-05", "{hello}");
        session.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await.expect(202);
        session
    }

    /// Posts a message.
    pub async fn post(&self, message: &Value) -> Answer {
        self.post_as(&self.key, message).await
    }

    /// The same with another key.
    pub async fn post_as(&self, key: &str, message: &Value) -> Answer {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        self.http.send("POST", &self.posts, &headers, message.to_string()).await.unwrap()
    }

    /// The next message; `None` when the stream has ended.
    pub async fn next(&mut self) -> Option<Value> {
        let event = patient("an event comes", self.events.next()).await?;
        canary::none_in("an MCP event", event.data.as_bytes());
        assert_eq!((event.name.as_str(), event.id.as_str()), ("message", ""));
        Some(serde_json::from_str(&event.data).unwrap())
    }

    /// Reads on until the answer to this request.
    pub async fn answer(&mut self, id: u64) -> Value {
        loop {
            let message = self.next().await.expect("the stream goes on");
            if message["id"] == id && message["method"].is_null() {
                return message;
            }
        }
    }

    /// Reads on until a message of this method.
    pub async fn until(&mut self, method: &str) -> Value {
        loop {
            let message = self.next().await.expect("the stream goes on");
            if message["method"] == method {
                return message;
            }
        }
    }
}

/// The request that begins a session.
pub fn hello(capabilities: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2024-11-05", "capabilities": capabilities, "clientInfo": {"name": "tests", "version": "1"}}})
}
