//! What upstreams said to header lines, on its way to control: a refusal at once, the others once a minute.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
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
        // What is said of an older token is no news, nor is it that a token is taken elsewhere which was refused: what
        // the refusal asks for would be lost.
        let stays = |held: &Verdict| match held.token_generation.cmp(&token_generation) {
            Ordering::Less => false,
            Ordering::Equal => held.refused.is_some() && !is_refusal,
            Ordering::Greater => true,
        };
        if !waiting.get(&connection).is_some_and(stays) {
            waiting.insert(connection, verdict);
        }
        let next = self.taken.load(Relaxed) + 1;
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
        let time = self.taken.fetch_add(1, Relaxed) + 1;
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::credentials::Part;

    fn lines(token_generation: i64) -> Lines {
        let part = Part::of(Some(ConnectionId(Uuid::from_u128(1))), 1, [0; 16]);
        Lines::for_test(part, token_generation, "Bearer t")
    }

    fn refusal() -> Challenge {
        Challenge { status: 403, scope: Some("write".to_owned()), ..Challenge::default() }
    }

    #[test]
    fn a_refusal_is_not_lost_to_what_another_call_with_the_same_token_was_answered() {
        let verdicts = Verdicts::default();
        for (generation, refused, waits) in [
            (2, None, (2, false)),
            (2, Some(refusal()), (2, true)),
            (2, None, (2, true)),
            (1, Some(refusal()), (2, true)),
            (3, None, (3, false)),
            (2, Some(refusal()), (3, false)),
        ] {
            verdicts.note(&lines(generation), refused);
            let waiting = verdicts.waiting();
            let found: Vec<_> = waiting.values().map(|held| (held.token_generation, held.refused.is_some())).collect();
            assert_eq!(found, [waits]);
        }
    }

    #[tokio::test]
    async fn who_tells_of_a_refusal_goes_on_when_control_has_heard_it() {
        let verdicts = Verdicts::default();
        let reporting = async {
            verdicts.urgent().await;
            let (time, taken) = verdicts.take();
            verdicts.told(time);
            taken.len()
        };
        let lines = lines(1);
        let ((), told) = tokio::join!(verdicts.tell(&lines, refusal()), reporting);
        assert_eq!((told, verdicts.len()), (1, 0));
    }
}
