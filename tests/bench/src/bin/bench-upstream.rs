//! A cheap MCP upstream: Streamable HTTP of 2025-11-25, and of 2026-07-28 if told so; answers put together from ready bytes.
//!
//! One process plays any number of upstreams, one per port, and counts what it is asked at
//! `GET /counters`. Sessions are handed out and not checked.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Plays upstreams on free ports of 127.0.0.1.
#[derive(Parser)]
struct Args {
    /// How many upstreams to play.
    #[arg(long, default_value_t = 1)]
    ports: usize,
    /// A file with a list of tools for each upstream: as many are played as it has lists, and one more, `whole`, which has
    /// the tools of all, by 1,000 to a page.
    #[arg(long)]
    offers: Option<PathBuf>,
    /// Answer requests of the stateless era too.
    #[arg(long)]
    stateless: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    bench::end_with_the_driver();
    let (lists, whole) = match &args.offers {
        None => (vec![Tools::filled(); args.ports], None),
        Some(file) => read_offers(&std::fs::read_to_string(file)?)?,
    };
    let upstream = Arc::new(Upstream::new(args.stateless));
    let mut addresses = Vec::new();
    for tools in lists.into_iter().chain(whole.clone()) {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        addresses.push(listener.local_addr()?.to_string());
        tokio::spawn(listen(listener, Arc::clone(&upstream), Arc::new(tools)));
    }
    let whole = whole.and_then(|_| addresses.pop());
    bench::announce(&serde_json::json!({ "addresses": addresses, "whole": whole }))?;
    std::future::pending().await
}

/// The tools of one upstream, page by page, each with commas between its tools.
#[derive(Clone)]
struct Tools(Vec<Bytes>);

impl Tools {
    /// The tools that the works call, and filler.
    fn filled() -> Self {
        let tools: Vec<String> = (0..TOOLS).map(tool).collect();
        Self(vec![Bytes::from(tools.join(","))])
    }

    fn of(tools: &[&RawValue]) -> Self {
        let page = |tools: &[&RawValue]| {
            let tools: Vec<&str> = tools.iter().map(|tool| tool.get()).collect();
            Bytes::from(tools.join(","))
        };
        Self(tools.chunks(PAGE).map(page).collect())
    }

