//! An MCP server in this process that counts, echoes, waits and misbehaves as the test tells it.
//!
//! `/mcp` speaks Streamable HTTP, `/sse` with `/message` the transport of 2024-11-05; any prefix before
//! them is ignored, so one upstream can stand for many. Tools: `echo {text}`, `slow {text}` (answers when
//! the test opens the gate), `progress {text, steps}`, `bad {how, text}`, `fail {text}`, and those that
//! the test adds, which echo too, but for `told {…}`: it answers with its session and all arguments, and
//! `link {text}`: it answers with a link to that resource, and with one that comes along; `ask {…}`, which asks its client
//! in between (see `asking`); and `paced {text}`, which says something, waits for the gate, says something again and answers.

use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use http::HeaderMap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{Behaviour, Guard};

mod asking;
pub(crate) mod body;
mod legacy;
mod misbehave;
mod stateless;
mod streamable;
mod tools;

/// A running upstream; ends with its connections when it is dropped.
pub struct Upstream {
    address: SocketAddr,
    state: Arc<State>,
    ended: CancellationToken,
    hung_up: Arc<Mutex<CancellationToken>>,
}

/// What the connections of an upstream share.
pub(crate) struct State {
    pub(crate) name: String,
    pub(crate) guard: Option<Guard>,
    pub(crate) seen: Mutex<Seen>,
    pub(crate) script: Mutex<Script>,
    pub(crate) gate: watch::Sender<bool>,
}

/// What the upstream was sent.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) calls: HashMap<String, u32>,
    pub(crate) messages: Vec<Value>,
    pub(crate) headers: Vec<HeaderMap>,
    pub(crate) connections: u32,
    pub(crate) open_connections: u32,
    pub(crate) deletes: u32,
    pub(crate) sessions: BTreeSet<String>,
    pub(crate) minted: u32,
    /// States that were given without a session and did not come back yet.
    pub(crate) states: BTreeSet<String>,
    /// Streams of `slow` and `mute` without a session that were closed before their answer.
    pub(crate) hung_up: u32,
}

/// What the upstream was told by the test.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) always: Option<Behaviour>,
    /// What the next so many requests of a method meet.
    pub(crate) ahead: HashMap<String, (u32, Behaviour)>,
    /// The hint that a tool carries, e.g. `readOnlyHint`.
    pub(crate) hints: HashMap<String, &'static str>,
    /// The header that repeats a tool's `text`.
    pub(crate) headers: HashMap<String, &'static str>,
    /// Resources may be subscribed to.
    pub(crate) subscribable: bool,
    /// It opens no sessions.
    pub(crate) no_sessions: bool,
    /// It answers without sessions.
    pub(crate) stateless: bool,
    /// The header that repeats the argument of `region` without a session.
    pub(crate) region: String,
    pub(crate) as_events: bool,
    pub(crate) extra_tools: Vec<String>,
    pub(crate) extra_resources: Vec<String>,
    /// It keeps tasks of 2025-11-25.
    pub(crate) tasks: bool,
    pub(crate) listeners: Vec<mpsc::Sender<Value>>,
    pub(crate) legacy: HashMap<String, mpsc::Sender<Value>>,
    /// The last GET stream of each session.
    pub(crate) streams: HashMap<String, mpsc::Sender<Value>>,
    /// What was asked of the client of a session, by the id it has there.
    pub(crate) asked: HashMap<(String, u64), oneshot::Sender<Value>>,
    /// How many questions each session was asked.
    pub(crate) questions: HashMap<String, u64>,
}

impl Upstream {
    /// Starts on a free port of 127.0.0.1.
    pub async fn start() -> Self {
        Self::named("upstream").await
    }

    /// The same; `name` is what it answers about itself and what `echo` puts before the text.
    pub async fn named(name: &str) -> Self {
        Self::on(Ipv4Addr::LOCALHOST, name).await
    }

