//! What upstreams said to header lines, on its way to control: a refusal at once, the others once a minute.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::ConnectionId;
use tokio::sync::Notify;
use wire::{Challenge, Verdict};

use super::Lines;

/// Most connections of which something is to be told at a time; beyond them only refusals are kept.
pub(super) const WAITING: usize = 10_000;

/// What control is to be told.
#[derive(Default)]
pub(super) struct Verdicts {
    waiting: Mutex<HashMap<ConnectionId, Verdict>>,
    urgent: Notify,
}

impl Verdicts {
    /// An upstream took these lines, or refused them for good.
    pub(super) fn note(&self, lines: &Lines, refused: Option<Challenge>) {
        let Some(connection) = lines.part.connection else { return };
        let (tenant, server, token_generation) = (lines.tenant, lines.server, lines.token_generation);
        let is_refusal = refused.is_some();
        let verdict = Verdict { tenant, server, connection, token_generation, refused };
        let mut waiting = self.waiting();
        if !is_refusal && waiting.len() >= WAITING {
            return;
        }
        // What is said of an older token is no news.
        let newer = |held: &Verdict| held.token_generation > token_generation;
        if !waiting.get(&connection).is_some_and(newer) {
            waiting.insert(connection, verdict);
        }
        drop(waiting);
        if is_refusal {
            self.urgent.notify_one();
        }
    }

    /// Waits until something can't wait.
    pub(super) async fn urgent(&self) {
        self.urgent.notified().await;
    }

    /// All that waits.
    pub(super) fn take(&self) -> Vec<Verdict> {
        std::mem::take(&mut *self.waiting()).into_values().collect()
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