    /// The page that a cursor names, which is its number, and what follows it in the result.
    fn page(&self, cursor: Option<&str>) -> Option<(Bytes, String)> {
        let at: usize = cursor.map_or(Some(0), |cursor| cursor.parse().ok())?;
        let page = self.0.get(at)?.clone();
        let more = at + 1 < self.0.len();
        Some((page, if more { format!(r#"],"nextCursor":"{}"}}"#, at + 1) } else { "]}".to_owned() }))
    }
}

/// The lists of a file, and all in one.
fn read_offers(file: &str) -> Result<(Vec<Tools>, Option<Tools>), serde_json::Error> {
    let offers: Vec<Vec<&RawValue>> = serde_json::from_str(file)?;
    let all: Vec<&RawValue> = offers.iter().flatten().copied().collect();
    Ok((offers.iter().map(|tools| Tools::of(tools)).collect(), Some(Tools::of(&all))))
}

async fn listen(listener: TcpListener, upstream: Arc<Upstream>, tools: Arc<Tools>) {
    while let Ok((stream, _)) = listener.accept().await {
        // Without it an answer waits for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        let (upstream, tools) = (Arc::clone(&upstream), Arc::clone(&tools));
        tokio::spawn(async move {
            let service = service_fn(|request| upstream.answer(&tools, request));
            // A caller that goes away in the middle is no news here.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// The largest text of `big`.
const BIG_MAX: usize = 4 << 20;
/// Tools in the list, filler included.
const TOOLS: usize = 20;
/// Tools of one page.
const PAGE: usize = 1000;

struct Upstream {
    /// Whether requests of the stateless era are answered.
    stateless: bool,
    filler: Bytes,
    sessions: AtomicU64,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    initialize: AtomicU64,
    notification: AtomicU64,
    ping: AtomicU64,
    list: AtomicU64,
    call: AtomicU64,
    get: AtomicU64,
    delete: AtomicU64,
    other: AtomicU64,
    /// Messages that carried the header which the gate injects.
    injected: AtomicU64,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: Option<&'a str>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Call<'a> {
    name: &'a str,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, rename = "_meta")]
    meta: Option<Meta<'a>>,
}

#[derive(Default, Deserialize)]
struct Page<'a> {
    cursor: Option<&'a str>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow, rename = "progressToken")]
    progress_token: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Echo<'a> {
    #[serde(borrow)]
    text: &'a RawValue,
}

#[derive(Deserialize)]
struct Big<'a> {
    bytes: usize,
    tag: &'a str,
}

#[derive(Deserialize)]
struct Ticks {
    n: u32,
    gap_us: u64,
}

impl Upstream {
    fn new(stateless: bool) -> Self {
        Self {
            stateless,
            filler: Bytes::from(vec![b'x'; BIG_MAX]),
            sessions: AtomicU64::new(1),
            counters: Counters::default(),
        }
    }

    async fn answer(
        self: &Arc<Self>,
        tools: &Tools,
        request: Request<Incoming>,
    ) -> Result<Response<Answer>, Infallible> {
        let counters = &self.counters;
        if request.method() == Method::GET {
            if request.uri().path() == "/counters" {
                return Ok(json(VecDeque::from([Bytes::from(counters.report())])));
            }
            count(&counters.get);
            let mut refusal = status(StatusCode::METHOD_NOT_ALLOWED);
            refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, DELETE"));
            return Ok(refusal);
        }
        if request.method() == Method::DELETE {
            count(&counters.delete);
            return Ok(status(StatusCode::OK));
        }
        if request.headers().contains_key("x-bench-injected") {
            count(&counters.injected);
        }
        let era = if request.headers().get("mcp-protocol-version").is_some_and(|version| version == STATELESS) {
            Era::Stateless
        } else {
            Era::Session
        };
        if era == Era::Stateless && !self.stateless {
            let mut refusal = error("null", -32000, "Bad Request: Server not initialized");
            *refusal.status_mut() = StatusCode::BAD_REQUEST;
            return Ok(refusal);
        }
        let Ok(body) = request.into_body().collect().await else {
            return Ok(status(StatusCode::BAD_REQUEST));
        };
        let body = body.to_bytes();
        let Ok(message) = serde_json::from_slice::<Message<'_>>(&body) else {
            return Ok(status(StatusCode::BAD_REQUEST));
        };
        let (Some(id), Some(method)) = (message.id.map(RawValue::get), message.method) else {
            count(&counters.notification);
            return Ok(status(StatusCode::ACCEPTED));
        };
        Ok(match method {
            "initialize" => {
                count(&counters.initialize);
                let mut answer = result(id, INITIALIZED.into(), Bytes::new(), "}");
                let session = format!("up-{:016x}", self.sessions.fetch_add(1, Ordering::Relaxed));
                if let Ok(session) = HeaderValue::from_str(&session) {
                    answer.headers_mut().insert("mcp-session-id", session);
                }
                answer
            }
            "ping" => {
                count(&counters.ping);
                result(id, "{".into(), Bytes::new(), "}")
            }
            "server/discover" if era == Era::Stateless => result(id, DISCOVERED.into(), Bytes::new(), "}"),
            "tools/list" => {
                count(&counters.list);
                let params = message.params.map(RawValue::get).unwrap_or("{}");
                let page = serde_json::from_str::<Page<'_>>(params).ok().and_then(|page| tools.page(page.cursor));
                match page {
                    Some((page, after)) => result(id, era.listing().into(), page, &after),
                    None => error(id, -32602, "no such page"),
                }
            }
            "tools/call" => {
                count(&counters.call);
                let params = message.params.map(RawValue::get).unwrap_or_default();
                match serde_json::from_str::<Call<'_>>(params) {
                    Ok(call) => self.call(id, era, &call),
                    Err(_) => error(id, -32602, "no tool named"),
                }
            }
            _ => {
                count(&counters.other);
                error(id, -32601, "method not found")
            }
        })
    }

    fn call(self: &Arc<Self>, id: &str, era: Era, call: &Call<'_>) -> Response<Answer> {
        let content = era.content();
        let arguments = call.arguments.map(RawValue::get).unwrap_or("{}");
        match call.name {
            "echo" | "hidden" => match serde_json::from_str::<Echo<'_>>(arguments) {
                Ok(Echo { text }) => result(id, content.into(), Bytes::copy_from_slice(text.get().as_bytes()), "}]}"),
                Err(_) => error(id, -32602, "text is missing"),
            },
            "sse" => match serde_json::from_str::<Echo<'_>>(arguments) {
                Ok(Echo { text }) => {
                    let event = format!("event: message\r\ndata: {}\r\n\r\n", echoed(id, era, text.get()));
                    events(Answer::Events(VecDeque::from([Bytes::from(event)])))
                }
                Err(_) => error(id, -32602, "text is missing"),
            },
            "big" => match serde_json::from_str::<Big<'_>>(arguments) {
                Ok(Big { bytes, tag }) if bytes <= BIG_MAX && tag.len() <= bytes => {
                    let filler = self.filler.slice(..bytes - tag.len());
                    result(id, format!("{content}\"{tag}"), filler, "\"}]}")
                }
                _ => error(id, -32602, "bytes and tag are missing, or too many"),
            },
            "ticks" => {
                let token = call.meta.as_ref().and_then(|meta| meta.progress_token).map(RawValue::get);
                match (serde_json::from_str::<Ticks>(arguments), token) {
                    (Ok(ticks), Some(token)) => tick(ticks, token.to_owned(), echoed(id, era, "\"done\"")),
                    _ => error(id, -32602, "n, gap_us or _meta.progressToken is missing"),
                }
            }
            _ => error(id, -32602, "unknown tool"),
        }
    }
}

impl Counters {
    fn report(&self) -> String {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        serde_json::json!({
            "initialize": read(&self.initialize), "notification": read(&self.notification),
            "ping": read(&self.ping), "list": read(&self.list), "call": read(&self.call),
            "get": read(&self.get), "delete": read(&self.delete), "other": read(&self.other), "injected": read(&self.injected),
        })
        .to_string()
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

const INITIALIZED: &str = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"bench-upstream","version":"1"}"#;
const DISCOVERED: &str = r#"{"resultType":"complete","supportedVersions":["2026-07-28","2025-11-25"],"capabilities":{"tools":{}},"ttlMs":60000,"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"bench-upstream","version":"1"}}"#;

/// The revision without sessions.
const STATELESS: &str = "2026-07-28";

/// How a request came, and so how its result begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Era {
    Session,
    Stateless,
}

impl Era {
    fn content(self) -> &'static str {
        match self {
            Self::Session => r#"{"content":[{"type":"text","text":"#,
            Self::Stateless => r#"{"resultType":"complete","content":[{"type":"text","text":"#,
        }
    }

    fn listing(self) -> &'static str {
        match self {
            Self::Session => r#"{"tools":["#,
            Self::Stateless => r#"{"resultType":"complete","ttlMs":60000,"cacheScope":"public","tools":["#,
        }
    }
}

