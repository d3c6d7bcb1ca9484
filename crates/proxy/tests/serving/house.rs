//! One data plane with a table of the test's making, and the street that its connections take.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use egress::{Dialed, Dialer, Egress, Policy, SystemDialer, SystemResolver};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use model::{
    Generation, KeyRole, KeyScopes, KeyText, KeyVerifier, Limits, ManualClock, Resource, ResourceName, ServerId,
    ServerLimits, ServerSpec, TenantId, TenantSpec, Transport, UpstreamUrl,
};
use proxy::{Change, Commands, Gate, Hosts, Readiness, Sealer, Tables, serve};
use rustls::ClientConfig;
use telemetry::Metrics;
use tests::Mcp;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::scripted::Scripted;

/// When the clock of every house begins, microseconds since 1970.
pub(crate) const MORNING: i64 = 1_800_000_000_000_000;

/// A data plane; ends when it is dropped.
pub(crate) struct House {
    pub(crate) tables: Arc<Tables>,
    pub(crate) commands: Commands,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) street: Arc<Street>,
    pub(crate) control: Arc<Scripted>,
    metrics: Metrics,
    base: String,
    ended: CancellationToken,
}

/// The way to upstreams: counts who is dialled, refuses as often as it is told to, and knows where
/// addresses lead that this machine does not have.
#[derive(Default)]
pub(crate) struct Street {
    dials: AtomicU32,
    refusals: AtomicU32,
    leads: Mutex<HashMap<IpAddr, SocketAddr>>,
}

impl Street {
    /// How often a connection was tried.
    pub(crate) fn dials(&self) -> u32 {
        self.dials.load(Ordering::SeqCst)
    }

    /// Nobody answers the next so many times.
    pub(crate) fn refuse_next(&self, times: u32) {
        self.refusals.store(times, Ordering::SeqCst);
    }

    /// Whoever dials `inner` gets to the port of `url`.
    pub(crate) fn lead(&self, inner: &str, url: &str) {
        let port = UpstreamUrl::parse(url).unwrap().url().port().unwrap();
        self.leads.lock().unwrap().insert(inner.parse().unwrap(), SocketAddr::from(([127, 0, 0, 1], port)));
    }
}

// A newtype around the street that the trait can be written for.
struct On(Arc<Street>);

impl Dialer for On {
    fn dial(&self, addr: SocketAddr) -> BoxFuture<'static, io::Result<Dialed>> {
        let street = &self.0;
        street.dials.fetch_add(1, Ordering::SeqCst);
        let one_less = |left: u32| left.checked_sub(1);
        if street.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
            return async { Err(io::ErrorKind::ConnectionRefused.into()) }.boxed();
        }
        let real = street.leads.lock().unwrap().get(&addr.ip()).copied().unwrap_or(addr);
        async move { Ok(Dialed { peer: addr, local: None, ..SystemDialer.dial(real).await? }) }.boxed()
    }
}

impl House {
    /// In dev mode, with the tenant of [`tenant`].
    pub(crate) async fn start() -> Self {
        Self::under(Policy { dev: true, ..Policy::default() }).await
    }

    /// Under this address policy, with the tenant of [`tenant`].
    pub(crate) async fn under(policy: Policy) -> Self {
        Self::with(policy, None).await
    }

    /// In dev mode, and with these settings for TLS to upstreams in place of the public roots.
    pub(crate) async fn trusting(tls: ClientConfig) -> Self {
        Self::with(Policy { dev: true, ..Policy::default() }, Some(tls)).await
    }

