//! Gatehouse's data plane on a fixed table: what `gatehouse-proxy` serves, without link and files.
//!
//! One tenant with generous limits, servers `s0`, `s1` and so on with one injected header and one
//! disabled tool each, `forbidden` outside the key's list, one client key. With `--count` every
//! allocation is counted and can be read at the port `counters`.
#![allow(unsafe_code, reason = "GlobalAlloc is an unsafe trait; every method only hands on to the system's allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use egress::{Egress, Policy};
use model::{
    Binding, ConnectionId, ConnectionSpec, ConnectionStatus, Generation, Holder, KeyRole, KeyText, KeyVerifier, Limits,
    Resource, Scope, Secret, ServerId, ServerSpec, SystemClock, TenantId, TenantSpec, Transport, UpstreamUrl,
};
use proxy::{Change, Gate, Hosts, Readiness, Sealer, Tables, serve};
use telemetry::Metrics;
use tokio::net::TcpSocket;
use tokio_util::sync::CancellationToken;
use wire::{HeaderLines, ResolveQuestion, Resolved, Verdict};

/// Serves a fixed table.
#[derive(Parser)]
struct Args {
    /// The upstreams of `s0`, `s1` and so on; servers beyond them are on a closed port.
    #[arg(long)]
    upstream: Vec<SocketAddr>,
    /// How many servers to mount.
    #[arg(long, default_value_t = 1)]
    mounts: usize,
    /// Mount `dead` too, on a closed port.
    #[arg(long)]
    dead: bool,
    /// Count allocations.
    #[arg(long)]
    count: bool,
    /// Let each server take a credential of a connection that everybody shares.
    #[arg(long)]
    bound: bool,
}

struct Counting;

static ON: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
static FREED: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn came(bytes: usize) {
    if ON.load(Ordering::Relaxed) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

fn went(bytes: usize) {
    if ON.load(Ordering::Relaxed) {
        FREED.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

// SAFETY: every method passes its arguments on to `System` unchanged and returns what it returns.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        came(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        came(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        went(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        went(layout.size());
        came(size);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(block, layout, size) }
    }
}

/// Answers anyone who connects to the port `counters` with what was counted.
fn serve_counters(listener: TcpListener) {
    for mut stream in listener.incoming().flatten() {
        // One request is one read here: it comes from the driver, in one small packet.
        let _ = stream.read(&mut [0; 1024]);
        let bytes = BYTES.load(Ordering::Relaxed);
        let body = format!(
            r#"{{"allocations":{},"bytes":{bytes},"live":{}}}"#,
            ALLOCATIONS.load(Ordering::Relaxed),
            bytes.saturating_sub(FREED.load(Ordering::Relaxed)),
        );
        // A driver that is gone needs no figures.
        let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    }
}

/// A port that refuses: taken, so that nobody else listens there, but not listened on.
fn closed_port() -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    Ok(socket)
}

fn server(tenant: TenantId, name: &str, upstream: SocketAddr) -> Result<ServerSpec, Box<dyn std::error::Error>> {
    Ok(ServerSpec {
        id: ServerId::fresh(),
        tenant,
        name: name.parse()?,
        title: name.to_owned(),
        generation: Generation(1),
        transport: Transport::StreamableHttp,
        url: UpstreamUrl::parse(&format!("http://{upstream}/mcp"))?,
        headers: vec![("x-bench-injected".to_owned(), "one public header".to_owned())],
        connect_timeout: Duration::from_secs(10),
        read_timeout: Duration::from_secs(30),
        disabled_tools: vec!["hidden".to_owned()],
        trust_hints: false,
        retry_count: 0,
        retry_delay: Duration::from_secs(1),
        limits: model::ServerLimits::default(),
        binding: None,
        eras: model::Eras::default(),
    })
}

/// Servers that the key may use; more would be no list that a person writes.
const LISTED: usize = 100;

