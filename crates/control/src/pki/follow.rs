//! The folder as it changes: certificates that came from outside are used without a restart, and those that this
//! plane's CA signed are renewed in time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::Clock;
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::{Pki, PkiError};
use crate::timers::scaled;

const EVERY: Duration = Duration::from_secs(10);
/// A certificate that ends so soon is an alarm.
const SOON_MICROS: i64 = 7 * 86_400_000_000;

/// Keeps `tls` at what the folder says, for ever. Files that can't be used, half written ones for instance, change
/// nothing.
pub(crate) async fn follow(dir: PathBuf, mut pki: Pki, tls: watch::Sender<Arc<ServerConfig>>, clock: Arc<dyn Clock>) {
    let mut warned_at = None;
    loop {
        tokio::time::sleep(scaled(EVERY)).await;
        let (folder, now) = (dir.clone(), clock.now_micros());
        match spawn_blocking(move || look(&folder, now)).await {
            Ok(Ok(found)) if !found.is_same_as(&pki) => match found.server_tls() {
                Ok(config) => {
                    tracing::info!("the certificates of the link were replaced");
                    tls.send_replace(Arc::new(config));
                    pki = found;
                }
                Err(error) => {
                    tracing::error!(error = %telemetry::chain(&error), alarm = true, "the new certificates can't be used");
                }
            },
            Ok(Ok(_)) => (),
            Ok(Err(error)) => {
                tracing::error!(error = %telemetry::chain(&error), alarm = true, "the certificates can't be read again");
            }
            Err(error) => tracing::error!(%error, "the look at the certificates broke"),
        }
        // Once an hour: the log is read by people.
        let soon = pki.lifetime().is_ok_and(|lifetime| lifetime.until < now + SOON_MICROS);
        if soon && warned_at.is_none_or(|at| now - at >= 3_600_000_000) {
            warned_at = Some(now);
            tracing::error!(alarm = true, "control's certificate ends within 7 days");
        }
    }
}

/// Renews what is due; a folder that can't be written is one that somebody else renews.
fn look(dir: &Path, now: i64) -> Result<Pki, PkiError> {
    match Pki::renew(dir, now) {
        Ok(made) => made.iter().for_each(|file| tracing::info!(file, "a certificate was renewed")),
        Err(error) => {
            tracing::error!(error = %telemetry::chain(&error), alarm = true, "a certificate can't be renewed");
        }
    }
    Pki::load(dir)
}
