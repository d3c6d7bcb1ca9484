//! Commands for proxies that are attached to another replica, by rows: written by who asks, taken by the replica
//! that holds the stream, answered in the row. Hints make it quick; polling makes it true.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store::{Hint, OpenCommand, StoreError};
use telemetry::trace;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use vault::PLATFORM;
use wire::{Command, CommandAnswer, Outcome, Work};

use super::Fleet;
use super::ask::Unanswered;
use crate::keyring::Place;
use crate::timers::scaled;

/// Between two looks at the rows while somebody here waits for an answer.
const BUSY: Duration = Duration::from_millis(50);
/// Between two looks otherwise.
const IDLE: Duration = Duration::from_millis(500);
/// How long the replica that holds a proxy may take to take a command.
const TAKING: Duration = Duration::from_secs(3);
/// Commands of other replicas that are done here at once; more wait in their rows.
pub(super) const DOING: usize = 256;

/// Begins a row whose command is sealed: no message of the link begins so.
const SEALED: u8 = 0xff;
/// Where a sealed command belongs: to the proxy that it is for. In the row of another one it opens to nobody.
fn place(node: &str) -> Place {
    let digest = ring::digest::digest(&ring::digest::SHA256, node.as_bytes());
    let mut record = [0; 16];
    record.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    Place { tenant: PLATFORM, kind: "command", record: Uuid::from_bytes(record), field: "body" }
}

/// The commands of this replica that others do.
pub(super) struct Relay {
    waiting: Mutex<HashMap<Uuid, Waiting>>,
    /// Wakes the one that looks at the rows.
    asked: Notify,
    doing: Arc<Semaphore>,
}

struct Waiting {
    node: String,
    /// Who has taken it, once it is taken.
    taken_by: Option<String>,
    answer: oneshot::Sender<Result<Outcome, Unanswered>>,
}

impl Relay {
    pub(super) fn new() -> Self {
        Self { waiting: Mutex::default(), asked: Notify::new(), doing: Arc::new(Semaphore::new(DOING)) }
    }

    /// How many commands of other replicas are done here now.
    pub(super) fn doing(&self) -> usize {
        DOING - self.doing.available_permits()
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Uuid, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_taken(&self, id: Uuid) -> bool {
        self.waiting().get(&id).is_none_or(|waiting| waiting.taken_by.is_some())
    }
}

impl Fleet {
    /// Has the replica that holds `node` do it.
    pub(super) async fn ask_elsewhere(
        &self,
        node: &str,
        work: Work,
        deadline: Duration,
    ) -> Result<Outcome, Unanswered> {
        self.counters.relayed.add(1);
        // The ticket is made by who holds the stream: it is redeemed there.
        let traceparent = trace::current().map(|context| context.to_string());
        let secret = matches!(&work, Work::Probe(probe) if probe.lines.is_some());
        let body = Command { id: 0, ticket: String::new(), deadline, traceparent, work }.to_bytes();
        let body = if secret { self.hidden(node, body).await? } else { body };
        let deadline_at = self.clock.now_micros() + i64::try_from(deadline.as_micros()).unwrap_or(i64::MAX / 2);
        let written = self.store.platform().put_command(&self.replica, node, body, deadline_at).await;
        let id = written.map_err(|error| unwritten(&error))?;
        let (answer, mut answered) = oneshot::channel();
        self.relay.waiting().insert(id, Waiting { node: node.to_owned(), taken_by: None, answer });
        self.relay.asked.notify_one();
        self.store.hint(Hint::Command).await;
        let outcome = match tokio::time::timeout(TAKING.min(deadline), &mut answered).await {
            Ok(answered) => answered.unwrap_or(Err(Unanswered::Broken)),
            Err(_) => self.wait_on(id, deadline.saturating_sub(TAKING), answered).await,
        };
        self.relay.waiting().remove(&id);
        if let Err(error) = self.store.platform().drop_commands(vec![id]).await {
            tracing::debug!(%error, "an answered command can't be removed, it will be purged");
        }
        outcome
    }

    /// Nobody has answered yet. What nobody has taken either is taken back, and was never sent.
    async fn wait_on(
        &self,
        id: Uuid,
        left: Duration,
        answered: oneshot::Receiver<Result<Outcome, Unanswered>>,
    ) -> Result<Outcome, Unanswered> {
        if !self.relay.is_taken(id) && self.store.platform().withdraw_command(id).await.unwrap_or(false) {
            return Err(Unanswered::NotSent);
        }
        match tokio::time::timeout(left, answered).await {
            Ok(answered) => answered.unwrap_or(Err(Unanswered::Broken)),
            Err(_) => Err(Unanswered::Late),
        }
    }

