//! The way out to addresses that tenants name: small answers, under the tenant's address policy, https only (plain
//! http to loopback in dev mode), within bounds of size and time, and with no credential but the caller's.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use egress::{Egress, EgressError, Limits, SystemDialer, SystemResolver};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use model::TenantId;
use store::StoreError;
use tokio::sync::{Mutex, Semaphore};
use url::{Host, Url};

use crate::servers::Servers;
use crate::timers::scaled;

mod form;

pub(crate) use self::form::{Form, basic};

/// Redirects that a document may take, all on its own origin.
const REDIRECTS: usize = 3;
/// Requests under way at once; more wait within their time.
const AT_ONCE: usize = 64;
/// The same of one tenant: addresses that it names may answer nothing for as long as they like, and the keys and sign-ins
/// of others would wait behind them.
const OF_ONE_TENANT: usize = 8;

/// Limit for resolving, connecting and the handshake, within the time of the whole.
const CONNECT: Duration = Duration::from_secs(10);
/// Limit for the head of an answer, within the time of the whole.
const FIRST_BYTE: Duration = Duration::from_secs(30);

/// What an answer may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes of its body.
    pub(crate) bytes: usize,
    /// From the first step to the last byte, redirects included.
    pub(crate) time: Duration,
}

/// Why there is no answer. Never shows an address or what was answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutwardError {
    /// The URL is not https, nor http to loopback in dev mode.
    #[error("the URL must use https")]
    Https,
    /// No connection, or no answer over it.
    #[error("{0}")]
    Egress(#[from] EgressError),
    /// An answer, and not the wanted one.
    #[error("the answer has the status {0}")]
    Status(StatusCode),
    /// It leads to another origin, to none, or too often.
    #[error("it redirects to another origin, or too often")]
    Redirect,
    /// The answer is longer than it may be.
    #[error("the answer has more than {0} bytes")]
    TooLong(usize),
    /// It took too long.
    #[error("it took too long")]
    Slow,
    /// The address policy can't be read.
    #[error("the rules for addresses can't be read")]
    Store(#[from] StoreError),
}

/// The way out.
#[derive(Clone)]
pub(crate) struct Outward {
    servers: Servers,
    egress: Egress,
    /// Held while the policy is brought up to date.
    policy: Arc<Mutex<()>>,
    slots: Arc<Semaphore>,
    /// Of tenants with requests under way or waiting.
    tenants: Arc<std::sync::Mutex<HashMap<TenantId, Arc<Semaphore>>>>,
    dev: bool,
}

impl Outward {
    /// Judges with the policy that servers are judged with, rules of the database included.
    pub(crate) fn new(servers: Servers, dev: bool) -> Self {
        let policy = egress::Policy { dev, ..egress::Policy::default() };
        let egress = Egress::with(policy, Arc::new(SystemResolver::default()), Arc::new(SystemDialer), None);
        Self {
            servers,
            egress,
            policy: Arc::default(),
            slots: Arc::new(Semaphore::new(AT_ONCE)),
            tenants: Arc::default(),
            dev,
        }
    }

    /// How many requests may be under way.
    pub(crate) const MOST: u64 = AT_ONCE as u64;

    /// How many requests are under way.
    pub(crate) fn under_way(&self) -> u64 {
        Self::MOST.saturating_sub(self.slots.available_permits() as u64)
    }

    /// Fetches a document, over redirects within its origin.
    pub(crate) async fn get(&self, tenant: TenantId, url: &Url, bounds: Bounds) -> Result<Bytes, OutwardError> {
        self.fetch(tenant, url, bounds, REDIRECTS).await
    }

    /// The same without redirects: for what must stand at this very address.
    pub(crate) async fn get_here(&self, tenant: TenantId, url: &Url, bounds: Bounds) -> Result<Bytes, OutwardError> {
        self.fetch(tenant, url, bounds, 0).await
    }

    async fn fetch(
        &self,
        tenant: TenantId,
        url: &Url,
        bounds: Bounds,
        redirects: usize,
    ) -> Result<Bytes, OutwardError> {
        let work = async {
            let mut url = url.clone();
            for _ in 0..=redirects {
                let response = self.send(tenant, &url, Method::GET, HeaderMap::new(), Bytes::new()).await?;
                let status = response.status();
                if status.is_redirection() {
                    url = next(&url, &response)?;
                } else if status == StatusCode::OK {
                    return whole(response, bounds.bytes).await;
                } else {
                    return Err(OutwardError::Status(status));
                }
            }
            Err(OutwardError::Redirect)
        };
        self.in_turn(tenant, bounds, work).await
    }

    /// Posts a form, once; a redirect is an answer like any other.
    pub(crate) async fn post(
        &self,
        tenant: TenantId,
        url: &Url,
        headers: HeaderMap,
        form: Bytes,
        bounds: Bounds,
    ) -> Result<(StatusCode, Bytes), OutwardError> {
        let work = async {
            let response = self.send(tenant, url, Method::POST, headers, form).await?;
            Ok((response.status(), whole(response, bounds.bytes).await?))
        };
        self.in_turn(tenant, bounds, work).await
    }

    /// Sends a request with its own headers and body, once; a redirect is an answer like any other.
    pub(crate) async fn exchange(
        &self,
        tenant: TenantId,
        url: &Url,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
        bounds: Bounds,
    ) -> Result<(StatusCode, Bytes), OutwardError> {
        let work = async {
            let response = self.send(tenant, url, method, headers, body).await?;
            Ok((response.status(), whole(response, bounds.bytes).await?))
        };
        self.in_turn(tenant, bounds, work).await
    }

    async fn in_turn<T>(
        &self,
        tenant: TenantId,
        bounds: Bounds,
        work: impl Future<Output = Result<T, OutwardError>>,
    ) -> Result<T, OutwardError> {
        let own = self.slots_of(tenant);
        let work = async {
            // Nobody closes them. The tenant's first: who waits for that holds nobody else up.
            let _own = own.acquire().await.map_err(|_| OutwardError::Slow)?;
            let _slot = self.slots.acquire().await.map_err(|_| OutwardError::Slow)?;
            work.await
        };
        tokio::time::timeout(scaled(bounds.time), work).await.unwrap_or(Err(OutwardError::Slow))
    }

    /// The tenant's own slots; those of tenants that ask for nothing are forgotten.
    fn slots_of(&self, tenant: TenantId) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.retain(|_, slots| Arc::strong_count(slots) > 1);
        tenants.entry(tenant).or_insert_with(|| Arc::new(Semaphore::new(OF_ONE_TENANT))).clone()
    }

    async fn send(
        &self,
        tenant: TenantId,
        url: &Url,
        method: Method,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<egress::Body>, OutwardError> {
        if !(url.scheme() == "https" || self.dev && url.scheme() == "http" && is_loopback(url)) {
            return Err(OutwardError::Https);
        }
        self.renew_policy().await?;
        // What the URL shows is judged here, each address where it is dialled.
        self.egress.policy().check_url(tenant, url).map_err(EgressError::from)?;
        let limits = Limits { connect: CONNECT, first_byte: FIRST_BYTE, idle_connections: 0 };
        let upstream = self.egress.upstream(tenant, url, limits).map_err(EgressError::from)?;
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static("gatehouse"));
        if method == Method::POST {
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.entry(CONTENT_TYPE).or_insert(form);
        }
        if method == Method::POST || !body.is_empty() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let path = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        let mut request = Request::builder().method(method).uri(path);
        if let Some(own) = request.headers_mut() {
            *own = headers;
        }
        let request = request.body(Full::new(body)).map_err(|_| EgressError::Target)?;
        Ok(upstream.send(request).await?)
    }

    /// A rule that was just made counts, and one that is gone no longer does.
    async fn renew_policy(&self) -> Result<(), StoreError> {
        let _turn = self.policy.lock().await;
        let stored = self.servers.policy_now().await?;
        let current = self.egress.policy();
        if stored.rules != current.rules || stored.own != current.own || stored.dev != current.dev {
            self.egress.set_policy(egress::Policy { revision: current.revision + 1, ..stored });
        }
        Ok(())
    }
}

/// Where a redirect leads, if that is on the same origin.
fn next<B>(url: &Url, response: &Response<B>) -> Result<Url, OutwardError> {
    let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    let next = location.and_then(|location| url.join(location).ok());
    next.filter(|next| next.origin() == url.origin() && next.origin().is_tuple()).ok_or(OutwardError::Redirect)
}

async fn whole(response: Response<egress::Body>, most: usize) -> Result<Bytes, OutwardError> {
    match Limited::new(response.into_body(), most).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(OutwardError::TooLong(most)),
        Err(error) => Err(error.downcast::<EgressError>().map_or(EgressError::Truncated, |error| *error).into()),
    }
}

/// Bytes that a URL may have which somebody else wrote.
const MAX_URL: usize = 2048;

/// A URL that may be asked or shown: https, or plain http to this machine with `dev`; never with a user or a fragment, and
/// never anything that a browser would run. The address policy judges it again when it is dialled.
pub(crate) fn usable(text: &str, dev: bool) -> Option<Url> {
    if text.len() > MAX_URL || text.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let scheme = url.scheme() == "https" || (dev && url.scheme() == "http" && is_loopback(&url));
    let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    (scheme && plain && url.has_host()).then_some(url)
}

/// Whether the URL names this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests;
