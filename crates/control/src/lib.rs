//! The management service: what should be mounted, for whom, and the way to get it there.
//!
//! Start with [`Control`], then `rest` (the route table), `servers` (adding and removing them), [`reconcile`]
//! (recover) and [`fleet`] (the proxies). MCP clients never reach this process.

pub mod config;
pub mod init;
mod run;
mod signals;

mod keys;
pub mod reconcile;
mod rest;
mod serve;
mod servers;

pub mod fleet;
pub mod pki;
pub mod proxies;

mod metrics;
mod timers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::Clock;
use store::Store;

pub use self::config::Config;
pub use self::run::{StartError, run};

use self::proxies::Proxies;
use self::reconcile::Reconciler;
use self::rest::Idempotency;
use self::servers::Servers;

/// The parts of the service. Built once; handlers share it.
pub(crate) struct Control {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) proxies: Arc<dyn Proxies>,
    pub(crate) servers: Servers,
    pub(crate) reconciler: Arc<Reconciler>,
    pub(crate) idempotency: Idempotency,
    /// Held while a platform admin's key is revoked.
    pub(crate) last_admin: tokio::sync::Mutex<()>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Set once, by the shutdown; `/readyz` reads it.
    draining: AtomicBool,
}

/// What every handler gets.
pub(crate) type App = Arc<Control>;

impl Control {
    /// Puts the parts together; starts nothing.
    pub(crate) fn new(config: Config, store: Store, proxies: Arc<dyn Proxies>, clock: Arc<dyn Clock>) -> Self {
        let policy = egress::Policy {
            dev: config.dev,
            own: config.own_listeners.clone(),
            rules: config.egress_rules.clone(),
            ..egress::Policy::default()
        };
        Self {
            servers: Servers::new(proxies.clone(), policy),
            reconciler: Arc::new(Reconciler::new(store.clone(), proxies.clone())),
            idempotency: Idempotency::new(clock.clone()),
            last_admin: tokio::sync::Mutex::new(()),
            draining: AtomicBool::new(false),
            config,
            store,
            proxies,
            clock,
        }
    }

    /// Whether the process is about to end.
    pub(crate) fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}
