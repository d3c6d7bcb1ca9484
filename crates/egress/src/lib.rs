//! The only way out: one HTTP client, with an address policy that judges the address really dialled.
//!
//! An [`Egress`] holds the policy, the resolver, the dialer and the TLS settings. [`Egress::upstream`]
//! gives an [`Upstream`]: one origin of one tenant with its own pool. Each new connection goes
//! `check_url` -> resolve -> *every* address is judged -> a judged address is dialled -> the peer is
//! compared -> TLS to the original name -> HTTP/1.1. There is no second look-up and no redirect is
//! followed.
//!
//! There is no task per connection: a connection is polled by whoever waits for its answer, so that a
//! call costs no hop between tasks. [`operator`] is the plain client for addresses that an operator
//! configured.

mod address;
mod class;
mod rule;

mod dial;
mod resolve;
mod socket;
mod tls;

mod body;
mod connect;
mod error;
mod identity;
mod live;
mod pool;
mod relay;
mod upstream;

pub mod operator;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use model::TenantId;
use rustls::ClientConfig;
use url::Url;

pub use self::address::{Policy, Refusal};
pub use self::body::Body;
pub use self::dial::{Dialed, Dialer, SystemDialer};
pub use self::error::{EgressError, Sent};
pub use self::identity::{BadIdentity, Identity};
pub use self::resolve::{Resolver, SystemResolver};
pub use self::rule::opens_nothing;
pub use self::socket::{Io, Socket};
pub use self::upstream::Upstream;

use self::pool::Sweeper;

/// The way out of a process. Cheap to clone.
#[derive(Clone)]
pub struct Egress {
    shared: Arc<Shared>,
}

/// Bounds for one upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For resolving, connecting and the TLS handshake together.
    pub connect: Duration,
    /// From the request handed to the connection to the head of the response.
    pub first_byte: Duration,
    /// Idle connections kept; what comes back beyond them is closed.
    pub idle_connections: usize,
}

/// What all upstreams of an [`Egress`] share.
pub(crate) struct Shared {
    pub(crate) policy: ArcSwap<Policy>,
    pub(crate) resolver: Arc<dyn Resolver>,
    pub(crate) dialer: Arc<dyn Dialer>,
    /// Without it every handshake fails.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) sweeper: Arc<Sweeper>,
}

impl Egress {
    /// The system's resolver and sockets, the Mozilla roots. [`EgressError::Tls`] if TLS can't be set up.
    pub fn new(policy: Policy) -> Result<Self, EgressError> {
        let tls = tls::public_roots()?;
        Ok(Self::with(policy, Arc::new(SystemResolver::default()), Arc::new(SystemDialer), Some(tls)))
    }

    /// With a resolver, a dialer and TLS settings of the caller's; without settings, the Mozilla roots.
    pub fn with(
        policy: Policy,
        resolver: Arc<dyn Resolver>,
        dialer: Arc<dyn Dialer>,
        tls: Option<ClientConfig>,
    ) -> Self {
        let tls = tls.or_else(|| tls::public_roots().ok()).map(tls::http1_only);
        let sweeper = Arc::<Sweeper>::default();
        sweeper.retire(policy.revision);
        let shared =
            Shared { policy: ArcSwap::from_pointee(policy), resolver, dialer, tls: tls.map(Arc::new), sweeper };
        Self { shared: Arc::new(shared) }
    }

    /// Look-ups of names under way and how many there may be at once, where the resolver has a bound.
    pub fn lookups(&self) -> Option<(u64, u64)> {
        self.shared.resolver.fill()
    }

    /// Replaces the policy. A changed `revision` retires every pooled connection (none is used again,
    /// those that rest are closed within a second), the same one keeps them; requests in flight finish.
    pub fn set_policy(&self, policy: Policy) {
        self.shared.sweeper.retire(policy.revision);
        self.shared.policy.store(Arc::new(policy));
    }

    /// The policy in force.
    pub fn policy(&self) -> Arc<Policy> {
        self.shared.policy.load_full()
    }

    /// An origin of a tenant with a pool of its own. Refused only what no policy could allow: it may
    /// change at any time, and each new connection is judged by the one in force.
    pub fn upstream(&self, tenant: TenantId, url: &Url, limits: Limits) -> Result<Upstream, Refusal> {
        Upstream::new(Arc::clone(&self.shared), tenant, url, limits, None)
    }

    /// The same, where each TLS handshake shows a client certificate. Its connections serve nobody else.
    pub fn upstream_as(
        &self,
        tenant: TenantId,
        url: &Url,
        limits: Limits,
        identity: &Identity,
    ) -> Result<Upstream, Refusal> {
        let tls = self.shared.tls.as_deref().map(|tls| Arc::new(identity.shown_by(tls)));
        Upstream::new(Arc::clone(&self.shared), tenant, url, limits, tls)
    }
}

impl fmt::Debug for Egress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Egress").field("policy", &self.policy()).finish_non_exhaustive()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), first_byte: Duration::from_secs(30), idle_connections: 64 }
    }
}
