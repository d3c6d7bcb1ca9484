//! Carries hints between replicas over Redis: for databases behind a pooler, where NOTIFY does not get through.

use std::sync::Arc;

use coordination::{Coordination, Hints};
use futures::future::select_all;
use store::{Hint, Store};
use tokio::sync::broadcast::error::RecvError;

/// Carries both ways until it is aborted.
pub(crate) async fn carry(store: Store, coordination: Arc<Coordination>) {
    let mut said = store.said();
    let mut heard: Vec<(Hint, Hints)> = Hint::ALL.map(|hint| (hint, coordination.hints(hint.as_str()))).into();
    loop {
        let next = select_all(heard.iter_mut().map(|(hint, hints)| {
            Box::pin(async {
                hints.next().await;
                *hint
            })
        }));
        tokio::select! {
            own = said.recv() => match own {
                Ok(hint) => coordination.hint(hint.as_str()).await,
                // Too many at once: one of each stands for them all.
                Err(RecvError::Lagged(_)) => {
                    for hint in Hint::ALL {
                        coordination.hint(hint.as_str()).await;
                    }
                }
                Err(RecvError::Closed) => return,
            },
            (hint, ..) = next => store.wake(hint),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::SystemClock;

    use super::*;

    #[tokio::test]
    async fn what_one_replica_says_wakes_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let mut stores = Vec::new();
        for name in ["one", "two"] {
            let url = format!("sqlite://{}/{name}.db?mode=rwc", folder.path().display());
            stores.push(Store::connect(&url, Arc::new(SystemClock)).await.unwrap());
        }
        let [one, two] = stores.try_into().unwrap();
        let way = Arc::new(Coordination::in_process());
        let mut woken = two.commands_hinted();
        let carrying = [one.clone(), two].map(|store| tokio::spawn(carry(store, way.clone())));
        let saying = async {
            loop {
                one.hint(Hint::Command).await;
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            changed = woken.changed() => changed.unwrap(),
            () = saying => (),
            () = tokio::time::sleep(std::time::Duration::from_secs(60)) => panic!("nobody was woken"),
        }
        carrying.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