    /// Does the commands of others and hands out the answers to ours, until `shutdown`.
    pub(super) async fn run_relay(self: Arc<Self>, shutdown: CancellationToken) {
        let mut hinted = self.store.commands_hinted();
        while !shutdown.is_cancelled() {
            if let Err(error) = self.look_at_commands().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "commands of other replicas can't be read");
            }
            let pause = if self.relay.waiting().is_empty() { scaled(IDLE) } else { BUSY };
            tokio::select! {
                _ = hinted.changed() => (),
                () = self.relay.asked.notified() => (),
                () = tokio::time::sleep(pause) => (),
                () = shutdown.cancelled() => (),
            }
        }
    }

    async fn look_at_commands(self: &Arc<Self>) -> Result<(), StoreError> {
        for command in self.store.platform().open_commands().await? {
            if self.roster.requests_of(&command.node).is_none() {
                continue;
            }
            let Ok(slot) = self.relay.doing.clone().try_acquire_owned() else { break };
            if self.store.platform().take_command(command.id, &self.replica).await? {
                let fleet = self.clone();
                tokio::spawn(async move {
                    fleet.do_for_another(command).await;
                    drop(slot);
                });
            }
        }
        if self.relay.waiting().is_empty() {
            return Ok(());
        }
        for row in self.store.platform().asked_commands(&self.replica).await? {
            let mut waiting = self.relay.waiting();
            if let Some(answer) = row.answer {
                if let Some(waiting) = waiting.remove(&row.id) {
                    let answer = CommandAnswer::from_bytes(&answer).map(|answer| answer.outcome);
                    _ = waiting.answer.send(answer.map_err(|_| Unanswered::Broken));
                }
            } else if let Some(waiting) = waiting.get_mut(&row.id) {
                waiting.taken_by = row.taken_by;
            }
        }
        self.look_after_takers().await
    }

    /// A replica that has taken a command and no longer holds the proxy will not answer.
    async fn look_after_takers(&self) -> Result<(), StoreError> {
        if self.relay.waiting().values().all(|waiting| waiting.taken_by.is_none()) {
            return Ok(());
        }
        self.others.look(&self.roster).await?;
        let others = self.others.seen();
        let mut waiting = self.relay.waiting();
        let lost = waiting.iter().filter(|(_, waiting)| {
            let holds = |taker: &String| {
                others.iter().any(|other| other.attached && other.node == waiting.node && other.replica == *taker)
            };
            waiting.taken_by.as_ref().is_some_and(|taker| !holds(taker))
        });
        let lost: Vec<_> = lost.map(|(id, _)| *id).collect();
        for waiting in lost.into_iter().filter_map(|id| waiting.remove(&id)) {
            _ = waiting.answer.send(Err(Unanswered::Broken));
        }
        Ok(())
    }

    /// A command with a credential in it, as it lies in a row: a mark that no message begins with, and what the vault
    /// made of it.
    async fn hidden(&self, node: &str, body: Vec<u8>) -> Result<Vec<u8>, Unanswered> {
        let body = zeroize::Zeroizing::new(body);
        let sealed = self.keyring.seal(place(node), 1, &body).await.map_err(|error| {
            tracing::warn!(error = &error as &dyn std::error::Error, "a command for another replica can't be sealed");
            Unanswered::NotSent
        })?;
        Ok([&[SEALED][..], &sealed].concat())
    }

    /// What [`Fleet::hidden`] hid, or any other command.
    async fn opened(&self, command: &OpenCommand) -> Result<Command, String> {
        let Some(sealed) = command.body.strip_prefix(&[SEALED]) else {
            return Command::from_bytes(&command.body).map_err(|error| error.to_string());
        };
        let plain = self.keyring.open(place(&command.node), 1, sealed).await;
        let plain = plain.map_err(|error| telemetry::chain(&error).to_string())?;
        Command::from_bytes(&plain).map_err(|error| error.to_string())
    }

    async fn do_for_another(&self, command: OpenCommand) {
        let outcome = match self.opened(&command).await {
            Ok(Command { work, deadline, traceparent, .. }) => {
                let span = trace::server(traceparent.as_deref(), None);
                span.describe(|span| span.name(&format!("relay {}", work.as_str())));
                span.scope(self.ask_here(&command.node, work, deadline)).await
            }
            Err(message) => Ok(Outcome::Failed { class: "rejected".to_owned(), message }),
        };
        // Unanswered is unanswered: who asked finds out by its deadline, or because the proxy left.
        let outcome = outcome.unwrap_or_else(|unanswered| Outcome::Failed {
            class: unanswered.class().to_owned(),
            message: "the proxy did not answer".to_owned(),
        });
        let answer = CommandAnswer { id: 0, outcome }.into_bytes();
        match self.store.platform().answer_command(command.id, &self.replica, answer).await {
            Ok(_) => self.store.hint(Hint::Command).await,
            Err(error) => tracing::warn!(%error, node = command.node, "the answer to a command can't be written"),
        }
    }
}

fn unwritten(error: &StoreError) -> Unanswered {
    tracing::warn!(error = error as &dyn std::error::Error, "a command for another replica can't be written");
    Unanswered::NotSent
}
