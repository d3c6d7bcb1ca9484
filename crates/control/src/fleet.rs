//! The attached proxies: serves the link, pushes the intended state to each, and asks them to do things.
//!
//! Start with [`session`], the pure rules of pushing; `stream` runs one per attached proxy, `publish`
//! follows the database for all of them, `roster` is what everybody else may know. Several replicas of control
//! work on one database: `others` is what the rows say of their proxies, `relay` passes commands on to them.

mod ask;
mod counters;
mod effective;
mod housekeeping;
mod intended;
mod keys;
mod lag;
mod others;
mod peers;
mod publish;
mod rates;
mod relay;
mod roster;
mod service;
mod session;
mod shown;
mod sight;
mod stream;
#[cfg(test)]
mod tests;
mod tickets;

use std::collections::HashSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use model::{Clock, Principal, ResourceName, Revision, ServerId, TenantId};
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;
use wire::server::LinkServer;
use wire::{Report, ResolveQuestion, Resolved};

pub use self::counters::{Count, Latency, LinkCounters, PUSH_MILLIS};
use self::effective::Question;
use self::intended::Intended;
use self::keys::Keys;
pub(crate) use self::keys::{PLACE as SEALING_KEYS_PLACE, ROW as SEALING_KEYS_ROW};
use self::lag::Lag;
use self::others::Others;
use self::rates::Rates;
use self::relay::Relay;
use self::roster::{MISSED, Roster};
use self::tickets::Tickets;
use crate::credentials::{Asked, Credentials, ResolveError};
use crate::issuers::Wanted;
use crate::keyring::Keyring;
use crate::proxies::{
    AttachedProxy, CommandError, Effective, ObservedProxy, ProbeReport, ProbeRequest, Proxies, Reach,
};
use crate::timers::scaled;

/// How long a proxy's question waits for the first read of the database.
const FIRST_READ: Duration = Duration::from_secs(5);
/// How long open streams may take to end when the process stops.
const DRAIN: Duration = Duration::from_secs(2);
/// Snapshots under way at once.
const SENDS: usize = 32;
/// While somebody waits for proxies of other replicas, their rows are looked at so often.
const LOOK: Duration = Duration::from_millis(50);

/// The attached proxies.
pub struct Fleet {
    store: Store,
    clock: Arc<dyn Clock>,
    /// The name of this replica, new at every start.
    replica: String,
    /// Whether other replicas may live now.
    shared: bool,
    roster: Roster,
    others: Others,
    /// Which proxies of each pool are there.
    peers: watch::Sender<Arc<peers::Pools>>,
    relay: Relay,
    keys: Keys,
    tickets: Tickets,
    keyring: Arc<Keyring>,
    rates: Rates,
    /// What has credentials: made after the fleet, since it asks the fleet.
    resolver: OnceLock<Arc<dyn Resolver>>,
    counters: Arc<LinkCounters>,
    /// Ids of commands; they mean something within one stream only.
    commands: AtomicU64,
    /// `None` until the database was read once.
    intended: watch::Sender<Option<Arc<Intended>>>,
    /// Held by the one that reads the intended state.
    reading: Mutex<()>,
    /// Held by the one that finds out what a proxy's revision means.
    checking: Mutex<()>,
    sends: Arc<Semaphore>,
    /// The changes that not every proxy has.
    lag: Lag,
    /// Issuers of whose tokens some proxy lacks a key.
    wanted: Arc<Wanted>,
}

/// The link can't be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener failed.
    #[error("the link's listener failed")]
    Listener(#[source] tonic::transport::Error),
}

impl Fleet {
    /// A fleet without proxies. Nothing happens until [`Fleet::serve`].
    pub(crate) fn new(store: Store, keyring: Arc<Keyring>, clock: Arc<dyn Clock>) -> Arc<Self> {
        let shared = store.is_shared();
        Self::one_of(store, keyring, clock, shared)
    }

