//! The plain client for addresses that an operator configured, such as the command line's to REST: no
//! address policy, one connection per request. [`Peer`] keeps its connections.

mod peer;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::time::timeout;
use url::{Host, Url};

pub use self::peer::Peer;
use crate::live::{Exchange, Live};
use crate::{Body, Dialer, EgressError, Resolver, Sent, Socket, SystemDialer, SystemResolver, tls};

/// Largest response body that is taken.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// A client for one base URL.
#[derive(Clone)]
pub struct Client {
    base: Url,
    host: Host<String>,
    port: u16,
    limit: Duration,
    trusted: Vec<CertificateDer<'static>>,
}

impl Client {
    /// `base` is http or https with a host; its path is put before each request's. A request may take
    /// 30 s, unless [`Client::within`] says otherwise.
    pub fn new(base: Url) -> Result<Self, EgressError> {
        let host = base.host().map(|host| host.to_owned()).ok_or(EgressError::Target)?;
        let port = base.port_or_known_default().ok_or(EgressError::Target)?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(EgressError::Target);
        }
        Ok(Self { base, host, port, limit: Duration::from_secs(30), trusted: Vec::new() })
    }

    /// The same client with another limit for a whole request.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The same client, which trusts the authorities of this PEM text too. [`EgressError::Tls`] if it holds none.
    pub fn trusting(mut self, pem: &[u8]) -> Result<Self, EgressError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        self.trusted = found.map_err(|error| EgressError::Tls(io::Error::other(error)))?;
        if self.trusted.is_empty() {
            return Err(EgressError::Tls(io::Error::other("no certificate in it")));
        }
        Ok(self)
    }

    /// Sends one request and reads the whole answer, at most 16 MiB. `path` starts with a slash and may
    /// have a query.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Result<(StatusCode, HeaderMap, Bytes), EgressError> {
        let request = self.build(method, path, headers, body)?;
        let mut connected = false;
        match timeout(self.limit, self.run(request, &mut connected)).await {
            Ok(answer) => answer,
            Err(_) if connected => Err(EgressError::FirstByteTimeout),
            Err(_) => Err(EgressError::ConnectTimeout),
        }
    }

    fn build(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Bytes>,
    ) -> Result<Request<Full<Bytes>>, EgressError> {
        let target = format!("{}{path}", self.base.path().trim_end_matches('/'));
        let spelled = match self.base.port() {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.to_string(),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, spelled)
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|_| EgressError::Target)?;
        for (name, value) in headers {
            let name: HeaderName = name.parse().map_err(|_| EgressError::Target)?;
            let value = HeaderValue::from_str(value).map_err(|_| EgressError::Target)?;
            request.headers_mut().insert(name, value);
        }
        Ok(request)
    }

    async fn run(
        &self,
        request: Request<Full<Bytes>>,
        connected: &mut bool,
    ) -> Result<(StatusCode, HeaderMap, Bytes), EgressError> {
        let live = Live::start(self.connect().await?, 0).await?;
        *connected = true;
        let (response, live) = match live.exchange(request, self.limit).await {
            Exchange::Answered(response, live) => (response, live),
            Exchange::Unsent(_) => return Err(EgressError::Closed(Sent::No)),
            Exchange::Failed(error) => return Err(error),
        };
        let (head, incoming) = response.into_parts();
        let mut body = Body::new(incoming, live, None);
        let mut read = BytesMut::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                if read.len() + data.len() > MAX_BODY {
                    return Err(EgressError::TooLarge);
                }
                read.extend_from_slice(&data);
            }
        }
        Ok((head.status, head.headers, read.freeze()))
    }

    async fn connect(&self) -> Result<Socket, EgressError> {
        let addresses = match &self.host {
            Host::Domain(name) => SystemResolver::default().resolve(name.clone(), self.port).await,
            Host::Ipv4(ip) => Ok(vec![SocketAddr::new((*ip).into(), self.port)]),
            Host::Ipv6(ip) => Ok(vec![SocketAddr::new((*ip).into(), self.port)]),
        };
        let mut last = EgressError::Resolve;
        for addr in addresses.map_err(|_| EgressError::Resolve)? {
            match SystemDialer.dial(addr).await {
                Ok(dialed) if self.base.scheme() == "https" => {
                    let config = tls::http1_only(tls::public_roots_and(&self.trusted)?);
                    return tls::handshake(config.into(), &self.host, dialed.socket).await;
                }
                Ok(dialed) => return Ok(dialed.socket),
                Err(error) => last = EgressError::from_dial(&error),
            }
        }
        Err(last)
    }
}

/// How long a process may take to say whether it is ready.
const READY: Duration = Duration::from_secs(2);

/// Whether the process on this machine that listens there in plain text answers `/readyz` with 200; an
/// error where nobody answers.
pub async fn is_ready(listener: SocketAddr) -> Result<bool, EgressError> {
    let mut address = listener;
    match address.ip() {
        ip if !ip.is_unspecified() => (),
        IpAddr::V4(_) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(_) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
    }
    let base = Url::parse(&format!("http://{address}")).map_err(|_| EgressError::Target)?;
    let (status, _, _) = Client::new(base)?.within(READY).request(Method::GET, "/readyz", &[], None).await?;
    Ok(status == StatusCode::OK)
}
