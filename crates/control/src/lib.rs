//! The management service: what should be mounted, for whom, and the way to get it there.
//!
//! Start with [`Control`], then `rest` (the route table), `servers` (adding and removing them), [`reconcile`]
//! (recover) and [`fleet`] (the proxies). People come to `pages`, `sign_in` says who they are, and `authorization` lets
//! them let MCP clients in. No call of MCP ever reaches this process.

pub mod config;
pub mod init;
mod run;
mod signals;

mod auth;
mod authorization;
mod connections;
mod credentials;
mod forwarded;
mod hints;
mod import;
mod imports;
mod issuers;
pub mod kek;
mod kek_http;
pub(crate) mod keyring;
mod keys;
mod outward;
mod pages;
mod purge;
mod rates;
pub mod reconcile;
pub mod references;
mod rest;
mod rotation;
mod serve;
mod servers;
mod sign_in;
mod signing;
mod upstream_login;

pub mod fleet;
pub mod pki;
pub mod proxies;

mod metrics;
mod timers;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::Clock;
use store::Store;
use telemetry::Metrics;

pub use self::config::Config;
pub use self::run::{StartError, run};

use self::authorization::Authorization;
use self::connections::Connections;
use self::credentials::Credentials;
use self::issuers::Issuers;
use self::keyring::Keyring;
use self::metrics::Counters;
use self::outward::Outward;
use self::proxies::Proxies;
use self::reconcile::Reconciler;
use self::references::References;
use self::rest::Cursors;
use self::rotation::Rotation;
use self::servers::Servers;
use self::sign_in::SignIn;
use self::signing::Signing;
use self::upstream_login::UpstreamLogin;

/// The parts of the service. Built once; handlers share it.
pub(crate) struct Control {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) proxies: Arc<dyn Proxies>,
    pub(crate) servers: Servers,
    pub(crate) outward: Outward,
    pub(crate) issuers: Issuers,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) rotation: Arc<Rotation>,
    pub(crate) connections: Connections,
    pub(crate) credentials: Credentials,
    pub(crate) signing: Arc<Signing>,
    pub(crate) sign_in: SignIn,
    pub(crate) authorization: Authorization,
    pub(crate) upstream_login: Arc<UpstreamLogin>,
    pub(crate) reconciler: Arc<Reconciler>,
    pub(crate) cursors: Cursors,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Metrics,
    pub(crate) counters: Counters,
    /// Set once, by the shutdown; `/readyz` reads it.
    draining: AtomicBool,
}

/// What every handler gets.
pub(crate) type App = Arc<Control>;

impl Control {
    /// Puts the parts together; starts nothing. What `keyring` opens and `cursor_key` are the same on every replica.
    pub(crate) fn new(
        config: Config,
        store: Store,
        proxies: Arc<dyn Proxies>,
        clock: Arc<dyn Clock>,
        keyring: Arc<Keyring>,
        cursor_key: &[u8; 32],
    ) -> Self {
        let policy = egress::Policy {
            dev: config.dev,
            own: config.own_listeners.clone(),
            rules: config.egress_rules.clone(),
            ..egress::Policy::default()
        };
        let metrics = Metrics::new();
        let counters = Counters::new(&metrics);
        let servers = Servers::new(store.clone(), proxies.clone(), policy);
        let outward = Outward::new(servers.clone(), config.dev);
        let issuers = Issuers::new(store.clone(), outward.clone(), keyring.clone(), clock.clone(), config.dev);
        let signing = Signing::new(store.clone(), keyring.clone(), clock.clone(), config.base_url());
        let references = References::new(&config.references, clock.clone());
        let connections = Connections::new(keyring.clone(), references.clone(), servers.clone());
        let upstream_login = UpstreamLogin::new(
            store.clone(),
            outward.clone(),
            proxies.clone(),
            keyring.clone(),
            clock.clone(),
            (config.base_url(), config.dev),
        );
        let upstream_login = Arc::new(upstream_login);
        let credentials = Credentials::new(
            store.clone(),
            keyring.clone(),
            outward.clone(),
            upstream_login.clone(),
            references,
            clock.clone(),
        );
        Self {
            servers,
            connections,
            credentials,
            outward,
            issuers,
            rotation: Arc::new(Rotation::new(store.clone(), keyring.clone(), clock.clone())),
            keyring,
            signing: Arc::new(signing),
            sign_in: SignIn::new(),
            authorization: Authorization::new(),
            upstream_login,
            reconciler: Arc::new(Reconciler::new(store.clone(), proxies.clone(), counters.clone())),
            cursors: Cursors::new(cursor_key),
            draining: AtomicBool::new(false),
            config,
            store,
            proxies,
            clock,
            metrics,
            counters,
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
