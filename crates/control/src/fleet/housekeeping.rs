//! What is written down now and then: each proxy's status row, and the end of rows nobody needs.

use std::sync::Arc;
use std::time::Duration;

use store::StoreError;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Fleet;
use crate::timers::scaled;

const EVERY: Duration = Duration::from_secs(10);
/// Rows of proxies that were not seen for a day go.
const FORGET_MICROS: i64 = 86_400_000_000;

/// Runs until `shutdown`.
pub(super) async fn run(fleet: Arc<Fleet>, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(scaled(EVERY));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pruned = 0;
    loop {
        tokio::select! {
            _ = ticks.tick() => (),
            () = shutdown.cancelled() => return,
        }
        if let Err(error) = tidy(&fleet, &mut pruned).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the proxies' status can't be written");
        }
        // Rotates the keys when a day is over; the next heartbeats make the proxies fetch them.
        if fleet.keys.current_id() != 0
            && let Err(error) = fleet.keys.get().await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "the fleet's sealing keys can't be rotated");
        }
    }
}

async fn tidy(fleet: &Fleet, pruned: &mut i64) -> Result<(), StoreError> {
    let platform = fleet.store.platform();
    platform.put_proxy_statuses(fleet.roster.statuses()).await?;
    platform.forget_proxies(fleet.clock.now_micros() - FORGET_MICROS).await?;
    // Sessions compare states and read no rows, so what is published needs none.
    let published = fleet.intended.borrow().as_ref().map(|intended| intended.revision.seq);
    if let Some(seq) = published.filter(|seq| seq != pruned) {
        platform.prune_outbox(seq).await?;
        *pruned = seq;
    }
    Ok(())
}
