//! Listeners: accept, bound, serve, and drain with a deadline.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use daemon::{Listener, WriteTimeout};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::body::Gauge;
use crate::elsewhere::Hop;
use crate::gate::Gate;
use crate::head_timeout::HeadTimeout;
use crate::timers::scaled;

/// Most connections at once; more wait in the listener's own queue.
pub(crate) const CONNECTIONS: usize = 20_000;
/// How long a client may take to send the head of a request that it has begun, or its first one.
const HEAD: Duration = Duration::from_secs(10);
/// How long an answered connection may wait for its next request.
const IDLE: Duration = Duration::from_secs(75);
/// How often it is looked after what nobody uses any more.
const TIDY: Duration = Duration::from_secs(10);
/// How long a client may take none of what is written to it.
const WRITE: Duration = Duration::from_secs(30);
/// Most bytes that one connection reads ahead or writes at once: a 64 KiB answer with its head fits,
/// and a larger head than this is refused (431).
const BUFFER: usize = 128 << 10;
/// Most header fields.
const HEADERS: usize = 100;
/// How long requests under way may take to finish after the signal.
pub(crate) const DRAIN: Duration = Duration::from_secs(30);

/// Serves until `shutdown`, then lets what is under way finish, for at most 30 s.
pub async fn serve(listener: impl Into<Listener>, gate: Arc<Gate>, shutdown: CancellationToken) {
    let listener = listener.into();
    let tidying = tokio::spawn(tidy(gate.clone()));
    let reporting = tokio::spawn({
        let credentials = gate.sessions.credentials.clone();
        async move { credentials.report().await }
    });
    let connections = accept(listener, &gate, Hop::First, &shutdown).await;
    gate.drain();
    tidying.abort();
    reporting.abort();
    drained(connections).await;
}

/// Serves other proxies of the pool, whose certificates `listener` asks for, in the same way.
pub(crate) async fn serve_peers(listener: Listener, gate: Arc<Gate>, shutdown: CancellationToken) {
    drained(accept(listener, &gate, Hop::Second, &shutdown).await).await;
}

/// Takes connections until `shutdown`; answers those that are open then.
async fn accept(listener: Listener, gate: &Arc<Gate>, hop: Hop, shutdown: &CancellationToken) -> JoinSet<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, arriving) = tokio::select! {
            (place, accepted) = next => match accepted {
                Ok((arriving, _)) => (place, arriving),
                Err(error) => {
                    // Out of descriptors, most likely: those that are open go on, and may close.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = shutdown.cancelled() => return connections,
        };
        while connections.try_join_next().is_some() {}
        let (gate, shutdown) = (gate.clone(), shutdown.clone());
        connections.spawn(async move {
            let _place = place;
            let _counted = Gauge::one_more(match hop {
                Hop::First => &gate.counters.connections,
                Hop::Second => &gate.counters.peer_connections,
            });
            let stream = match arriving.established().await {
                Ok(stream) => stream,
                Err(error) => return tracing::trace!(%error, "a client's connection was not established"),
            };
            let (stream, phase) = HeadTimeout::new(WriteTimeout::new(stream, scaled(WRITE)), scaled(HEAD));
            let service = service_fn(|request| {
                let (gate, serving) = (gate.clone(), phase.serve());
                async move { Ok::<_, Infallible>(gate.serve(request, hop).await.map(|body| body.ending(serving))) }
            });
            let mut builder = http1::Builder::new();
            builder
                .timer(TokioTimer::new())
                .header_read_timeout(scaled(IDLE))
                .max_buf_size(BUFFER)
                .max_headers(HEADERS);
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            let served = tokio::select! {
                served = &mut connection => served,
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = served {
                tracing::trace!(%error, "a client's connection ended");
            }
        });
    }
}

async fn drained(mut connections: JoinSet<()>) {
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!(left = connections.len(), "connections were cut at the end of the drain");
    }
}

async fn tidy(gate: Arc<Gate>) {
    let mut every = tokio::time::interval(scaled(TIDY));
    let mut changes = gate.sessions.credentials.changes();
    loop {
        tokio::select! {
            _ = every.tick() => gate.tidy().await,
            _ = changes.changed() => {
                let table = gate.tables.load_full();
                gate.end_sessions(&table).await;
            }
        }
    }
}
