//! What upstreams said to header lines, on its way to control: a refusal at once, the others once a minute.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::ConnectionId;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use wire::{Challenge, Verdict};

use super::Lines;

/// Most connections of which something is to be told at a time; beyond them only refusals are kept.
pub(super) const WAITING: usize = 10_000;

/// How long somebody waits until control has heard of a refusal; a client is not kept longer for it.
const HEARD: Duration = Duration::from_secs(1);

/// What control is to be told.
#[derive(Default)]
pub(super) struct Verdicts {
    waiting: Mutex<HashMap<ConnectionId, Verdict>>,
    urgent: Notify,
    /// How often all that waited was taken, which changes under the lock, and at which time control had heard all of it.
    taken: AtomicU64,
    told: watch::Sender<u64>,
}

impl Verdicts {
    /// An upstream took these lines, or refused them for good.
    pub(super) fn note(&self, lines: &Lines, refused: Option<Challenge>) {
        self.noted(lines, refused);
    }

    /// Which time of taking has it.
    fn noted(&self, lines: &Lines, refused: Option<Challenge>) -> u64 {
        let Some(connection) = lines.part.connection else { return 0 };
        let (tenant, server, token_generation) = (lines.tenant, lines.server, lines.token_generation);
        let is_refusal = refused.is_some();
        let verdict = Verdict { tenant, server, connection, token_generation, refused };
        let mut waiting = self.waiting();
        if !is_refusal && waiting.len() >= WAITING {
            return 0;
        }
        // What is said of an older token is no news.
        let newer = |held: &Verdict| held.token_generation > token_generation;
        if !waiting.get(&connection).is_some_and(newer) {
            waiting.insert(connection, verdict);
        }
        let next = self.taken.load(Ordering::Relaxed) + 1;
        drop(waiting);
        if is_refusal {
            self.urgent.notify_one();
        }
        next
    }

    /// Waits until something can't wait.
    pub(super) async fn urgent(&self) {
        self.urgent.notified().await;
    }

    /// The same of a refusal that a login heals; returns when control knows what the login is to ask for, or after a while.
    pub(super) async fn tell(&self, lines: &Lines, refused: Challenge) {
        let next = self.noted(lines, Some(refused));
        let mut told = self.told.subscribe();
        if timeout(HEARD, told.wait_for(|told| *told >= next)).await.is_err() {
            tracing::debug!("control has not heard yet what an upstream wants");
        }
    }

    /// All that waits, and which time this is.
    pub(super) fn take(&self) -> (u64, Vec<Verdict>) {
        let mut waiting = self.waiting();
        let time = self.taken.fetch_add(1, Ordering::Relaxed) + 1;
        (time, std::mem::take(&mut *waiting).into_values().collect())
    }

    /// Control has heard all that was taken at this time.
    pub(super) fn told(&self, time: u64) {
        self.told.send_replace(time);
    }

    /// What could not be told waits again, unless there is news.
    pub(super) fn put_back(&self, verdicts: Vec<Verdict>) {
        let mut waiting = self.waiting();
        for verdict in verdicts {
            if waiting.len() < WAITING {
                waiting.entry(verdict.connection).or_insert(verdict);
            }
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting().len()
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<ConnectionId, Verdict>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