    async fn with(policy: Policy, tls: Option<ClientConfig>) -> Self {
        let street = Arc::<Street>::default();
        let egress = Egress::with(policy, Arc::new(SystemResolver::default()), Arc::new(On(street.clone())), tls);
        let tables = Arc::new(Tables::new(egress.clone()));
        let (readiness, clock) = (Arc::new(Readiness::default()), Arc::new(ManualClock::at(MORNING)));
        readiness.table_is_there();
        readiness.heard(MORNING);
        let sealer = Arc::new(Sealer::with_own_key());
        let (hosts, metrics) = (Hosts::default(), Metrics::new());
        let control = Arc::<Scripted>::default();
        let gate = Gate::new(tables.clone(), sealer, clock.clone(), hosts, readiness.clone(), egress, &metrics);
        let gate = Arc::new(gate.asking(control.clone()));
        gate.show(&metrics);
        let commands = Commands::new(gate.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let ended = CancellationToken::new();
        tokio::spawn(serve(listener, gate, ended.clone()));
        let house = Self { tables, commands, readiness, clock, street, control, metrics, base, ended };
        house.put([Resource::Tenant(tenant())]);
        house
    }

    /// Makes these part of the table.
    pub(crate) fn put(&self, upserts: impl IntoIterator<Item = Resource>) {
        let upserts = upserts.into_iter().collect();
        assert_eq!(self.tables.apply(Change { upserts, ..Change::default() }), []);
    }

    /// Takes these out of the table.
    pub(crate) fn remove(&self, removes: impl IntoIterator<Item = ResourceName>) {
        let removes = removes.into_iter().collect();
        assert_eq!(self.tables.apply(Change { removes, ..Change::default() }), []);
    }

    /// Mounts a server.
    pub(crate) fn mount(&self, server: &ServerSpec) {
        self.put([Resource::Server(server.clone())]);
    }

    /// A key of this role, known here.
    pub(crate) fn key(&self, role: KeyRole) -> Key {
        let text = KeyText::mint("test", *Uuid::new_v4().as_bytes(), [9; 32]);
        let verifier = KeyVerifier {
            id: text.id(),
            tenant: tenant().id,
            user: None,
            role,
            scopes: KeyScopes::PLAIN,
            sha256: text.sha256(),
            servers: None,
            expires_at: None,
        };
        self.put([Resource::Key(verifier.clone())]);
        Key { text: text.expose().expose().to_owned(), verifier }
    }

    /// How many requests to a server ended with this outcome.
    pub(crate) fn ended(&self, server: &str, outcome: &str) -> u32 {
        let series = format!(
            r#"gatehouse_upstream_requests_total{{outcome="{outcome}",server="{server}",tenant="{}"}} "#,
            tenant().id
        );
        let text = self.metrics.render();
        let value = text.lines().find_map(|line| line.strip_prefix(&series));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// How many requests wait for an upstream.
    pub(crate) fn under_way(&self) -> usize {
        self.reading("gatehouse_calls_under_way ")
    }

    /// How many requests have a place at a server, whether they are sent already or not.
    pub(crate) fn placed(&self, server: &str) -> usize {
        let (bound, tenant) = ("upstream_places", tenant().id);
        let series = format!(r#"gatehouse_bound_used{{bound="{bound}",server="{server}",tenant="{tenant}"}} "#);
        let text = self.metrics.render();
        // What is not in use is not shown.
        text.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |value| value.parse().unwrap())
    }

    /// How much of a bound that is nobody's in particular is in use.
    pub(crate) fn bound(&self, bound: &str) -> usize {
        self.reading(&format!(r#"gatehouse_bound_used{{bound="{bound}",server="",tenant=""}} "#))
    }

    fn reading(&self, series: &str) -> usize {
        let text = self.metrics.render();
        let value = text.lines().find_map(|line| line.strip_prefix(series));
        value.unwrap_or_else(|| panic!("no {series}in {text}")).parse().unwrap()
    }

    /// The URL of a path.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// A session of a fresh key on the URL of a server.
    pub(crate) async fn session(&self, server: &str) -> Mcp {
        Mcp::open(&self.at(&format!("/servers/{server}/mcp")), &self.key(KeyRole::User).text).await
    }

    /// A session of a fresh key on everything.
    pub(crate) async fn session_on_all(&self) -> Mcp {
        Mcp::open(&self.at("/mcp"), &self.key(KeyRole::User).text).await
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

/// A key as its holder and as the table have it.
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) verifier: KeyVerifier,
}

/// The tenant of every house.
pub(crate) fn tenant() -> TenantSpec {
    TenantSpec {
        id: TenantId(Uuid::from_u128(1)),
        name: "acme".parse().unwrap(),
        limits: Limits::default(),
        stale_after: Some(TenantSpec::STALE_AFTER),
        authorization_server: true,
    }
}

/// A server at a URL; tries nothing again.
pub(crate) fn server(name: &str, url: &str) -> ServerSpec {
    ServerSpec {
        id: ServerId::fresh(),
        tenant: tenant().id,
        name: name.parse().unwrap(),
        title: name.to_owned(),
        generation: Generation(1),
        transport: Transport::StreamableHttp,
        url: UpstreamUrl::parse(url).unwrap(),
        headers: Vec::new(),
        connect_timeout: Duration::from_secs(10),
        read_timeout: Duration::from_secs(30),
        disabled_tools: Vec::new(),
        trust_hints: false,
        retry_count: 0,
        retry_delay: Duration::from_millis(5),
        limits: ServerLimits::default(),
        binding: None,
        eras: model::Eras::default(),
    }
}
