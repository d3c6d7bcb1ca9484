//! The one connection to control: pushes in, answers and reports out.
//!
//! The proxy opens it, says what it holds, and from then on applies what comes. When control is away
//! nothing here matters to clients: the table stays as it is.

mod apply;
mod backoff;
mod keys;
mod queues;
mod resolve;
mod save;
mod spans;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod work;

use std::path::PathBuf;
use std::sync::Arc;

use model::Revision;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::backoff::Backoff;
pub(crate) use self::queues::Queues;
pub(crate) use self::resolve::Line;
use self::stream::Ended;
use self::tls::Certificates;
pub(crate) use self::work::Perform;
use crate::credentials::Control;
use crate::last_good::LastGood;
use crate::peers::Peers;
use crate::seal::Sealer;
use crate::table::Tables;
use crate::unknown_keys::UnknownKeys;

/// Where control is, and who we are.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// Addresses of control replicas, `host:port`; one after the other is tried.
    pub controls: Vec<String>,
    /// The plane CA's certificate (PEM).
    pub ca: PathBuf,
    /// Our certificate (PEM).
    pub cert: PathBuf,
    /// Our private key (PEM).
    pub key: PathBuf,
    /// The pool that our certificate names.
    pub pool: String,
    /// What the table is at when the link starts: what [`LastGood::restore`] answered.
    pub revision: Revision,
    /// Where the state of the link is published.
    pub status: watch::Sender<LinkStatus>,
}

/// The state of the link, for readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinkStatus {
    /// A stream to control is open.
    pub attached: bool,
    /// On this stream the table was brought to what is intended, at least once.
    pub current: bool,
    /// What the table is at.
    pub revision: Revision,
}

/// The link can't even be tried.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A file can't be read.
    #[error("can't read {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The certificates don't fit together.
    #[error("the certificates of the link can't be used")]
    Tls(#[source] wire::TlsError),
    /// Nowhere to connect to.
    #[error("no address of control is configured")]
    NoControl,
}

/// Keeps the link up until `shutdown`: reconnects with full jitter, tries one address after the other.
#[expect(clippy::too_many_arguments, reason = "the parts of a process, wired in one place")]
pub(crate) async fn run<P: Perform>(
    config: LinkConfig,
    tables: Arc<Tables>,
    commands: P,
    sealer: Arc<Sealer>,
    last_good: LastGood,
    queues: Queues,
    line: Line,
    peers: Arc<Peers>,
    unknown_keys: UnknownKeys,
    shutdown: CancellationToken,
) -> Result<(), LinkError> {
    let mut certificates = Certificates::load(&config)?;
    if config.controls.is_empty() {
        return Err(LinkError::NoControl);
    }
    let (boot, node) = (line.boot(), Control::node(&line));
    let saver = save::Saver::start(last_good.clone(), tables.clone(), config.revision, shutdown.clone());
    let status = config.status.clone();
    let link = stream::Link {
        node,
        boot,
        tables,
        commands,
        sealer,
        last_good,
        saver,
        queues,
        line,
        peers,
        unknown_keys,
        status,
    };
    link.publish(false, false);

    let mut backoff = Backoff::default();
    // An endless round, begun anywhere.
    for control in config.controls.iter().cycle().skip(Backoff::random_index(config.controls.len())) {
        let opened = tokio::select! {
            opened = link.open(control, certificates.current(&config)) => opened,
            () = shutdown.cancelled() => break,
        };
        // An open stream ends by itself at the shutdown, with a goodbye.
        let ended = match opened {
            Ok(attached) => attached.serve(&shutdown).await,
            Err(ended) => ended,
        };
        link.publish(false, false);
        match ended {
            Ended::Shutdown => break,
            Ended::Owing(error) => {
                tracing::error!(%error, alarm = true, "a revocation can't be made to last: control is not spoken to");
            }
            Ended::Unreached(error) => {
                tracing::info!(control, error = &error as &dyn std::error::Error, "control can't be reached");
            }
            Ended::Refused(status) => tracing::warn!(control, %status, "control refused the link"),
            Ended::Lost { reason, lived } => {
                tracing::warn!(control, reason, "the link to control is lost");
                backoff.ended(lived);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next()) => (),
            () = shutdown.cancelled() => break,
        }
    }
    link.saver.finish().await;
    Ok(())
}
