//! One origin of one tenant: where its requests go, and its pool.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response, Version};
use http_body_util::Full;
use model::TenantId;
use rustls::ClientConfig;
use url::{Host, Url};

use crate::address::{is_https, plain_name};
use crate::connect::{Destination, connect};
use crate::live::Exchange;
use crate::pool::Pool;
use crate::{Body, EgressError, Limits, Refusal, Sent, Shared};

/// No wait is longer, whatever the limits say: an hour is more than any of them allows.
const LONGEST: Duration = Duration::from_secs(3600);

/// One origin of one tenant. Made once per mount and dropped with it; cheap to clone.
#[derive(Clone)]
pub struct Upstream {
    origin: Arc<Origin>,
}

struct Origin {
    shared: Arc<Shared>,
    destination: Destination,
    host_header: HeaderValue,
    limits: Limits,
    pool: Arc<Pool>,
}

impl Upstream {
    /// `tls`: other settings than everybody's.
    pub(crate) fn new(
        shared: Arc<Shared>,
        tenant: TenantId,
        url: &Url,
        limits: Limits,
        tls: Option<Arc<ClientConfig>>,
    ) -> Result<Self, Refusal> {
        let https = is_https(url)?;
        let host = match url.host() {
            Some(Host::Domain(name)) => Host::Domain(plain_name(name)),
            Some(Host::Ipv4(ip)) => Host::Ipv4(ip),
            Some(Host::Ipv6(ip)) => Host::Ipv6(ip),
            None => return Err(Refusal::HostName),
        };
        let port = url.port_or_known_default().ok_or(Refusal::Port)?;
        let spelled = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        let host_header = HeaderValue::from_str(&spelled).map_err(|_| Refusal::HostName)?;
        let limits =
            Limits { connect: limits.connect.min(LONGEST), first_byte: limits.first_byte.min(LONGEST), ..limits };
        let pool = Pool::new(limits.idle_connections, Arc::clone(&shared.sweeper));
        let destination = Destination { tenant, url: url.clone(), host, port, https, tls };
        Ok(Self { origin: Arc::new(Origin { shared, destination, host_header, limits, pool }) })
    }

    /// Sends one request and waits for the head of its response. The URI must be a path with an
    /// optional query; `Host` is set here. At most once: a request that may have been seen by the
    /// upstream is never sent again here.
    pub async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Response<Body>, EgressError> {
        let origin = &*self.origin;
        if request.uri().authority().is_some() || !request.uri().path().starts_with('/') {
            return Err(EgressError::Target);
        }
        request.headers_mut().insert(HOST, origin.host_header.clone());
        *request.version_mut() = Version::HTTP_11;
        // A connection that was closed while it rested gives the request back unwritten; then the next
        // one is tried, and when none is left, one new connection.
        loop {
            let revision = origin.shared.policy.load().revision;
            let reused = origin.pool.take(revision);
            let fresh = reused.is_none();
            let live = match reused {
                Some(live) => live,
                // Boxed, as it is rare and large: the future of a call stays small, and is cheap to move.
                None => Box::pin(connect(&origin.shared, &origin.destination, origin.limits.connect)).await?,
            };
            match live.exchange(request, origin.limits.first_byte).await {
                Exchange::Answered(response, live) => {
                    let pool = Arc::clone(&origin.pool);
                    return Ok(response.map(|incoming| Body::new(incoming, live, Some(pool))));
                }
                Exchange::Unsent(_) if fresh => return Err(EgressError::Closed(Sent::No)),
                Exchange::Unsent(unsent) => request = unsent,
                Exchange::Failed(error) => return Err(error),
            }
        }
    }

    /// Host, and port if it is not the scheme's own.
    pub fn authority(&self) -> &str {
        self.origin.host_header.to_str().unwrap_or_default()
    }

    /// Connections that rest in the pool.
    pub fn idle(&self) -> usize {
        self.origin.pool.len()
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Destination { host, port, https, .. } = &self.origin.destination;
        write!(f, "Upstream({}://{host}:{port}, {} idle)", if *https { "https" } else { "http" }, self.idle())
    }
}
