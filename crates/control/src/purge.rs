//! The job that removes for good what was deleted, revoked or answered long ago.
//!
//! Every replica has one: a pass is safe beside others and goes on where a cut one was. With Redis one replica's is enough.

use std::sync::Arc;
use std::time::Duration;

use coordination::{Coordination, Mark};
use model::Clock;
use store::{Purged, Retention, Store, StoreError};

use crate::timers::scaled;

/// Before the first pass, so that a process which ends soon again and again still makes some.
const FIRST: Duration = Duration::from_secs(300);
/// Between passes.
const EVERY: Duration = Duration::from_secs(3600);

/// Passes until it is aborted; a pass that fails is logged and made up for by the next.
pub(crate) async fn run_forever(store: Store, clock: Arc<dyn Clock>, audit_days: u32, coordination: Arc<Coordination>) {
    let keep = Retention { audit_days, ..Retention::default() };
    let mut wait = FIRST;
    loop {
        tokio::time::sleep(scaled(wait)).await;
        wait = EVERY;
        // Another replica is at it: a second pass would find nothing.
        if coordination.mark("purge", scaled(EVERY / 2)).await == Mark::Taken {
            continue;
        }
        match pass(&store, &*clock, keep).await {
            Ok(purged) if purged == Purged::default() => (),
            Ok(purged) => tracing::info!(?purged, "what nobody needs any more was removed"),
            Err(error) => {
                tracing::warn!(error = %telemetry::chain(&error), "the purge failed and is tried again later")
            }
        }
    }
}

async fn pass(store: &Store, clock: &dyn Clock, keep: Retention) -> Result<Purged, StoreError> {
    store.platform().purge_expired(clock.now_micros(), keep).await
}

#[cfg(test)]
mod tests {
    use model::ManualClock;
    use store::Place;

    use super::*;

    #[tokio::test]
    async fn a_pass_goes_by_the_clock_of_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/x.db?mode=rwc", folder.path().display());
        let clock = Arc::new(ManualClock::at(1));
        let store = Store::connect(&url, clock.clone()).await.unwrap();
        let place = || Place {
            tenant: model::TenantId::fresh(),
            key: "keykeykeykeykey0".parse().unwrap(),
            word: "w".to_owned(),
        };
        store.platform().claim(place(), [1; 32]).await.unwrap();
        clock.advance_micros(25 * 3600 * 1_000_000);
        let purged = pass(&store, &*clock, Retention::default()).await.unwrap();
        assert_eq!(purged, Purged { answers: 1, ..Purged::default() });
    }
}