    /// The same behind a guard, with a tool `whoami`.
    pub async fn guarded(name: &str, guard: &Guard) -> Self {
        Self::serve(Ipv4Addr::LOCALHOST, name, Some(guard.clone())).await
    }

    /// The same on another address of this machine.
    pub async fn on(ip: Ipv4Addr, name: &str) -> Self {
        Self::serve(ip, name, None).await
    }

    async fn serve(ip: Ipv4Addr, name: &str, guard: Option<Guard>) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(State {
            name: name.to_owned(),
            guard,
            seen: Mutex::default(),
            script: Mutex::default(),
            gate: watch::Sender::new(false),
        });
        let ended = CancellationToken::new();
        let hung_up = Arc::new(Mutex::new(ended.child_token()));
        tokio::spawn(serve(listener, state.clone(), ended.clone(), hung_up.clone()));
        Self { address, state, ended, hung_up }
    }

    /// The Streamable HTTP URL.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// The HTTP+SSE URL.
    pub fn sse_url(&self) -> String {
        format!("http://{}/sse", self.address)
    }

    /// Misbehaves on every request from now on, `None` for well.
    pub fn always(&self, behaviour: Option<Behaviour>) {
        self.state.script.lock().unwrap().always = behaviour;
    }

    /// Misbehaves on the next so many requests of this method, then behaves again.
    pub fn misbehave_next(&self, method: &str, times: u32, behaviour: Behaviour) {
        self.state.script.lock().unwrap().ahead.insert(method.to_owned(), (times, behaviour));
    }

    /// Lists a tool with a hint, e.g. `readOnlyHint`.
    pub fn hint(&self, tool: &str, hint: &'static str) {
        self.state.script.lock().unwrap().hints.insert(tool.to_owned(), hint);
    }

    /// Lists a tool whose `text` is repeated in this header (`x-mcp-header`).
    pub fn annotate(&self, tool: &str, header: &'static str) {
        self.state.script.lock().unwrap().headers.insert(tool.to_owned(), header);
    }

    /// Takes subscriptions to resources from now on.
    pub fn allow_subscriptions(&self) {
        self.state.script.lock().unwrap().subscribable = true;
    }

    /// Tells every listener something.
    pub fn tell(&self, method: &str, params: Value) {
        self.state.say(&serde_json::json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    /// Speaks with sessions, without them, or both, from now on, as a restart with another program would.
    pub fn speak(&self, sessions: bool, stateless: bool) {
        {
            let mut script = self.state.script.lock().unwrap();
            (script.no_sessions, script.stateless) = (!sessions, stateless);
            if script.region.is_empty() {
                script.region = "region".to_owned();
            }
        }
        self.forget_sessions();
        self.hang_up();
    }

    /// Wants the argument of `region` repeated in another header from now on.
    pub fn rename_region(&self, header: &str) {
        self.state.script.lock().unwrap().region = header.to_owned();
    }

    /// How many streams of `slow` and `mute` were closed before their answer, without a session.
    pub fn hung_up(&self) -> u32 {
        self.state.seen.lock().unwrap().hung_up
    }

    /// Answers requests with event streams instead of JSON.
    pub fn answer_as_events(&self) {
        self.state.script.lock().unwrap().as_events = true;
    }

    /// Offers one more tool and tells every listener.
    pub fn add_tool(&self, name: &str) {
        self.state.script.lock().unwrap().extra_tools.push(name.to_owned());
        self.state.tell("notifications/tools/list_changed");
    }

    /// Offers one more resource.
    pub fn add_resource(&self, uri: &str) {
        self.state.script.lock().unwrap().extra_resources.push(uri.to_owned());
    }

    /// Keeps a task for each call that asks for one; its id is `task`.
    pub fn keep_tasks(&self) {
        self.state.script.lock().unwrap().tasks = true;
    }

    /// Lets every `slow` call finish, now and later.
    pub fn open_gate(&self) {
        self.state.gate.send_replace(true);
    }

    /// Makes `slow` calls wait again.
    pub fn close_gate(&self) {
        self.state.gate.send_replace(false);
    }

    /// Forgets every session, as a restart would.
    pub fn forget_sessions(&self) {
        self.state.seen.lock().unwrap().sessions.clear();
    }

    /// How many calls came with this text.
    pub fn calls(&self, text: &str) -> u32 {
        self.state.seen.lock().unwrap().calls.get(text).copied().unwrap_or(0)
    }

    /// The texts that were called more than once.
    pub fn repeated(&self) -> Vec<String> {
        let seen = self.state.seen.lock().unwrap();
        seen.calls.iter().filter(|(_, count)| **count > 1).map(|(text, _)| text.clone()).collect()
    }

    /// Every message of this method, in order.
    pub fn messages(&self, method: &str) -> Vec<Value> {
        let seen = self.state.seen.lock().unwrap();
        seen.messages.iter().filter(|message| message["method"] == method).cloned().collect()
    }

    /// The headers of every request, in order.
    pub fn headers(&self) -> Vec<HeaderMap> {
        self.state.seen.lock().unwrap().headers.clone()
    }

    /// How many sessions were opened and neither ended nor forgotten.
    pub fn sessions(&self) -> usize {
        self.state.seen.lock().unwrap().sessions.len()
    }

    /// How many DELETE requests came.
    pub fn deletes(&self) -> u32 {
        self.state.seen.lock().unwrap().deletes
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> u32 {
        self.state.seen.lock().unwrap().open_connections
    }

    /// Closes every connection and goes on listening.
    pub fn hang_up(&self) {
        let mut hung_up = self.hung_up.lock().unwrap();
        std::mem::replace(&mut *hung_up, self.ended.child_token()).cancel();
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> u32 {
        self.state.seen.lock().unwrap().connections
    }

    /// How many questions wait for an answer.
    pub fn asked(&self) -> usize {
        let mut script = self.state.script.lock().unwrap();
        script.asked.retain(|_, asked| !asked.is_closed());
        script.asked.len()
    }

    /// How many GET streams are open.
    pub fn listeners(&self) -> usize {
        let mut script = self.state.script.lock().unwrap();
        script.listeners.retain(|listener| !listener.is_closed());
        script.listeners.len()
    }

    /// Stops listening and closes every connection.
    pub fn end(&self) {
        self.ended.cancel();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

impl State {
    /// What the next request of this method meets, if the test said so.
    pub(crate) fn ahead(&self, method: &str) -> Option<Behaviour> {
        let mut script = self.script.lock().unwrap();
        let (times, behaviour) = script.ahead.get_mut(method)?;
        *times = times.checked_sub(1)?;
        Some(*behaviour)
    }

    /// Sends a notification to every open GET stream and legacy stream.
    pub(crate) fn tell(&self, method: &str) {
        self.say(&serde_json::json!({"jsonrpc": "2.0", "method": method}));
    }

    /// Sends a message to all of them.
    pub(crate) fn say(&self, message: &Value) {
        let mut script = self.script.lock().unwrap();
        script.listeners.retain(|listener| listener.try_send(message.clone()).is_ok());
        script.legacy.retain(|_, stream| stream.try_send(message.clone()).is_ok());
    }
}

async fn serve(
    listener: TcpListener,
    state: Arc<State>,
    ended: CancellationToken,
    hung_up: Arc<Mutex<CancellationToken>>,
) {
    loop {
        let accepted = tokio::select! {
            () = ended.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else { continue };
        {
            let mut seen = state.seen.lock().unwrap();
            seen.connections += 1;
            seen.open_connections += 1;
        }
        let (state, over) = (state.clone(), hung_up.lock().unwrap().clone());
        tokio::spawn(async move {
            let service = service_fn(|request| streamable::route(state.clone(), request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                () = over.cancelled() => (),
                _ = connection => (),
            }
            state.seen.lock().unwrap().open_connections -= 1;
        });
    }
}