    fn one_of(store: Store, keyring: Arc<Keyring>, clock: Arc<dyn Clock>, shared: bool) -> Arc<Self> {
        // New at every start: what an earlier life of this replica has begun is not ours.
        let replica = Uuid::new_v4().simple().to_string();
        Arc::new(Self {
            keys: Keys::new(store.clone(), keyring.clone(), clock.clone()),
            rates: Rates::new(clock.clone()),
            resolver: OnceLock::new(),
            keyring,
            tickets: Tickets::new(clock.clone()),
            roster: Roster::new(replica.clone(), clock.clone()),
            others: Others::new(store.clone(), clock.clone(), replica.clone(), shared),
            peers: watch::Sender::default(),
            relay: Relay::new(),
            counters: Arc::default(),
            commands: AtomicU64::new(1),
            intended: watch::Sender::new(None),
            reading: Mutex::default(),
            checking: Mutex::default(),
            sends: Arc::new(Semaphore::new(SENDS)),
            lag: Lag::default(),
            wanted: Arc::default(),
            replica,
            shared,
            store,
            clock,
        })
    }

    /// Serves the link on `listener` until `shutdown`; ends all streams before it returns. New connections are taken
    /// with the certificates that `tls` has then.
    pub async fn serve(
        self: &Arc<Self>,
        listener: TcpListener,
        tls: watch::Receiver<Arc<rustls::ServerConfig>>,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        // Proxies that this replica's earlier life has seen a moment ago serve and will come back.
        housekeeping::look(self).await;
        let mut background = vec![
            tokio::spawn(publish::run(self.clone(), shutdown.clone())),
            tokio::spawn(housekeeping::run(self.clone(), shutdown.clone())),
            tokio::spawn(peers::run(self.clone(), shutdown.clone())),
        ];
        if self.shared {
            let store = self.store.clone();
            background.extend([
                tokio::spawn(async move { store.listen().await }),
                tokio::spawn(housekeeping::run_shared(self.clone(), shutdown.clone())),
                tokio::spawn(self.clone().run_relay(shutdown.clone())),
            ]);
        }
        let service = LinkServer::new(service::Service { fleet: self.clone(), shutdown: shutdown.clone() })
            .max_decoding_message_size(wire::MESSAGE_LIMIT)
            .max_encoding_message_size(wire::MESSAGE_LIMIT);
        let serving = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(Duration::from_secs(20)))
            .http2_keepalive_timeout(Some(Duration::from_secs(10)))
            .max_concurrent_streams(64)
            .add_service(service)
            .serve_with_incoming_shutdown(wire::incoming(listener, tls), shutdown.clone().cancelled_owned());
        // A peer that never closes its connection must not keep the process alive.
        let deadline = async {
            shutdown.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        let served = tokio::select! {
            served = serving => served.map_err(ServeError::Listener),
            () = deadline => Ok(()),
        };
        background.iter().for_each(tokio::task::JoinHandle::abort);
        // The streams that have just ended: another replica may wait for their proxies.
        housekeeping::write(self).await;
        served
    }

    /// Has questions for header lines answered by `resolver`, from now on; only the first one counts.
    pub(crate) fn resolve_with(&self, resolver: Arc<dyn Resolver>) {
        if self.resolver.set(resolver).is_err() {
            tracing::error!("two parts want to answer for credentials");
        }
    }

    /// Issuers of whose tokens proxies lack a key.
    pub(crate) fn wanted(&self) -> Arc<Wanted> {
        self.wanted.clone()
    }

    /// What is published; nothing before the database was read.
    fn known(&self) -> Arc<Intended> {
        self.intended.borrow().clone().unwrap_or_default()
    }

    /// What is published; a control that has just started is given a moment to read it.
    async fn published(&self) -> Result<Arc<Intended>, Status> {
        let mut intended = self.intended.subscribe();
        let known = tokio::time::timeout(scaled(FIRST_READ), intended.wait_for(Option::is_some)).await;
        let known = known.ok().and_then(|known| known.ok()?.clone());
        known.ok_or_else(|| Status::unavailable("the intended state is not known yet"))
    }

