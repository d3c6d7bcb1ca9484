//! What all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::{Clock, ConnectionStatus};
use moka::policy::EvictionPolicy;
use telemetry::Metrics;

use crate::built_in::BuiltIn;
use crate::credentials::{Control, Credentials, Part};
use crate::elsewhere::Elsewhere;
use crate::flights::Flights;
use crate::hosts::Hosts;
use crate::metrics::Counters;
use crate::peers::Peers;
use crate::principal::Tokens;
use crate::readiness::Readiness;
use crate::seal::Sealer;
use crate::session::{NodeTag, Uid};
use crate::table::{Table, Tables};
use crate::unknown_keys::UnknownKeys;
use crate::upstream_sessions::UpstreamSessions;
use crate::views::Views;

/// Most sessions of which it is known that their clients ended them.
pub(crate) const ENDED: u64 = 100_000;

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
    pub(crate) views: Views,
    pub(crate) built_in: BuiltIn,
    pub(crate) counters: Arc<Counters>,
    /// Sessions that their clients ended.
    pub(crate) ended: moka::sync::Cache<Uid, ()>,
    pub(crate) draining: AtomicBool,
    pub(crate) egress: egress::Egress,
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
        let credentials = Credentials::new(tables.clone(), clock.clone(), egress.clone());
        Self {
            views: Views::new(sealer.clone()),
            tables,
            sealer,
            clock,
            hosts,
            tokens: Tokens::new(move |issuer, now| told.note(issuer, now)),
            unknown_keys,
            readiness,
            sessions: Arc::new(UpstreamSessions::new(credentials)),
            flights: Arc::default(),
            built_in: BuiltIn::default(),
            counters: Arc::new(Counters::new(metrics)),
            ended: moka::sync::Cache::builder()
                .max_capacity(ENDED)
                // The default would rather not take a new one in than lose one that is asked for often.
                .eviction_policy(EvictionPolicy::lru())
                .time_to_live(Duration::from_secs(24 * 3600))
                .build(),
            draining: AtomicBool::new(false),
            egress,
            node: NodeTag::default(),
            elsewhere: None,
        }
    }

    /// The gate of this node, by the name under which control and its peers know it.
    #[must_use]
    pub fn of_node(self, node: &str) -> Self {
        Self { node: NodeTag::of(node), ..self }
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
        self.end_sessions(&table).await;
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
