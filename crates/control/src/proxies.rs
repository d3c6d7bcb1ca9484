//! The attached proxies as the rest of control sees them: the fleet, or a double in tests.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use model::{Digest, Principal, ResourceName, Revision, ServerId, ServerSpec, TenantId, Transport, UpstreamUrl};
use tokio::sync::watch;
use wire::{Challenge, HeaderLines};

use crate::fleet::LinkCounters;

/// A proxy whose stream to some replica of control is open.
#[derive(Debug, Clone, Default)]
pub struct AttachedProxy {
    /// `pool/random-per-boot`.
    pub node: String,
    /// The pool that its certificate names.
    pub pool: String,
    /// The replica of control that holds its stream.
    pub replica: String,
    /// When it attached, microseconds since 1970.
    pub since: i64,
    /// The newest revision that it has in its table.
    pub applied: Revision,
    /// Whether the last heartbeat's digest was ours.
    pub digest_matches: bool,
    /// What it refused, and why; it keeps the last good version of each.
    pub rejected: Vec<(ResourceName, String)>,
    /// Mounts in its table.
    pub mounts: u32,
    /// Its stream was ended by a newer one of the same node id more than three times within the last minute: two
    /// processes seem to have that id. Known of the proxies of this replica.
    pub duplicate_node: bool,
    /// When its certificate ends, microseconds since 1970. Known of the proxies of this replica.
    pub certificate_until: Option<i64>,
}

/// How far a change has come, over the proxies seen in the last 60 s.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effective {
    /// Proxies that have it in their table.
    pub live: u32,
    /// Proxies that have not answered yet.
    pub pending: u32,
    /// Proxies that refused it.
    pub rejected: Vec<Rejected>,
}

/// One proxy's refusal of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The proxy's node id.
    pub proxy: String,
    /// Why.
    pub reason: String,
}

/// An upstream to look at before a record exists.
#[derive(Debug, Clone)]
pub struct ProbeRequest {
    /// For whom.
    pub tenant: TenantId,
    /// Where.
    pub url: UpstreamUrl,
    /// How; `Auto` finds out.
    pub transport: Transport,
    /// Public headers to send.
    pub headers: Vec<(String, String)>,
    /// Limit for connecting.
    pub connect_timeout: Duration,
    /// Limit for the first byte of an answer.
    pub read_timeout: Duration,
    /// The credential to try; `None`: without one.
    pub lines: Option<Arc<HeaderLines>>,
}

/// What a probe found.
#[derive(Debug, Clone)]
pub struct ProbeReport {
    /// What the upstream speaks; never `Auto`.
    pub transport: Transport,
    /// The MCP revision that was agreed.
    pub revision: String,
    /// Which eras of the protocol it speaks.
    pub eras: model::Eras,
    /// The upstream's own name and version, a JSON object.
    pub server_info: String,
    /// Its tools, a JSON array.
    pub tools: String,
    /// How long it took, milliseconds.
    pub latency_ms: u64,
    /// It answered 401 or 403: it is there, and not content with the credential, or with none.
    pub challenge: Option<Challenge>,
}

/// Why a command to a proxy gave no result.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommandError {
    /// Nobody to ask.
    #[error("no proxy is attached")]
    NoProxyAttached,
    /// The proxy did not answer in time.
    #[error("the proxy did not answer in time")]
    TimedOut,
    /// The upstream failed: timeout, refused, auth, not_found, protocol, dns, tls, address_blocked or other.
    #[error("the upstream failed ({class}): {message}")]
    Upstream {
        /// Which kind of failure.
        class: String,
        /// One sentence without internals.
        message: String,
    },
    /// The proxy refused the command.
    #[error("the proxy refused: {0}")]
    Rejected(String),
}

/// One proxy's answer to the question what it has mounted.
#[derive(Debug, Clone)]
pub struct ObservedProxy {
    /// The node id.
    pub node: String,
    /// The pool that its certificate names.
    pub pool: String,
    /// Whether it answered in time; if not, `mounts` is empty and says nothing.
    pub answered: bool,
    /// What it has mounted.
    pub mounts: Vec<ObservedMount>,
}

/// One mount of a proxy.
#[derive(Debug, Clone)]
pub struct ObservedMount {
    /// Whose it is.
    pub tenant: TenantId,
    /// The record it came from; for an internal mount an id of the proxy's own.
    pub server: ServerId,
    /// The slug.
    pub name: String,
    /// The title.
    pub title: String,
    /// Where its upstream is.
    pub url: String,
    /// The digest of what is mounted.
    pub digest: Digest,
    /// Added through the proxy's internal calls, not by control.
    pub internal: bool,
    /// Milliseconds until the upstream is tried again; `None` when it isn't cooling.
    pub cooling_ms: Option<u64>,
    /// Of an internal mount: all that a record of it needs.
    pub spec: Option<Box<ServerSpec>>,
}

/// Which proxies are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Those whose streams this replica holds.
    Own,
    /// Those of every replica.
    All,
}

/// What control asks of the fleet. Two implementations: the fleet, and a double in tests.
#[async_trait]
pub trait Proxies: Send + Sync + 'static {
    /// The proxies whose streams are open, on any replica.
    fn attached(&self) -> Vec<AttachedProxy>;
    /// Changes whenever a proxy attaches to this replica.
    fn attachments(&self) -> watch::Receiver<u64>;
    /// How far a change has come, after a wait of at most `wait`.
    async fn effective(&self, revision: Revision, resource: ResourceName, wait: Duration) -> Effective;
    /// Looks at an upstream from a proxy's position in the network.
    async fn probe(&self, request: ProbeRequest) -> Result<ProbeReport, CommandError>;
    /// The tools of a mounted server as a JSON array, with the upstream's names.
    async fn list_tools(
        &self,
        tenant: TenantId,
        server: ServerId,
        requester: Principal,
    ) -> Result<String, CommandError>;
    /// Calls a tool; the answer is `{"result":…}` or `{"error":…}` as the upstream gave it.
    async fn call(
        &self,
        tenant: TenantId,
        server: ServerId,
        principal: Principal,
        tool: &str,
        arguments_json: &str,
    ) -> Result<String, CommandError>;
    /// Asks attached proxies whose pools have tenants what they have mounted.
    async fn observe(&self, reach: Reach) -> Vec<ObservedProxy>;
    /// Pushes again to a proxy what differs. `prune` first removes what it was given past control: of one tenant,
    /// or of all.
    async fn resync(&self, node: &str, prune: Option<Option<TenantId>>);
    /// What the link has counted since the start.
    fn counters(&self) -> Arc<LinkCounters> {
        Arc::default()
    }
}