    /// Counts the changes that the last attached proxy has by now.
    fn acknowledged(&self) {
        if self.lag.len() == 0 {
            return;
        }
        let now = self.clock.now_micros();
        for commit in self.lag.reached(self.roster.reached()) {
            let lag = if commit.urgent { &self.counters.revoke_lag } else { &self.counters.config_lag };
            lag.took(Duration::from_micros(u64::try_from(now - commit.at).unwrap_or(0)));
        }
    }

    /// How far a change has come, as far as is known here now.
    fn look_at(&self, revision: Revision, resource: ResourceName) -> Effective {
        let (intended, others) = (self.intended.borrow().clone(), self.others.seen());
        let question = Question {
            revision,
            resource,
            window: scaled(MISSED),
            // Before anything is known, every proxy may be to have it.
            concerns: |pool: &str| intended.as_ref().is_none_or(|known| known.concerns(pool, &resource)),
            others: &others,
        };
        self.roster.with_nodes(|nodes| effective::effective(nodes, &question))
    }
}

/// What has credentials, as the link sees it.
#[async_trait]
pub(crate) trait Resolver: Send + Sync + 'static {
    /// Answers a proxy whose pool serves the tenant.
    async fn resolve(&self, asked: Asked<'_>) -> Result<Resolved, ResolveError>;
    /// Takes what upstreams said, of tenants that the proxy's pool serves.
    async fn report(&self, report: &Report) -> Result<(), ResolveError>;
    /// Writes down a question that the link refused.
    async fn refused(&self, question: &ResolveQuestion, why: &'static str);
}

#[async_trait]
impl Resolver for Credentials {
    async fn resolve(&self, asked: Asked<'_>) -> Result<Resolved, ResolveError> {
        self.resolve(asked).await
    }

    async fn report(&self, report: &Report) -> Result<(), ResolveError> {
        self.report(report).await
    }

    async fn refused(&self, question: &ResolveQuestion, why: &'static str) {
        self.refused(question, why).await;
    }
}

#[async_trait]
impl Proxies for Fleet {
    fn attached(&self) -> Vec<AttachedProxy> {
        let mut attached = self.roster.attached();
        let ours: HashSet<String> = attached.iter().map(|proxy| proxy.node.clone()).collect();
        attached.extend(self.others.attached().into_iter().filter(|proxy| !ours.contains(&proxy.node)));
        attached.sort_by(|a, b| a.node.cmp(&b.node));
        attached
    }

    fn attachments(&self) -> watch::Receiver<u64> {
        self.roster.attachments()
    }

    async fn effective(&self, revision: Revision, resource: ResourceName, wait: Duration) -> Effective {
        let deadline = tokio::time::Instant::now() + wait;
        let (mut progress, mut hinted) = (self.roster.progress(), self.store.statuses_hinted());
        loop {
            if self.shared || self.intended.borrow().is_none() {
                housekeeping::look(self).await;
            }
            let effective = self.look_at(revision, resource);
            if effective.pending == 0 {
                return effective;
            }
            let news = async {
                tokio::select! {
                    _ = progress.changed() => (),
                    _ = hinted.changed(), if self.shared => (),
                    () = tokio::time::sleep(LOOK), if self.shared => (),
                }
            };
            if tokio::time::timeout_at(deadline, news).await.is_err() {
                return effective;
            }
        }
    }

    async fn probe(&self, request: ProbeRequest) -> Result<ProbeReport, CommandError> {
        self.ask_probe(request).await
    }

    async fn list_tools(
        &self,
        tenant: TenantId,
        server: ServerId,
        requester: Principal,
    ) -> Result<String, CommandError> {
        self.ask_list(tenant, server, requester).await
    }

    async fn call(
        &self,
        tenant: TenantId,
        server: ServerId,
        principal: Principal,
        tool: &str,
        arguments_json: &str,
    ) -> Result<String, CommandError> {
        self.ask_call(tenant, server, principal, tool, arguments_json).await
    }

    async fn observe(&self, reach: Reach) -> Vec<ObservedProxy> {
        self.ask_observe(reach).await
    }

    async fn resync(&self, node: &str, prune: Option<Option<TenantId>>) {
        self.ask_resync(node, prune).await;
    }

    fn counters(&self) -> Arc<LinkCounters> {
        self.counters.clone()
    }
}
