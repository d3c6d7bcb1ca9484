//! A forwarder that adds a key, for clients that cannot send one.

use http::{HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Listens on a free port and sends everything on, `Host` and `Origin` too, with `Authorization: Bearer {key}`. Bodies and
/// streams pass as they come, and who goes away has gone away behind it too.
pub struct Forwarder {
    port: u16,
    task: JoinHandle<()>,
}

impl Forwarder {
    /// Starts; `base` is scheme and authority of the target.
    pub async fn start(base: &str, key: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let client: Client<HttpConnector, Incoming> = Client::builder(TokioExecutor::new()).build_http();
        let bearer = HeaderValue::from_str(&format!("Bearer {key}")).expect("a key is a header value");
        let base = base.to_owned();
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (client, bearer, base) = (client.clone(), bearer.clone(), base.clone());
                tokio::spawn(async move {
                    let service = service_fn(|request| forward(&client, &base, &bearer, request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { port, task }
    }

    /// The URL of a path.
    pub fn at(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(
    client: &Client<HttpConnector, Incoming>,
    base: &str,
    bearer: &HeaderValue,
    mut request: Request<Incoming>,
) -> Result<Response<Incoming>, hyper_util::client::legacy::Error> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = format!("{base}{path}").parse::<Uri>().expect("a URL");
    request.headers_mut().insert("authorization", bearer.clone());
    client.request(request).await
}
