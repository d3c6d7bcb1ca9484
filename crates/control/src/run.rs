//! The life of the process: build the parts, serve, drain, end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use coordination::Coordination;
use daemon::{CertificateError, Listener};
use futures::{FutureExt as _, future};
use model::{Clock, SystemClock};
use store::{Store, StoreError};
use telemetry::Otlp;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::fleet::Fleet;
use crate::forwarded::Trusted;
use crate::hints;
use crate::imports::Imports;
use crate::issuers::Wanted;
use crate::kek::KekOpenError;
use crate::keyring::Keyring;
use crate::pki::{Pki, PkiError, follow};
use crate::serve::Slots;
use crate::timers::scaled;
use crate::{Control, metrics, purge, rest, serve, signals};

/// How long closing the database may take.
const CLOSING: Duration = Duration::from_secs(2);
/// How long streams of proxies may take to end; with REST's 30 s the process ends within 35 s.
const FLEET_DRAIN: Duration = Duration::from_secs(4);

/// Why control can't start, or can't go on.
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
    /// The certificate of `listen` can't be used.
    #[error("can't use the certificate of `listen`")]
    Certificate(#[from] CertificateError),
    /// The database can't be used.
    #[error("can't open the database")]
    Store(#[from] StoreError),
    /// The key that encrypts keys can't be used.
    #[error("can't open the vault")]
    Vault(#[from] KekOpenError),
    /// What it sealed can't be opened.
    #[error("can't open what the vault has sealed")]
    Sealed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The plane's certificates can't be used.
    #[error("can't load the certificates of the plane")]
    Pki(#[from] PkiError),
    /// The link can't be served with the certificates.
    #[error("can't use the certificates of the plane")]
    Tls(#[from] wire::TlsError),
    /// Signals can't be listened to.
    #[error("can't listen to signals")]
    Signals(#[source] std::io::Error),
    /// The address of Redis is none.
    #[error("`redis` can't be used")]
    Redis(#[from] coordination::AddressError),
    /// A task that lives as long as the process ended before it; a new process starts it again.
    #[error("the {0} ended before the process")]
    Ended(&'static str),
}

/// A task that lives as long as the process.
struct Part {
    name: &'static str,
    task: JoinHandle<()>,
}

impl Part {
    fn start(name: &'static str, work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { name, task: tokio::spawn(work) }
    }
}

/// Runs `serving` to its end. If a part ends before it, `serving` is told to end, and the part is named.
async fn serve_with(
    parts: &mut [Part],
    serving: impl Future<Output = ()>,
    shutdown: &CancellationToken,
) -> Result<(), StartError> {
    let lost = future::select_all(parts.iter_mut().map(|part| {
        let name = part.name;
        (&mut part.task).map(move |ended| {
            let error = ended.err().map(|error| error.to_string());
            tracing::error!(error, "the {name} ended before the process");
            name
        })
    }));
    tokio::pin!(serving);
    tokio::select! {
        biased;
        () = &mut serving => Ok(()),
        (name, ..) = lost => {
            shutdown.cancel();
            serving.await;
            Err(StartError::Ended(name))
        }
    }
}

/// Serves until SIGTERM, SIGINT or the end of the parent's pipe, then drains within 35 s.
pub async fn run(mut config: Config) -> Result<(), StartError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let shutdown = signals::shutdown().map_err(StartError::Signals)?;
    let rest_listener = bind("listen", config.listen).await?;
    // The port that the system chose, where none was named.
    config.listen = rest_listener.local_addr().unwrap_or(config.listen);
    let rest_listener = Listener::new(rest_listener, config.tls.as_ref())?;
    let link_listener = bind("link_listen", config.link_listen).await?;
    let metrics_listener = bind("metrics_listen", config.metrics_listen).await?;
    let store = Store::connect(config.database.expose(), clock.clone()).await?;
    let coordination = Arc::new(match &config.redis {
        Some(url) => Coordination::over_redis(url.expose())?,
        None => Coordination::in_process(),
    });
    let keyring = Arc::new(Keyring::new(store.clone(), config.kek.open()?, clock.clone()));
    // Whoever can't open this can open nothing: better said now than at the first call.
    let cursor_key = keyring.cursor_key().await.map_err(|error| StartError::Sealed(error.into()))?;
    let pki = Pki::load(&config.pki_dir)?;
    let (tls, served) = watch::channel(Arc::new(pki.server_tls()?));
    let certificates = Part::start("watch on certificates", follow(config.pki_dir.clone(), pki, tls, clock.clone()));
    let fleet = Fleet::new(store.clone(), keyring.clone(), clock.clone());
    let control = Arc::new(Control::new(config, store.clone(), fleet.clone(), clock, keyring, &cursor_key));
    fleet.resolve_with(Arc::new(control.credentials.clone()));
    metrics::expose(&control);
    control.credentials.show(&control.metrics);
    control.keyring.show(&control.metrics);
    fleet.show(&control.metrics);
    metrics::show_redis(&control.metrics, coordination.clone());
    let otlp = Otlp::start("gatehouse-control", &control.metrics);
    let config = &control.config;
    tracing::info!(rest = %config.listen, link = %config.link_listen, metrics = %config.metrics_listen, "control serves");

    // The link outlives REST: an answer under way may still wait for proxies.
    let link_shutdown = CancellationToken::new();
    let link = Part::start("link", {
        let (fleet, shutdown) = (fleet.clone(), link_shutdown.clone());
        async move {
            if let Err(error) = fleet.serve(link_listener, served, shutdown).await {
                tracing::error!(error = %telemetry::chain(&error), "the link failed");
            }
        }
    });
    let reconciler = Part::start("reconciler", {
        let reconciler = control.reconciler.clone();
        async move { reconciler.run_forever().await }
    });
    let purge = Part::start(
        "purge",
        purge::run_forever(store.clone(), control.clock.clone(), config.audit_days, coordination.clone()),
    );
    let hints = Part::start("way of hints", {
        let (store, coordination, elsewhere) = (store.clone(), coordination.clone(), config.redis.is_some());
        async move { if elsewhere { hints::carry(store, coordination).await } else { future::pending().await } }
    });
    let (router, trusted) = (metrics::router(&control), Trusted::default());
    let metrics = serve::serve(metrics_listener.into(), Slots::new(), trusted, router, link_shutdown.clone());
    let wanted = fleet.wanted();
    control.metrics.bound("wanted_issuers", Wanted::MOST, move || wanted.waiting());
    let issuers = Part::start("watch on issuers", control.issuers.clone().run_forever(fleet.wanted()));
    let signing = Part::start("signing keys", {
        let signing = control.signing.clone();
        async move { signing.run_forever().await }
    });
    let keyring = Part::start("keyring", {
        let keyring = control.keyring.clone();
        async move { keyring.run_forever().await }
    });
    let rotation = Part::start("rotation of keys", {
        let rotation = control.rotation.clone();
        async move { rotation.run_forever().await }
    });
    let imports = Part::start("watch on imports", {
        let imports = Imports::of(config.import_dir.clone(), &control);
        async move { imports.run_forever().await }
    });
    let metrics = Part::start("metrics", metrics);
    let mut parts =
        [link, reconciler, certificates, purge, hints, issuers, signing, keyring, rotation, imports, metrics];
    let draining = tokio::spawn({
        let (control, shutdown) = (control.clone(), shutdown.clone());
        async move {
            shutdown.cancelled().await;
            control.drain();
            tracing::info!("draining");
        }
    });

    let slots = Slots::new();
    let taken = slots.clone();
    control.metrics.bound("rest_connections", Slots::MOST, move || taken.taken());
    let trusted = Trusted::new(&config.trusted_proxies);
    let serving = serve::serve(rest_listener, slots, trusted, rest::rest(control.clone()), shutdown.clone());
    let served = serve_with(&mut parts, serving, &shutdown).await;
    link_shutdown.cancel();
    let [link, rest @ ..] = &mut parts;
    // A task that has ended must not be asked again.
    if !link.task.is_finished() && tokio::time::timeout(scaled(FLEET_DRAIN), &mut link.task).await.is_err() {
        tracing::warn!("streams of proxies were still open at the end of the drain");
    }
    rest.iter().for_each(|part| part.task.abort());
    draining.abort();
    // Without it the write-ahead log stays beside the database, and a copy of the database alone lacks its end.
    if tokio::time::timeout(CLOSING, store.close()).await.is_err() {
        tracing::warn!("the database was still in use at the end of the drain");
    }
    otlp.finish().await;
    tracing::info!("control ends");
    served
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    daemon::bind(address).await.map_err(|cause| StartError::Listen { key, address, cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_ends_ends_the_process_and_is_named() {
        let died: fn() = || panic!("seeded");
        for (name, task) in [("link", tokio::spawn(async {})), ("reconciler", tokio::spawn(async move { died() }))] {
            let shutdown = CancellationToken::new();
            let mut parts = [Part { name, task }, Part::start("metrics", std::future::pending())];
            let ended = serve_with(&mut parts, shutdown.clone().cancelled_owned(), &shutdown).await;
            assert!(matches!(ended, Err(StartError::Ended(lost)) if lost == name));
        }
    }

    #[tokio::test]
    async fn an_end_that_was_asked_for_is_none_of_a_part() {
        let shutdown = CancellationToken::new();
        let mut parts = [Part::start("link", std::future::pending())];
        shutdown.cancel();
        assert!(serve_with(&mut parts, shutdown.clone().cancelled_owned(), &shutdown).await.is_ok());
    }
}
