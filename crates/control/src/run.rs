//! The life of the process: build the parts, serve, drain, end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use model::{Clock, SystemClock};
use store::{Store, StoreError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use vault::{Vault, VaultError};

use crate::config::Config;
use crate::fleet::Fleet;
use crate::pki::{Pki, PkiError};
use crate::timers::scaled;
use crate::{Control, metrics, rest, serve, signals};

/// How long streams of proxies may take to end; with REST's 30 s the process ends within 35 s.
const FLEET_DRAIN: Duration = Duration::from_secs(4);

/// Why control can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address can't be used.
    #[error("can't listen on {address} (`{key}`)")]
    Listen {
        /// The key of the configuration.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The database can't be used.
    #[error("can't open the database")]
    Store(#[from] StoreError),
    /// The key that encrypts keys can't be used.
    #[error("can't open the vault")]
    Vault(#[from] VaultError),
    /// The plane's certificates can't be used.
    #[error("can't load the certificates of the plane")]
    Pki(#[from] PkiError),
    /// The link can't be served with the certificates.
    #[error("can't use the certificates of the plane")]
    Tls(#[from] wire::TlsError),
    /// Signals can't be listened to.
    #[error("can't listen to signals")]
    Signals(#[source] std::io::Error),
}

/// Serves until SIGTERM, SIGINT or the end of the parent's pipe, then drains within 35 s.
pub async fn run(config: Config) -> Result<(), StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let shutdown = signals::shutdown().map_err(StartError::Signals)?;
    let rest_listener = bind("listen", config.listen).await?;
    let link_listener = bind("link_listen", config.link_listen).await?;
    let metrics_listener = bind("metrics_listen", config.metrics_listen).await?;
    let store = Store::connect(&config.database, clock.clone()).await?;
    let vault = Vault::open(&config.kek_file)?;
    let tls = Pki::load(&config.pki_dir)?.server_tls()?;
    let fleet = Fleet::new(store.clone(), Arc::new(vault), clock.clone());
    let control = Arc::new(Control::new(config, store, fleet.clone(), clock));
    let config = &control.config;
    tracing::info!(rest = %config.listen, link = %config.link_listen, metrics = %config.metrics_listen, "control serves");

    // The link outlives REST: an answer under way may still wait for proxies.
    let link_shutdown = CancellationToken::new();
    let link = tokio::spawn({
        let (fleet, shutdown) = (fleet.clone(), link_shutdown.clone());
        async move { fleet.serve(link_listener, tls, shutdown).await }
    });
    let reconciler = tokio::spawn({
        let reconciler = control.reconciler.clone();
        async move { reconciler.run_forever().await }
    });
    let metrics = tokio::spawn(serve::serve(metrics_listener, metrics::router(&control), link_shutdown.clone()));
    let draining = tokio::spawn({
        let (control, shutdown) = (control.clone(), shutdown.clone());
        async move {
            shutdown.cancelled().await;
            control.drain();
            tracing::info!("draining");
        }
    });

    serve::serve(rest_listener, rest::rest(control.clone()), shutdown).await;
    reconciler.abort();
    link_shutdown.cancel();
    match tokio::time::timeout(scaled(FLEET_DRAIN), link).await {
        Ok(Ok(Ok(()))) => (),
        Ok(Ok(Err(error))) => tracing::error!(error = %telemetry::chain(&error), "the link ended"),
        Ok(Err(error)) => tracing::error!(%error, "the link's task ended early"),
        Err(_) => tracing::warn!("streams of proxies were still open at the end of the drain"),
    }
    metrics.abort();
    draining.abort();
    tracing::info!("control ends");
    Ok(())
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|cause| StartError::Listen { key, address, cause })
}
