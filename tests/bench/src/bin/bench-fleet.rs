//! Any number of proxies in one process, as control sees them: each attaches by the link, keeps what it is told
//! in a table of names and digests, and answers. None of them serves anybody.
//!
//! Commands come as lines on standard input, an answer goes out as one line of JSON: `forget all` loses every
//! mount, `forget mixed` a third of them, alters a third and adds a third; `lost` waits until no proxy is
//! attached, `attached` until all are.

use std::collections::HashMap;
use std::io::BufRead as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Parser;
use model::{Digest, Resource, ResourceName, Revision, ServerId, TenantId, table_digest};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use uuid::Uuid;
use wire::client::LinkClient;
use wire::frame::{ControlFrame, ProxyFrame};
use wire::{
    Answer, Collector, Command, CommandAnswer, FromControl, FromProxy, Heartbeat, Hello, ObservedMount, Outcome,
    Upsert, Work,
};

/// Plays proxies.
#[derive(Debug, Clone, Parser)]
struct Args {
    /// Places of control's link, tried in turn.
    #[arg(long, required = true)]
    control: Vec<String>,
    /// The plane's CA.
    #[arg(long)]
    ca: PathBuf,
    /// A certificate for the pool `default`.
    #[arg(long)]
    cert: PathBuf,
    /// Its key.
    #[arg(long)]
    key: PathBuf,
    /// How many proxies to play.
    #[arg(long, default_value_t = 1)]
    proxies: usize,
}

/// A fault of the link that ends one stream; the proxy comes back.
type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Pauses before a proxy attaches again: full jitter up to a bound that doubles, as real ones do.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const BEAT: Duration = Duration::from_secs(10);

/// What one proxy holds.
#[derive(Debug, Clone)]
struct Held {
    digest: Digest,
    tenant: TenantId,
    name: String,
    url: String,
}

#[derive(Default)]
struct Proxy {
    at: Revision,
    table: HashMap<ResourceName, Held>,
}

type Shared = Arc<Mutex<Proxy>>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    telemetry::init("bench-fleet");
    let read = std::fs::read_to_string;
    let tls = Arc::new(wire::client_tls(&read(&args.ca)?, &read(&args.cert)?, &read(&args.key)?)?);
    let attached = Arc::new(watch::Sender::new(0_usize));
    let proxies: Vec<Shared> = (0..args.proxies).map(|_| Shared::default()).collect();
    for (at, proxy) in proxies.iter().enumerate() {
        let (args, tls, proxy, attached) = (args.clone(), tls.clone(), proxy.clone(), attached.clone());
        tokio::spawn(async move { live(&args, at, &tls, &proxy, &attached).await });
    }
    let mut seen = attached.subscribe();
    seen.wait_for(|count| *count == args.proxies).await?;
    bench::announce(&serde_json::json!({ "proxies": args.proxies }))?;
    let (lines, mut commands) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if lines.blocking_send(line).is_err() {
                break;
            }
        }
    });
    // The driver is gone when its end of the pipe is.
    while let Some(command) = commands.recv().await {
        match command.as_str() {
            "forget all" => proxies.iter().for_each(|proxy| lock(proxy).table.retain(|name, _| !is_server(name))),
            "forget mixed" => proxies.iter().for_each(|proxy| mix(&mut lock(proxy))),
            "lost" => drop(seen.wait_for(|count| *count == 0).await?),
            "attached" => drop(seen.wait_for(|count| *count == args.proxies).await?),
            other => return Err(format!("unknown command {other:?}").into()),
        }
        bench::announce(&serde_json::json!({ "done": command }))?;
    }
    Ok(())
}

fn lock(proxy: &Shared) -> std::sync::MutexGuard<'_, Proxy> {
    proxy.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_server(name: &ResourceName) -> bool {
    matches!(name, ResourceName::Server(_))
}

/// Loses a third of the mounts, alters a third, and adds as many that nobody intends.
fn mix(proxy: &mut Proxy) {
    let names: Vec<ResourceName> = proxy.table.keys().copied().filter(is_server).collect();
    for (at, name) in names.iter().enumerate() {
        match at % 3 {
            0 => drop(proxy.table.remove(name)),
            1 => {
                let Some(held) = proxy.table.get_mut(name) else { continue };
                held.digest = Digest([7; 32]);
                let orphan = Held { name: format!("orphan-{at}"), ..held.clone() };
                proxy.table.insert(ResourceName::Server(ServerId::fresh()), orphan);
            }
            _ => (),
        }
    }
}

/// One proxy: attaches, serves, and attaches again, for ever.
async fn live(
    args: &Args,
    at: usize,
    tls: &Arc<rustls::ClientConfig>,
    proxy: &Shared,
    attached: &watch::Sender<usize>,
) {
    let instance = Uuid::new_v4().simple().to_string();
    let node = format!("default/{instance}");
    let mut bound = FIRST_PAUSE;
    for control in args.control.iter().cycle().skip(at % args.control.len().max(1)) {
        let mut counted = false;
        let ended = attach(control, tls, &node, &instance, proxy, &mut || {
            bound = FIRST_PAUSE;
            if !std::mem::replace(&mut counted, true) {
                attached.send_modify(|count| *count += 1);
            }
        })
        .await;
        if counted {
            attached.send_modify(|count| *count -= 1);
        }
        if let Err(fault) = ended {
            tracing::debug!(fault, "the stream ended");
        }
        tokio::time::sleep(bound.mul_f64(jitter())).await;
        bound = (bound * 2).min(LONGEST_PAUSE);
    }
}

