//! The attached proxies: serves the link, pushes the intended state to each, and asks them to do things.
//!
//! Start with [`session`], the pure rules of pushing; `stream` runs one per attached proxy, `publish`
//! reads the intended state once for all of them, `roster` is what everybody else may know.

mod ask;
mod housekeeping;
mod intended;
mod keys;
mod publish;
mod roster;
mod service;
mod session;
mod stream;
#[cfg(test)]
mod tests;
mod tickets;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use async_trait::async_trait;
use model::{Clock, Principal, ResourceName, Revision, ServerId, TenantId};
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vault::Vault;
use wire::server::LinkServer;

use self::intended::Intended;
use self::keys::Keys;
use self::roster::{MISSED, Roster};
use self::tickets::Tickets;
use crate::pki::DEFAULT_POOL;
use crate::proxies::{AttachedProxy, CommandError, Effective, ObservedProxy, ProbeReport, ProbeRequest, Proxies};
use crate::timers::scaled;

/// How long open streams may take to end when the process stops.
const DRAIN: Duration = Duration::from_secs(2);

/// The attached proxies.
pub struct Fleet {
    store: Store,
    clock: Arc<dyn Clock>,
    roster: Roster,
    keys: Keys,
    tickets: Tickets,
    /// Ids of commands; they mean something within one stream only.
    commands: AtomicU64,
    /// `None` until the database was read once.
    intended: watch::Sender<Option<Arc<Intended>>>,
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
    pub fn new(store: Store, vault: Arc<Vault>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            keys: Keys::new(store.clone(), vault, clock.clone()),
            tickets: Tickets::new(clock.clone()),
            roster: Roster::new(clock.clone()),
            commands: AtomicU64::new(1),
            intended: watch::Sender::new(None),
            store,
            clock,
        })
    }

    /// Serves the link on `listener` until `shutdown`; ends all streams before it returns.
    pub async fn serve(
        self: &Arc<Self>,
        listener: TcpListener,
        tls: rustls::ServerConfig,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        match self.store.platform().proxy_statuses().await {
            Ok(statuses) => self.roster.remember(statuses),
            Err(error) => tracing::warn!(%error, "the proxies' status can't be read"),
        }
        let background = [
            tokio::spawn(publish::run(self.clone(), shutdown.clone())),
            tokio::spawn(housekeeping::run(self.clone(), shutdown.clone())),
        ];
        let service = LinkServer::new(service::Service { fleet: self.clone(), shutdown: shutdown.clone() })
            .max_decoding_message_size(wire::MESSAGE_LIMIT)
            .max_encoding_message_size(wire::MESSAGE_LIMIT);
        let serving = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(Duration::from_secs(20)))
            .http2_keepalive_timeout(Some(Duration::from_secs(10)))
            .max_concurrent_streams(64)
            .add_service(service)
            .serve_with_incoming_shutdown(wire::incoming(listener, Arc::new(tls)), shutdown.clone().cancelled_owned());
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
        served
    }

    /// Only the pool `default` has tenants until tenants name their pools.
    fn pool_serves(pool: &str) -> bool {
        pool == DEFAULT_POOL
    }
}

#[async_trait]
impl Proxies for Fleet {
    fn attached(&self) -> Vec<AttachedProxy> {
        self.roster.attached()
    }

    fn attachments(&self) -> watch::Receiver<u64> {
        self.roster.attachments()
    }

    async fn effective(&self, revision: Revision, resource: ResourceName, wait: Duration) -> Effective {
        let deadline = tokio::time::Instant::now() + wait;
        let mut progress = self.roster.progress();
        loop {
            let effective = self.roster.effective(revision, resource, scaled(MISSED));
            if effective.pending == 0 {
                return effective;
            }
            if !matches!(tokio::time::timeout_at(deadline, progress.changed()).await, Ok(Ok(()))) {
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

    async fn observe(&self) -> Vec<ObservedProxy> {
        self.ask_observe().await
    }

    async fn resync(&self, node: Option<&str>, tenant: Option<TenantId>, prune: bool) {
        self.ask_resync(node, tenant, prune).await;
    }
}
