//! Follows the database: what changed is read by name, once per revision, and handed to all sessions.

use std::sync::Arc;
use std::time::Duration;

use store::{StoreError, Tail};
use tokio_util::sync::CancellationToken;

use super::Fleet;
use crate::timers::scaled;

/// Hints may be lost; what the database says is looked up so often whatever they say.
const POLL: Duration = Duration::from_secs(1);
/// After a failed read; what is published stays.
const RETRY: Duration = Duration::from_secs(1);
/// Everything is read anew now and then: keys that have expired go, and nothing that was missed stays missed.
const WHOLE: Duration = Duration::from_secs(600);

/// Publishes until `shutdown`.
pub(super) async fn run(fleet: Arc<Fleet>, shutdown: CancellationToken) {
    let mut changes = fleet.store.changes();
    let mut whole_due = tokio::time::Instant::now();
    while !shutdown.is_cancelled() {
        // Before reading: a change that comes while we read wakes us again.
        changes.mark_unchanged();
        let whole = tokio::time::Instant::now() >= whole_due;
        let read = if whole { read(&fleet).await } else { follow(&fleet).await };
        let pause = match read {
            Ok(()) => {
                if whole {
                    whole_due = tokio::time::Instant::now() + scaled(WHOLE);
                }
                scaled(POLL)
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the intended state can't be read");
                // The database that comes back may be another one than the one that went away.
                whole_due = tokio::time::Instant::now();
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

/// Publishes what changed since what is published.
pub(super) async fn follow(fleet: &Fleet) -> Result<(), StoreError> {
    let turn = fleet.reading.lock().await;
    let published = fleet.intended.borrow().clone();
    let Some(before) = published else {
        drop(turn);
        return read(fleet).await;
    };
    match fleet.store.platform().tail(before.revision).await? {
        Tail::Unchanged => Ok(()),
        Tail::Changed { named, state, commits } => {
            // Before anybody can answer.
            fleet.lag.published(commits);
            fleet.intended.send_replace(Some(Arc::new(before.changed(&named, state))));
            fleet.acknowledged();
            Ok(())
        }
        Tail::Lost => {
            drop(turn);
            read(fleet).await
        }
    }
}

/// Reads the intended state whatever its revision says, and publishes it if it differs: what a resync compares
/// with is the database, not what was read of it some time ago.
pub(super) async fn read(fleet: &Fleet) -> Result<(), StoreError> {
    // One reader at a time, or the older reading could replace the newer.
    let _turn = fleet.reading.lock().await;
    fleet.counters.whole_reads.add(1);
    let mut state = fleet.store.platform().intended().await?;
    let published = fleet.intended.borrow().clone();
    let before = published.clone().unwrap_or_default();
    if state.revision < before.revision {
        let raised = fleet.store.platform().raise_epoch(before.revision).await?;
        tracing::error!(ours = %before.revision, database = %state.revision, %raised, alarm = true,
            "the database has lost changes that were published, a backup was restored: every proxy gets a snapshot");
        state = fleet.store.platform().intended().await?;
    }
    let (revision, after) = (state.revision, before.replaced(state));
    if published.is_none() || revision != before.revision || !after.holds_the_same_as(&before) {
        fleet.intended.send_replace(Some(Arc::new(after)));
    }
    Ok(())
}
