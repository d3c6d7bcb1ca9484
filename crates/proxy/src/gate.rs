//! What all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::{Clock, ConnectionStatus};
use telemetry::Metrics;

use crate::built_in::BuiltIn;
use crate::client_sessions::ClientSessions;
use crate::credentials::{Control, Credentials, Part};
use crate::elsewhere::Elsewhere;
use crate::events::Events;
use crate::flights::Flights;
use crate::hosts::Hosts;
use crate::hub::Hub;
use crate::metrics::Counters;
use crate::peers::Peers;
use crate::principal::Tokens;
use crate::questions::Questions;
use crate::readiness::Readiness;
use crate::seal::Sealer;
use crate::session::{NodeTag, Uid};
use crate::shelf::Shelves;
use crate::sse_clients::SseClients;
use crate::subscriptions::Subscribers;
use crate::table::{Table, Tables};
use crate::unknown_keys::UnknownKeys;
use crate::upstream_sessions::UpstreamSessions;
use crate::views::Views;

/// Everything that requests share.
pub struct Gate {
    pub(crate) tables: Arc<Tables>,
    pub(crate) sealer: Arc<Sealer>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) hosts: Hosts,
    pub(crate) tokens: Tokens,
    /// Issuers that control should ask for their keys.
    pub(crate) unknown_keys: UnknownKeys,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) sessions: Arc<UpstreamSessions>,
    pub(crate) flights: Arc<Flights>,
    /// What upstreams asked clients.
    pub(crate) questions: Arc<Questions>,
    /// What clients may come back for.
    pub(crate) events: Arc<Events>,
    pub(crate) views: Views,
    /// What can be searched, and what toolsets hold.
    pub(crate) shelves: Shelves,
    pub(crate) built_in: BuiltIn,
    pub(crate) counters: Arc<Counters>,
    /// What is kept of clients' sessions beside their ids.
    pub(crate) client_sessions: Arc<ClientSessions>,
    /// What is subscribed to upstream for clients without sessions.
    pub(crate) subscribers: Arc<Subscribers>,
    pub(crate) draining: AtomicBool,
    pub(crate) egress: egress::Egress,
    /// The streams of clients of 2024-11-05.
    pub(crate) sse_clients: SseClients,
    /// What names this node in ids that clients bring back.
    pub(crate) node: NodeTag,
    /// The other proxies; `None` where this one shares sessions with nobody.
    pub(crate) elsewhere: Option<Elsewhere>,
}

impl Gate {
    /// A gate on these tables. `hosts` are the names under which it is reached.
    pub fn new(
        tables: Arc<Tables>,
        sealer: Arc<Sealer>,
        clock: Arc<dyn Clock>,
        hosts: Hosts,
        readiness: Arc<Readiness>,
        egress: egress::Egress,
        metrics: &Metrics,
    ) -> Self {
        let unknown_keys = UnknownKeys::default();
        let told = unknown_keys.clone();
        let questions = Arc::<Questions>::default();
        let client_sessions = Arc::<ClientSessions>::default();
        let credentials = Credentials::new(tables.clone(), clock.clone(), egress.clone());
        Self {
            views: Views::new(sealer.clone()),
            shelves: Shelves::new(sealer.clone()),
            tables,
            sealer,
            clock,
            hosts,
            tokens: Tokens::new(move |issuer, now| told.note(issuer, now)),
            unknown_keys,
            readiness,
            sessions: Arc::new(UpstreamSessions::new(credentials, questions.clone(), client_sessions.clone())),
            flights: Arc::default(),
            questions,
            events: Arc::default(),
            built_in: BuiltIn::default(),
            counters: Arc::new(Counters::new(metrics)),
            client_sessions,
            subscribers: Arc::default(),
            draining: AtomicBool::new(false),
            egress,
            sse_clients: SseClients::default(),
            node: NodeTag::default(),
            elsewhere: None,
        }
    }

    /// The gate of this node, by the name under which control and its peers know it.
    #[must_use]
    pub fn of_node(self, node: &str) -> Self {
        let node = NodeTag::of(node);
        self.questions.of_node(node);
        self.events.of_node(node);
        Self { node, ..self }
    }

    /// The same, which shares sessions with these.
    #[must_use]
    pub(crate) fn beside(self, peers: Arc<Peers>) -> Self {
        Self { elsewhere: Some(Elsewhere::new(peers)), ..self }
    }

    /// Ends what nobody may or will use again: streams of tenants whose table is too old, or of callers whose
    /// time is over, and sessions with upstreams. Called every now and then.
    pub(crate) async fn tidy(&self) {
        let (table, now) = (self.tables.load_full(), self.clock.now_micros());
        for tenant in table.tenants() {
            if self.readiness.check(now, tenant.spec.stale_after).is_err() {
                tenant.hub.end_streams(|_| false);
            }
        }
        table.end_streams(now);
        self.sessions.credentials.tidy();
        self.questions.tidy();
        self.events.tidy();
        self.leave_sessions(&table);
        self.end_sessions(&table).await;
    }

    /// Ends clients' sessions that nobody uses any more.
    fn leave_sessions(&self, table: &Table) {
        let flying = self.flights.sessions();
        let listens = |tenant, uid| table.tenant(tenant).is_some_and(|tenant| tenant.hub.is_open(uid));
        for (tenant, uid) in self.client_sessions.sweep(|tenant, uid| flying.contains(&uid) || listens(tenant, uid)) {
            self.forget_session(table.tenant(tenant).map(|tenant| &*tenant.hub), uid);
        }
    }

    /// Lets go of what streams kept of a session that is over.
    pub(crate) fn forget_session(&self, hub: Option<&Hub>, uid: Uid) {
        if let Some(hub) = hub {
            hub.end(uid);
        }
        self.questions.forget(uid);
        self.events.forget(uid);
        self.sessions.listening.left(uid);
    }

    /// Ends sessions with upstreams whose caller or connection is gone.
    pub(crate) async fn end_sessions(&self, table: &Table) {
        let there = |part: &Part| {
            part.connection.is_none_or(|id| {
                table.connections().get(id).is_some_and(|spec| {
                    spec.credential_version == part.credential_version && spec.status == ConnectionStatus::Active
                })
            })
        };
        self.sessions.sweep(|caller| caller.is_known(table), there).await;
    }

    /// Who is asked for credentials; the first one stays.
    #[must_use]
    pub fn asking(self, control: Arc<dyn Control>) -> Self {
        self.sessions.credentials.ask_of(control);
        self
    }

    /// From now on new requests are refused; calls under way finish, streams end.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        for tenant in self.tables.load().tenants() {
            tenant.hub.end_streams(|_| false);
        }
    }
}
