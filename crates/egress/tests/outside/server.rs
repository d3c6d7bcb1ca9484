//! Servers on this machine: a decent one, and one that writes whatever bytes it is told to.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;

/// A server on a free port of 127.0.0.1; gone when dropped.
pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) counts: Arc<Counts>,
    task: JoinHandle<()>,
}

#[derive(Default)]
pub(crate) struct Counts {
    connections: AtomicUsize,
    requests: AtomicUsize,
    pub(crate) closed: AtomicUsize,
    pub(crate) close_seen: Notify,
}

impl Server {
    /// Answers each request with its own body.
    pub(crate) async fn echo() -> Self {
        Self::answering(|request| async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            Response::new(Full::new(body))
        })
        .await
    }

    /// Answers each request with what `answer` makes of it.
    pub(crate) async fn answering<A, F>(answer: A) -> Self
    where
        A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Full<Bytes>>> + Send,
    {
        Self::start(move |stream, counts| {
            let answer = answer.clone();
            async move {
                let service = service_fn(|request| {
                    counts.requests.fetch_add(1, Ordering::SeqCst);
                    let answer = answer(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            }
        })
        .await
    }

    /// For each connection, the next script of the list (the last one stays): for each request, the bytes
    /// to answer with; after the last the connection is closed.
    pub(crate) async fn scripted(scripts: &'static [&'static [&'static str]]) -> Self {
        let turn = Arc::new(AtomicUsize::new(0));
        Self::start(move |mut stream, counts| {
            let script = scripts[turn.fetch_add(1, Ordering::SeqCst).min(scripts.len() - 1)];
            async move {
                for answer in script {
                    if !read_request(&mut stream).await {
                        return;
                    }
                    counts.requests.fetch_add(1, Ordering::SeqCst);
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }
        })
        .await
    }

    /// Answers one request on each connection, and closes it when the number in the channel changes.
    pub(crate) async fn hanging_up(answer: &'static str, told: watch::Receiver<usize>) -> Self {
        Self::start(move |mut stream, counts| {
            let mut told = told.clone();
            told.mark_unchanged();
            async move {
                read_request(&mut stream).await;
                counts.requests.fetch_add(1, Ordering::SeqCst);
                stream.write_all(answer.as_bytes()).await.unwrap();
                let _ = told.changed().await;
            }
        })
        .await
    }

    /// Accepts a connection and writes each chunk that comes through the channel.
    pub(crate) async fn dripping(chunks: mpsc::UnboundedReceiver<&'static str>) -> Self {
        let chunks = Arc::new(tokio::sync::Mutex::new(chunks));
        Self::start(move |mut stream, counts| {
            let chunks = Arc::clone(&chunks);
            async move {
                read_request(&mut stream).await;
                counts.requests.fetch_add(1, Ordering::SeqCst);
                let mut chunks = chunks.lock().await;
                let mut ignored = [0; 64];
                loop {
                    tokio::select! {
                        chunk = chunks.recv() => match chunk {
                            Some(chunk) => stream.write_all(chunk.as_bytes()).await.unwrap(),
                            None => return,
                        },
                        read = stream.read(&mut ignored) => if matches!(read, Ok(0) | Err(_)) { return },
                    }
                }
            }
        })
        .await
    }

    pub(crate) async fn start<S, F>(serve: S) -> Self
    where
        S: Fn(TcpStream, Arc<Counts>) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let (serving, counts) = (serve(stream, Arc::clone(&shared)), Arc::clone(&shared));
                tokio::spawn(async move {
                    serving.await;
                    counts.closed.fetch_add(1, Ordering::SeqCst);
                    counts.close_seen.notify_one();
                });
            }
        });
        Self { addr, counts, task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub(crate) fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::SeqCst)
    }

    /// Waits until `count` connections have ended, from whichever side.
    pub(crate) async fn closed(&self, count: usize) {
        while self.counts.closed.load(Ordering::SeqCst) < count {
            self.counts.close_seen.notified().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads one request with a `content-length` or without a body. False at the end of the stream.
async fn read_request(stream: &mut TcpStream) -> bool {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            if body.len() >= length.parse().unwrap() {
                return true;
            }
        }
        match stream.read_buf(&mut read).await {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}
