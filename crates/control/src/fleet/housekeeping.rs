//! What is written down: each proxy's row as soon as another replica may wait for it, and the end of rows nobody
//! needs.

use std::sync::Arc;
use std::time::Duration;

use store::{Hint, StoreError};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::Fleet;
use crate::timers::scaled;

const EVERY: Duration = Duration::from_secs(10);
/// Rows that must be written soon wait so long for more of them.
const GATHER: Duration = Duration::from_millis(20);
/// How often the proxies of other replicas are looked at though nobody waits.
const LOOK: Duration = Duration::from_secs(2);
/// Rows of proxies that were not seen for a day go.
const FORGET_MICROS: i64 = 86_400_000_000;
/// Commands that nobody fetched go so long after their deadline.
const UNFETCHED_MICROS: i64 = 300_000_000;
/// Outbox rows that are so old go: a replica that is so far behind reads everything.
const OUTBOX_MICROS: i64 = 3_600_000_000;
/// A node's certificate that ends so soon is an alarm.
const CERTIFICATE_MICROS: i64 = 7 * 86_400_000_000;

/// Runs until `shutdown`.
pub(super) async fn run(fleet: Arc<Fleet>, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(scaled(EVERY));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => (),
            () = shutdown.cancelled() => return,
        }
        write(&fleet).await;
        if let Err(error) = tidy(&fleet).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "rows that nobody needs can't be removed");
        }
        // Rotates the keys when a day is over; the next heartbeats make the proxies fetch them.
        if fleet.keys.current_id() != 0
            && let Err(error) = fleet.keys.get().await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "the fleet's sealing keys can't be rotated");
        }
        warn_of_certificates(&fleet);
    }
}

/// Where other replicas may wait for what proxies of ours have: writes rows at once, and reads theirs. Runs until
/// `shutdown`.
pub(super) async fn run_shared(fleet: Arc<Fleet>, shutdown: CancellationToken) {
    let mut looks = tokio::time::interval(scaled(LOOK));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = fleet.roster.unwritten() => {
                tokio::time::sleep(GATHER).await;
                write(&fleet).await;
            }
            _ = looks.tick() => look(&fleet).await,
            () = shutdown.cancelled() => return,
        }
    }
}

/// Writes the rows of proxies that have changed since the last time.
pub(super) async fn write(fleet: &Fleet) {
    let unwritten = fleet.roster.take_unwritten();
    if unwritten.rows.is_empty() && unwritten.gone.is_empty() {
        return;
    }
    let platform = fleet.store.platform();
    let written = async {
        platform.put_proxy_statuses(unwritten.rows.clone()).await?;
        platform.remove_proxy_statuses(&fleet.replica, unwritten.gone.clone()).await
    };
    match written.await {
        Ok(()) if fleet.shared => fleet.store.hint(Hint::Status).await,
        Ok(()) => (),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "the proxies' status can't be written");
            fleet.roster.put_back(unwritten);
        }
    }
}

/// Reads what other replicas say of their proxies.
pub(super) async fn look(fleet: &Fleet) {
    if let Err(error) = fleet.others.look(&fleet.roster).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "the proxies' status can't be read");
    }
}

async fn tidy(fleet: &Fleet) -> Result<(), StoreError> {
    let (platform, now) = (fleet.store.platform(), fleet.clock.now_micros());
    platform.forget_proxies(now - FORGET_MICROS).await?;
    platform.purge_commands(now - UNFETCHED_MICROS).await?;
    platform.prune_outbox(now - OUTBOX_MICROS).await?;
    Ok(())
}

fn warn_of_certificates(fleet: &Fleet) {
    let soon = fleet.clock.now_micros() + CERTIFICATE_MICROS;
    for proxy in fleet.roster.attached() {
        if proxy.certificate_until.is_some_and(|until| until < soon) {
            tracing::error!(node = proxy.node, alarm = true, "the certificate of a proxy ends within 7 days");
        }
    }
}