fn table(args: &Args, key: &KeyText, closed: SocketAddr) -> Result<Vec<Resource>, Box<dyn std::error::Error>> {
    let tenant = TenantSpec {
        id: TenantId::fresh(),
        name: "bench".parse()?,
        limits: Limits::generous(),
        stale_after: Some(model::TenantSpec::STALE_AFTER),
        authorization_server: false,
    };
    let upstream = |at: usize| args.upstream.get(at).copied().unwrap_or(closed);
    let mut servers = Vec::with_capacity(args.mounts + 2);
    for at in 0..args.mounts {
        servers.push(server(tenant.id, &format!("s{at}"), upstream(at))?);
    }
    let mut listed: Vec<String> = servers.iter().take(LISTED).map(|server| server.name.to_string()).collect();
    if args.dead {
        servers.push(server(tenant.id, "dead", closed)?);
        listed.push("dead".to_owned());
    }
    servers.push(server(tenant.id, "forbidden", upstream(0))?);
    let verifier = KeyVerifier {
        id: key.id(),
        tenant: tenant.id,
        user: None,
        role: KeyRole::User,
        scopes: model::KeyScopes::PLAIN,
        sha256: key.sha256(),
        servers: Some(listed),
        expires_at: None,
    };
    let mut resources = vec![Resource::Tenant(tenant), Resource::Key(verifier)];
    if args.bound {
        for server in &mut servers {
            server.binding = Some(Binding { scopes: vec![Scope::Global], ..Binding::default() });
            resources.push(Resource::Connection(ConnectionSpec {
                id: ConnectionId::fresh(),
                tenant: server.tenant,
                server: server.id,
                holder: Holder::Global,
                department: None,
                status: ConnectionStatus::Active,
                credential_version: 1,
                token_generation: 1,
            }));
        }
    }
    resources.extend(servers.into_iter().map(Resource::Server));
    Ok(resources)
}

/// Stands for control: whatever it is asked about becomes the same bearer token.
struct OneToken;

impl proxy::Control for OneToken {
    fn node(&self) -> String {
        "default/bench".to_owned()
    }

    fn resolve(&self, _: ResolveQuestion) -> Promise<'_, Resolved> {
        Box::pin(async {
            Ok(Resolved::Lines(HeaderLines {
                credential_version: 1,
                token_generation: 1,
                headers: vec![("authorization".to_owned(), Secret::new(format!("Bearer {}", "t".repeat(64))))],
                query: Vec::new(),
                certificate: None,
                fresh: Duration::from_secs(60),
                good: Duration::from_secs(900),
                stale: Duration::ZERO,
            }))
        })
    }

    fn report(&self, _: Vec<Verdict>) -> Promise<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// What control answers later.
type Promise<'a, T> = Pin<Box<dyn Future<Output = Result<T, proxy::ControlError>> + Send + 'a>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    ON.store(args.count, Ordering::Relaxed);
    bench::end_with_the_driver();
    telemetry::init("bench-gate");
    let counters = TcpListener::bind("127.0.0.1:0")?;
    let counters_at = counters.local_addr()?;
    std::thread::spawn(move || serve_counters(counters));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let listening = listener.local_addr()?;
    let egress = Egress::new(Policy { dev: true, own: vec![listening, counters_at], rules: Vec::new(), revision: 1 })?;
    let tables = Arc::new(Tables::new(egress.clone()));
    let closed = closed_port()?;
    let key = KeyText::mint("bench", [7; 16], [9; 32]);
    let upserts = table(&args, &key, closed.local_addr()?)?;
    if let Some((name, reason)) = tables.apply(Change { replace_all: true, upserts, removes: Vec::new() }).first() {
        return Err(format!("{name} was rejected: {reason}").into());
    }
    let readiness = Arc::new(Readiness::default());
    readiness.table_is_there();
    let gate = Gate::new(
        tables,
        Arc::new(Sealer::with_own_key()),
        Arc::new(SystemClock),
        Hosts::default(),
        readiness,
        egress,
        &Metrics::new(),
    );
    let gate = gate.asking(Arc::new(OneToken));
    bench::announce(&serde_json::json!({
        "mcp": listening.to_string(), "key": key.expose().expose(), "counters": counters_at.to_string(),
    }))?;
    serve(listener, Arc::new(gate), CancellationToken::new()).await;
    Ok(())
}
