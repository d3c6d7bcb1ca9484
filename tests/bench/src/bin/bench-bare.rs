//! The baseline: a plain reverse proxy that passes everything on unchanged, as one would write it
//! with hyper: a server, a pooled client, bodies streamed through, no look at the content.

use std::net::SocketAddr;

use clap::Parser;
use http::uri::Authority;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpListener;

/// Passes every request on to one upstream.
#[derive(Parser)]
struct Args {
    /// Where to pass requests on to.
    #[arg(long)]
    upstream: SocketAddr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    bench::end_with_the_driver();
    let upstream: Authority = args.upstream.to_string().parse()?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build::<_, Incoming>(connector);

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    bench::announce(&serde_json::json!({ "address": listener.local_addr()?.to_string() }))?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (client, upstream) = (client.clone(), upstream.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| pass_on(&client, &upstream, request));
            // A client that goes away in the middle is no news here.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn pass_on(
    client: &Client<HttpConnector, Incoming>,
    upstream: &Authority,
    mut request: Request<Incoming>,
) -> Result<Response<Incoming>, Box<dyn std::error::Error + Send + Sync>> {
    let mut uri = std::mem::take(request.uri_mut()).into_parts();
    uri.scheme = Some(http::uri::Scheme::HTTP);
    uri.authority = Some(upstream.clone());
    *request.uri_mut() = Uri::from_parts(uri)?;
    Ok(client.request(request).await?)
}
