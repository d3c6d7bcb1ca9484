//! A process of the same operator that is spoken with all the time: mutual TLS, kept connections, streams.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HOST;
use http::uri::Authority;
use http::{HeaderValue, Request, Response, Version};
use http_body_util::Full;
use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};
use url::Host;

use crate::live::{Exchange, Live};
use crate::pool::{Pool, Sweeper};
use crate::{Body, Dialer, EgressError, Limits, Resolver, Sent, SystemDialer, SystemResolver, tls};

/// One address, and the connections to it.
pub struct Peer {
    host: Host<String>,
    port: u16,
    authority: HeaderValue,
    tls: Arc<ClientConfig>,
    limits: Limits,
    pool: Arc<Pool>,
}

impl Peer {
    /// `address` is `host:port`. Who is spoken with is `tls`'s to say, whose settings show who we are.
    pub fn new(address: &str, tls: Arc<ClientConfig>, limits: Limits) -> Result<Self, EgressError> {
        let parsed: Authority = address.parse().map_err(|_| EgressError::Target)?;
        let port = parsed.port_u16().ok_or(EgressError::Target)?;
        let host = Host::parse(parsed.host()).map_err(|_| EgressError::Target)?;
        let authority = HeaderValue::from_str(parsed.as_str()).map_err(|_| EgressError::Target)?;
        let pool = Pool::new(limits.idle_connections, Arc::<Sweeper>::default());
        Ok(Self { host, port, authority, tls, limits, pool })
    }

    /// Sends one request and waits for the head of its response, at most as long as the limits say. The URI must be a
    /// path; a `Host` that is there stays. At most once: what may have been seen there is never sent again here.
    pub async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Body>, EgressError> {
        if request.uri().authority().is_some() || !request.uri().path().starts_with('/') {
            return Err(EgressError::Target);
        }
        request.headers_mut().entry(HOST).or_insert_with(|| self.authority.clone());
        *request.version_mut() = Version::HTTP_11;
        loop {
            let reused = self.pool.take(0);
            let fresh = reused.is_none();
            let live = match reused {
                Some(live) => live,
                None => Box::pin(self.connect()).await?,
            };
            match live.exchange(request, self.limits.first_byte).await {
                Exchange::Answered(response, live) => {
                    let pool = Arc::clone(&self.pool);
                    return Ok(response.map(|incoming| Body::new(incoming, live, Some(pool))));
                }
                Exchange::Unsent(_) if fresh => return Err(EgressError::Closed(Sent::No)),
                Exchange::Unsent(unsent) => request = unsent,
                Exchange::Failed(error) => return Err(error),
            }
        }
    }

    async fn connect(&self) -> Result<Box<Live>, EgressError> {
        let deadline = Instant::now() + self.limits.connect;
        let connecting = async {
            let addresses = match &self.host {
                Host::Domain(name) => SystemResolver::default().resolve(name.clone(), self.port).await,
                Host::Ipv4(ip) => Ok(vec![SocketAddr::new((*ip).into(), self.port)]),
                Host::Ipv6(ip) => Ok(vec![SocketAddr::new((*ip).into(), self.port)]),
            };
            let mut last = EgressError::Resolve;
            for addr in addresses.map_err(|_| EgressError::Resolve)? {
                match SystemDialer.dial(addr).await {
                    Ok(dialed) => return tls::handshake(self.tls.clone(), &self.host, dialed.socket).await,
                    Err(error) => last = EgressError::from_dial(&error),
                }
            }
            Err(last)
        };
        let socket = timeout_at(deadline, connecting).await.map_err(|_| EgressError::ConnectTimeout)??;
        Live::start(socket, 0).await
    }

    /// Connections that rest in the pool.
    pub fn idle(&self) -> usize {
        self.pool.len()
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({}:{}, {} idle)", self.host, self.port, self.idle())
    }
}