/// One tool of about 600 bytes. The first four work, the others only fill the list.
fn tool(at: usize) -> String {
    let name = match at {
        0 => "echo".to_owned(),
        1 => "big".to_owned(),
        2 => "sse".to_owned(),
        3 => "ticks".to_owned(),
        _ => format!("filler-{at:02}"),
    };
    format!(
        r#"{{"name":"{name}","title":"Tool number {at}","description":"{}","inputSchema":{{"type":"object","properties":{{"text":{{"type":"string","description":"The text that is given back as it came."}},"bytes":{{"type":"integer","minimum":0,"description":"How long the answer shall be."}}}},"additionalProperties":true}},"annotations":{{"readOnlyHint":false,"openWorldHint":true}}}}"#,
        "Does what its name says, and says it at the length that descriptions of real tools have. "
            .repeat(2)
            .trim_end(),
    )
}

/// An answer that is sent as it is ready.
enum Answer {
    /// Known in whole: sent with its length.
    Whole(VecDeque<Bytes>),
    /// An event stream whose events are ready: sent in chunks.
    Events(VecDeque<Bytes>),
    /// An event stream whose events come one by one.
    Live(mpsc::Receiver<Bytes>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(parts) | Self::Events(parts) => {
                Poll::Ready(parts.pop_front().map(|part| Ok(Frame::data(part))))
            }
            Self::Live(events) => events.poll_recv(cx).map(|event| event.map(|event| Ok(Frame::data(event)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(parts) | Self::Events(parts) if parts.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(parts) => SizeHint::with_exact(parts.iter().map(|part| part.len() as u64).sum()),
            Self::Events(_) | Self::Live(_) => SizeHint::default(),
        }
    }
}

fn echoed(id: &str, era: Era, text: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{}{text}}}]}}}}"#, era.content())
}

/// A result of which the middle is not copied when it is long.
fn result(id: &str, before: String, middle: Bytes, after: &str) -> Response<Answer> {
    let head = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{before}"#);
    if middle.len() > 4096 {
        return json(VecDeque::from([Bytes::from(head), middle, Bytes::from(format!("{after}}}"))]));
    }
    let mut whole = head.into_bytes();
    whole.extend_from_slice(&middle);
    whole.extend_from_slice(after.as_bytes());
    whole.push(b'}');
    json(VecDeque::from([Bytes::from(whole)]))
}

fn error(id: &str, code: i32, message: &str) -> Response<Answer> {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"{message}"}}}}"#);
    json(VecDeque::from([Bytes::from(body)]))
}

fn json(parts: VecDeque<Bytes>) -> Response<Answer> {
    let mut answer = Response::new(Answer::Whole(parts));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn events(answer: Answer) -> Response<Answer> {
    let mut answer = Response::new(answer);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer
}

fn status(status: StatusCode) -> Response<Answer> {
    let mut answer = Response::new(Answer::Whole(VecDeque::new()));
    *answer.status_mut() = status;
    answer
}

/// Progress events, each with the moment of its making in `message`, then the result.
fn tick(ticks: Ticks, token: String, last: String) -> Response<Answer> {
    let (send, receive) = mpsc::channel(16);
    tokio::spawn(async move {
        let mut due = tokio::time::Instant::now();
        for at in 1..=ticks.n {
            due += Duration::from_micros(ticks.gap_us);
            tokio::time::sleep_until(due).await;
            let event = format!(
                "event: message\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{{\"progressToken\":{token},\"progress\":{at},\"message\":\"{}\"}}}}\n\n",
                bench::now_ns(),
            );
            if send.send(Bytes::from(event)).await.is_err() {
                return;
            }
        }
        // A caller that left needs no result.
        let _ = send.send(Bytes::from(format!("event: message\ndata: {last}\n\n"))).await;
    });
    events(Answer::Live(receive))
}
