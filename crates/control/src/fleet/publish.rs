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
    let (revision, resources) = fleet.store.platform().intended().await?;
    let empty = Intended::default();
    let intended = Intended::build(revision, resources, before.as_deref().unwrap_or(&empty));
    fleet.intended.send_replace(Some(Arc::new(intended)));
    Ok(())
}
