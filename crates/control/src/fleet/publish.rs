//! Reads the intended state once per revision and hands it to all sessions.

use std::sync::Arc;
use std::time::Duration;

use store::StoreError;
use tokio_util::sync::CancellationToken;

use super::{Fleet, Intended};
use crate::timers::scaled;

/// The hint of the store may come from this process only; the revision in the database is the truth.
const POLL: Duration = Duration::from_secs(2);
/// After a failed read; what is published stays.
const RETRY: Duration = Duration::from_secs(1);

/// Publishes until `shutdown`.
pub(super) async fn run(fleet: Arc<Fleet>, shutdown: CancellationToken) {
    let mut changes = fleet.store.changes();
    while !shutdown.is_cancelled() {
        // Before reading: a change that comes while we read wakes us again.
        changes.mark_unchanged();
        let pause = match publish(&fleet).await {
            Ok(()) => scaled(POLL),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the intended state can't be read");
                scaled(RETRY)
            }
        };
        tokio::select! {
            _ = changes.changed() => (),
            () = tokio::time::sleep(pause) => (),
            () = shutdown.cancelled() => (),
        }
    }
}

async fn publish(fleet: &Fleet) -> Result<(), StoreError> {
    let before = fleet.intended.borrow().clone();
    if let Some(before) = &before
        && before.revision == fleet.store.platform().revision().await?
    {
        return Ok(());
    }
    read(fleet).await
}

/// Reads the intended state whatever its revision says, and publishes it if it differs: what a
/// resync compares with is the database, not what was read of it some time ago.
pub(super) async fn read(fleet: &Fleet) -> Result<(), StoreError> {
    let (revision, resources, unreadable) = fleet.store.platform().intended().await?;
    fleet.intended.send_if_modified(|published| {
        let empty = Intended::default();
        let before = published.as_deref().unwrap_or(&empty);
        let intended = Intended::build(revision, resources, &unreadable, before);
        // Two readers may meet here: the older reading must not replace the newer.
        let newer = published.is_none() || revision > before.revision;
        let corrected = revision == before.revision && intended.digest() != before.digest();
        if newer || corrected {
            *published = Some(Arc::new(intended));
        }
        newer || corrected
    });
    Ok(())
}
