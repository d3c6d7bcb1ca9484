//! Serves REST on a listener: bounded connections, slow headers and slow readers cut, a drain with a deadline.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use daemon::{Listener, WriteTimeout};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::forwarded::Trusted;
use crate::rest::Rest;
use crate::timers::scaled;

/// What one listener grants its clients.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Connections at once; more wait in the listener's queue.
    connections: usize,
    /// How long the head of a request may take, the first one of a silent connection included.
    header: Duration,
    /// How long a client may take none of what is written to it.
    write: Duration,
}

/// The connections that one listener may have at once.
#[derive(Debug, Clone)]
pub(crate) struct Slots(Arc<Semaphore>);

impl Slots {
    /// As many as a listener may have.
    pub(crate) const MOST: u64 = BOUNDS.connections as u64;

    /// All free.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(BOUNDS.connections)))
    }

    /// How many are taken, the one included that waits for the next connection.
    pub(crate) fn taken(&self) -> u64 {
        Self::MOST.saturating_sub(self.0.available_permits() as u64)
    }
}

const BOUNDS: Bounds = Bounds { connections: 1024, header: Duration::from_secs(10), write: Duration::from_secs(30) };
/// How long requests under way may take to end when the process stops.
const DRAIN: Duration = Duration::from_secs(30);
/// Pause after a failed accept: the reason is usually a lack of descriptors, which passes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown`, then lets requests under way end, for at most 30 s.
pub(crate) async fn serve(listener: Listener, slots: Slots, trusted: Trusted, rest: Rest, shutdown: CancellationToken) {
    within(BOUNDS, listener, slots, trusted, rest, shutdown).await;
}

async fn within(
    bounds: Bounds,
    listener: Listener,
    slots: Slots,
    trusted: Trusted,
    rest: Rest,
    shutdown: CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    let Slots(slots) = slots;
    let accept = async || {
        let permit = slots.clone().acquire_owned().await.ok()?;
        match listener.accept().await {
            Ok((arriving, peer)) => Some((arriving, peer, permit)),
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    };
    loop {
        let accepted = tokio::select! {
            accepted = accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        let Some((arriving, peer, permit)) = accepted else { continue };
        let (rest, trusted) = (rest.clone(), trusted.clone());
        let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
            let mut request = request.map(Body::new);
            let client = trusted.client(peer, request.headers());
            request.extensions_mut().insert(ConnectInfo(client));
            rest.clone().oneshot(request)
        });
        // HTTP/1 only: its timer runs before the first byte, so a silent connection loses its slot.
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(scaled(bounds.header));
        let watcher = graceful.watcher();
        tokio::spawn(async move {
            let _permit = permit;
            let stream = match arriving.established().await {
                Ok(stream) => stream,
                Err(error) => return tracing::debug!(%error, "a connection was not established"),
            };
            let stream = WriteTimeout::new(stream, scaled(bounds.write));
            if let Err(error) = watcher.watch(builder.serve_connection(TokioIo::new(stream), service)).await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(scaled(DRAIN), graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way at the end of the drain");
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "a client that says nothing is no client of egress")]
    async fn silent_connections_lose_their_slots() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let slots = Slots(Arc::new(Semaphore::new(2)));
        let bounds = Bounds { connections: 2, header: Duration::from_millis(50), ..BOUNDS };
        let rest = Rest::new(Router::new().route("/livez", get(async || "ok")));
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(within(bounds, listener.into(), slots, Trusted::default(), rest, shutdown.clone()));
        let mut silent = Vec::new();
        for _ in 0..5 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        // An answered connection that stays open and says no more is a silent one too.
        for _ in 0..3 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let mut status = [0; 12];
            let read = tokio::time::timeout(Duration::from_secs(20), stream.read_exact(&mut status)).await;
            read.expect("a slot becomes free").unwrap();
            assert_eq!(&status, b"HTTP/1.1 200");
            silent.push(stream);
        }
        shutdown.cancel();
        serving.await.unwrap();
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "what a reverse proxy sends is written by hand")]
    async fn only_what_a_trusted_proxy_says_counts_as_the_clients_address() {
        let who = async |ConnectInfo(client): ConnectInfo<std::net::SocketAddr>| client.ip().to_string();
        for (trusted, seen) in
            [(&["127.0.0.0/8"][..], "203.0.113.9"), (&["10.0.0.0/8"], "127.0.0.1"), (&[], "127.0.0.1")]
        {
            let nets: Vec<_> = trusted.iter().map(|text| crate::forwarded::net(text).unwrap()).collect();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let rest = Rest::new(Router::new().route("/who", get(who)));
            let shutdown = CancellationToken::new();
            let ending = shutdown.clone();
            let serving = tokio::spawn(serve(listener.into(), Slots::new(), Trusted::new(&nets), rest, ending));
            let mut stream = TcpStream::connect(address).await.unwrap();
            let head = "GET /who HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-forwarded-for: 192.0.2.1, 203.0.113.9\r\n\
                        x-real-ip: 192.0.2.2\r\nforwarded: for=192.0.2.3\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.ends_with(&format!("\r\n\r\n{seen}")), "{trusted:?}: {answer}");
            shutdown.cancel();
            serving.await.unwrap();
        }
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "a client that does not read is no client of egress")]
    async fn who_does_not_read_the_answer_loses_the_slot() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let slots = Slots(Arc::new(Semaphore::new(2)));
        let bounds = Bounds { connections: 2, write: Duration::from_millis(50), ..BOUNDS };
        // More than the kernel takes off the process's hands.
        let much = async || vec![b'x'; 64 << 20];
        let rest = Rest::new(Router::new().route("/much", get(much)).route("/livez", get(async || "ok")));
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(within(bounds, listener.into(), slots, Trusted::default(), rest, shutdown.clone()));
        let mut deaf = Vec::new();
        for _ in 0..3 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /much HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            deaf.push(stream);
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut status = [0; 12];
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_exact(&mut status)).await;
        read.expect("a slot becomes free").unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
        shutdown.cancel();
        drop(stream);
        serving.await.unwrap();
    }
}
