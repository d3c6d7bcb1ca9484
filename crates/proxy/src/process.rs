//! The proxy as a process: everything built, wired, run until told to stop, and drained.

use std::net::SocketAddr;
use std::sync::Arc;

use daemon::{CertificateError, Listener};
use egress::{Egress, Policy};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use model::{Clock, SystemClock};
use telemetry::{Metrics, Otlp};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::commands::Commands;
use crate::config::Config;
use crate::credentials::Control;
use crate::gate::Gate;
use crate::hosts::Hosts;
use crate::last_good::{LastGood, LastGoodError};
use crate::link::{self, Line, LinkConfig, LinkStatus, Queues};
use crate::metrics;
use crate::peers::{self, Peers};
use crate::readiness::Readiness;
use crate::seal::Sealer;
use crate::server::{DRAIN, serve, serve_peers};
use crate::table::Tables;

/// Why a proxy can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address can't be listened on.
    #[error("can't listen on {address}")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The certificate of `listen` can't be used.
    #[error("the certificate of `listen` can't be used")]
    Certificate(#[from] CertificateError),
    /// The data folder can't be used.
    #[error("the last good table can't be used")]
    LastGood(#[from] LastGoodError),
    /// TLS towards upstreams can't be set up.
    #[error("TLS can't be set up")]
    Egress(#[from] egress::EgressError),
    /// The link to control can't be set up.
    #[error("the link to control can't be set up")]
    Link(#[from] link::LinkError),
}

/// Runs until `shutdown`: from the last good table if control is away, and in both cases attached
/// to control as soon as it answers.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), StartError> {
    let metrics = Metrics::new();
    let otlp = Otlp::start("gatehouse-proxy", &metrics);
    let listener = Listener::new(bind(config.listen).await?, config.tls.as_ref())?;
    let metrics_listener = bind(config.metrics_listen).await?;
    let peer_listener = bind(config.peer_listen).await?;
    let policy =
        Policy { dev: config.dev, own: config.own_listeners.clone(), rules: config.egress_rules.clone(), revision: 1 };
    let egress = Egress::new(policy)?;
    let tables = Arc::new(Tables::new(egress.clone()));
    let sealer = Arc::new(Sealer::default());
    let readiness = Arc::new(Readiness::default());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);

    let last_good = LastGood::open(&config.data_dir)?;
    let revision = last_good.restore(&tables, &sealer);
    if revision.seq > 0 {
        readiness.table_is_there();
        readiness.heard(last_good.heard().unwrap_or_else(|| clock.now_micros()));
        tracing::info!(%revision, "serving the last good table until control answers");
    }

    let hosts = Hosts::of(config.public_url.as_ref(), config.tls.is_some());
    let line = Line::new(&config.pool);
    let node = Control::node(&line);
    let files = peers::Files {
        ca: config.link_ca.clone(),
        cert: config.link_cert.clone(),
        key: config.link_key.clone(),
        pool: config.pool.clone(),
    };
    let certificates = peers::Certificates::load(files)?;
    let peer_listener = Listener::under(peer_listener, certificates.server());
    let peers = Arc::new(Peers::new(&node, Some(config.peer_address), certificates.client()));
    peers.told(last_good.load_peers());
    tokio::spawn(certificates.follow(peers.clone()));
    let gate = Gate::new(tables.clone(), sealer.clone(), clock.clone(), hosts, readiness.clone(), egress, &metrics);
    let gate = gate.asking(Arc::new(line.clone())).of_node(&node).beside(peers.clone());
    let gate = Arc::new(gate);
    let (status, heard) = watch::channel(LinkStatus::default());
    metrics::expose(&metrics, &gate, heard.clone(), config.dev);
    let queues = Queues::default();
    queues.show(&metrics);
    let link_config = LinkConfig {
        controls: config.control,
        ca: config.link_ca,
        cert: config.link_cert,
        key: config.link_key,
        pool: config.pool,
        revision,
        status,
    };
    let (commands, unknown_keys) = (Commands::new(gate.clone()), gate.unknown_keys.clone());
    // The link outlives the drain: what is under way may still need control.
    let link_stop = CancellationToken::new();
    let link = tokio::spawn(link::run(
        link_config,
        tables,
        commands.clone(),
        sealer,
        last_good.clone(),
        queues,
        line,
        peers,
        unknown_keys,
        link_stop.clone(),
    ));
    tokio::spawn(keep_ready(heard, readiness, clock, last_good));
    tokio::spawn(serve_metrics(metrics_listener, metrics, gate.clone()));
    tracing::info!(listen = %config.listen, "proxy serves");

    let stop_early = shutdown.clone();
    let link = tokio::spawn(async move {
        let ended = link.await;
        stop_early.cancel();
        ended
    });
    let stopping = shutdown.clone();
    let commands_finish = async {
        stopping.cancelled().await;
        // What control asked for is under way as much as what a client asked for.
        if tokio::time::timeout(DRAIN, commands.finished()).await.is_err() {
            tracing::warn!("commands of control were cut at the end of the drain");
        }
    };
    let for_peers = serve_peers(peer_listener, gate.clone(), shutdown.clone());
    tokio::join!(serve(listener, gate, shutdown), for_peers, commands_finish);
    link_stop.cancel();
    let link = link.await;
    otlp.finish().await;
    match link {
        Ok(Ok(ended)) => ended.map_err(StartError::Link),
        Ok(Err(error)) | Err(error) => {
            tracing::error!(%error, "the link's task broke");
            Ok(())
        }
    }
}

/// Marks the table as there and fresh whenever the link says so.
async fn keep_ready(
    mut heard: watch::Receiver<LinkStatus>,
    readiness: Arc<Readiness>,
    clock: Arc<dyn Clock>,
    last_good: LastGood,
) {
    loop {
        let status = *heard.borrow_and_update();
        if status.current {
            readiness.table_is_there();
        }
        if status.attached && status.current {
            readiness.heard(clock.now_micros());
            last_good.note_heard(clock.now_micros());
        }
        // Attached and nothing new is news too: control is there.
        if let Ok(Err(_)) = tokio::time::timeout(std::time::Duration::from_secs(10), heard.changed()).await {
            return;
        }
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    daemon::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

/// Metrics, and the health of the process, for a collector and for the `health` command beside it.
async fn serve_metrics(listener: TcpListener, metrics: Metrics, gate: Arc<Gate>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection for metrics could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                continue;
            }
        };
        let (metrics, gate) = (metrics.clone(), gate.clone());
        tokio::spawn(async move {
            let service = service_fn(async |request: Request<Incoming>| {
                let (status, body) = match request.uri().path() {
                    "/metrics" => rendered(metrics.clone()).await,
                    "/livez" => (StatusCode::OK, "ok\n".to_owned()),
                    "/readyz" if gate.is_ready() => (StatusCode::OK, "ok\n".to_owned()),
                    "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned()),
                    _ => (StatusCode::NOT_FOUND, String::new()),
                };
                let mut response = Response::new(Full::new(bytes::Bytes::from(body)));
                *response.status_mut() = status;
                Ok::<_, std::convert::Infallible>(response)
            });
            let served =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            if let Err(error) = served {
                tracing::trace!(%error, "a metrics connection ended");
            }
        });
    }
}

/// The metrics of thousands of servers take a moment, in which this thread would serve no client.
async fn rendered(metrics: Metrics) -> (StatusCode, String) {
    match tokio::task::spawn_blocking(move || metrics.render()).await {
        Ok(text) => (StatusCode::OK, text),
        Err(error) => {
            tracing::error!(%error, "metrics can't be written");
            (StatusCode::INTERNAL_SERVER_ERROR, String::new())
        }
    }
}