/// Evenly between 0 and 1.
fn jitter() -> f64 {
    let (high, _) = Uuid::new_v4().as_u64_pair();
    (high >> 16) as f64 / (1_u64 << 48) as f64
}

/// One stream, until it ends. `settled` is told whenever the proxy has what control wants it to have.
async fn attach(
    control: &str,
    tls: &Arc<rustls::ClientConfig>,
    node: &str,
    instance: &str,
    proxy: &Shared,
    settled: &mut (dyn FnMut() + Send),
) -> Result<(), Fault> {
    let channel = wire::connect(control, tls.clone()).await?;
    let mut client = LinkClient::new(channel).max_decoding_message_size(wire::MESSAGE_LIMIT);
    let (outgoing, sent) = mpsc::channel::<ProxyFrame>(64);
    let hello = {
        let proxy = lock(proxy);
        Hello {
            node: node.to_owned(),
            boot: instance.to_owned(),
            instance: instance.to_owned(),
            build: "bench".to_owned(),
            protocol: (wire::PROTOCOL_LOWEST, wire::PROTOCOL_HIGHEST),
            revision: proxy.at,
            held: proxy.table.iter().map(|(name, held)| (*name, held.digest)).collect(),
            peer_address: None,
        }
    };
    outgoing.send(FromProxy::Hello(hello).into()).await?;
    let mut incoming: Streaming<ControlFrame> = client.attach(ReceiverStream::new(sent)).await?.into_inner();
    let mut collector = Collector::default();
    let mut beat = tokio::time::interval(BEAT);
    loop {
        let answer = tokio::select! {
            frame = incoming.message() => match frame? {
                None => return Ok(()),
                Some(frame) => match FromControl::try_from(frame)? {
                    FromControl::Heartbeat(_) | FromControl::Peers(_) => { settled(); None }
                    FromControl::Push(chunk) => collector.take(chunk)?.map(|push| FromProxy::Answer(apply(&mut lock(proxy), push))),
                    FromControl::Command(command) => Some(FromProxy::Command(perform(&lock(proxy), command))),
                },
            },
            _ = beat.tick() => Some(FromProxy::Heartbeat(heartbeat(&lock(proxy)))),
        };
        let Some(answer) = answer else { continue };
        let pushed = matches!(answer, FromProxy::Answer(_));
        outgoing.send(answer.into()).await?;
        if pushed {
            settled();
        }
    }
}

fn apply(proxy: &mut Proxy, push: wire::Collected) -> Answer {
    if push.head.snapshot {
        proxy.table.clear();
    }
    for upsert in push.upserts {
        if let Upsert::Read(resource) = upsert {
            proxy.table.insert(resource.name(), held(&resource));
        }
    }
    for name in push.removes {
        proxy.table.remove(&name);
    }
    proxy.at = push.head.revision;
    let held = if push.head.snapshot { digests(proxy) } else { Vec::new() };
    Answer { nonce: push.head.nonce, revision: proxy.at, rejected: Vec::new(), refusal: None, held }
}

fn held(resource: &Resource) -> Held {
    let (name, url) = match resource {
        Resource::Server(server) => (server.name.to_string(), server.url.as_str().to_owned()),
        _ => Default::default(),
    };
    Held { digest: resource.digest(), tenant: resource.tenant().unwrap_or(TenantId(Uuid::nil())), name, url }
}

fn digests(proxy: &Proxy) -> Vec<(ResourceName, Digest)> {
    proxy.table.iter().map(|(name, held)| (*name, held.digest)).collect()
}

fn perform(proxy: &Proxy, command: Command) -> CommandAnswer {
    let outcome = match command.work {
        Work::Resync => Outcome::Resynced(digests(proxy)),
        Work::Observe => Outcome::Observed(observed(proxy)),
        Work::PruneInternal(_) => Outcome::Pruned(0),
        Work::Probe(_) | Work::List { .. } | Work::Call { .. } => {
            Outcome::Failed { class: "other".to_owned(), message: "this proxy serves nobody".to_owned() }
        }
    };
    CommandAnswer { id: command.id, outcome }
}

fn observed(proxy: &Proxy) -> Vec<ObservedMount> {
    let servers = proxy.table.iter().filter_map(|(name, held)| match name {
        ResourceName::Server(server) => Some((*server, held)),
        _ => None,
    });
    servers
        .map(|(server, held)| ObservedMount {
            tenant: held.tenant,
            server,
            name: held.name.clone(),
            title: String::new(),
            url: held.url.clone(),
            digest: held.digest,
            internal: false,
            cooling_ms: None,
            spec: None,
        })
        .collect()
}

fn heartbeat(proxy: &Proxy) -> Heartbeat {
    let names: Vec<(String, Digest)> = proxy.table.iter().map(|(name, held)| (name.to_string(), held.digest)).collect();
    let digest = table_digest(names.iter().map(|(name, digest)| (name.as_str(), *digest)));
    Heartbeat { revision: proxy.at, digest, sealing_key: 0 }
}
