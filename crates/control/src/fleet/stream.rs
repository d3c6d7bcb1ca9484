//! One attached proxy's stream: what came in, what goes out, and the session between the two.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use model::{ResourceName, crash_here};
use telemetry::trace::{self, Kind, Span};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};
use wire::frame::{ControlFrame, ProxyFrame};
use wire::{Command, CommandAnswer, FromControl, FromProxy, Heartbeat, Joiner, Outcome, Push};

use super::Fleet;
use super::intended::{Intended, View};
use super::peers::Told;
use super::roster::Entry;
use super::session::{Plan, Session};
use crate::timers::scaled;

/// Frames that wait for the proxy to read them. More than a whole push and every command together,
/// so a full queue means a proxy that has stopped reading.
pub(super) const OUTGOING: usize = 256;
/// Commands that wait for their answers.
pub(super) const COMMANDS: usize = 128;
const BEAT: Duration = Duration::from_secs(10);
/// Silence, or a push without its answer, for so long ends the stream.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one proxy may keep others from their snapshots.
const TURN: Duration = Duration::from_secs(5);

/// Something to ask of a proxy.
pub(crate) struct Request {
    pub(crate) command: Command,
    /// Dropped unanswered if the stream ends first.
    pub(crate) reply: oneshot::Sender<Outcome>,
}

/// Why a stream ended.
enum End {
    /// The proxy said that it leaves.
    Goodbye,
    /// It broke, or one of us must not go on.
    Broken(Option<Status>),
}

pub(super) struct Stream {
    pub(super) fleet: Arc<Fleet>,
    pub(super) entry: Entry,
    pub(super) session: Session,
    pub(super) incoming: Streaming<ProxyFrame>,
    pub(super) outgoing: mpsc::Sender<Result<ControlFrame, Status>>,
    pub(super) requests: mpsc::Receiver<Request>,
    /// How many commands wait for their answers, for whoever shows it.
    pub(super) commands: Arc<AtomicUsize>,
    /// The span of the push whose answer is awaited.
    pub(super) pushing: Option<Span>,
    pub(super) intended: watch::Receiver<Option<Arc<Intended>>>,
    /// What it is told of the other proxies of its pool.
    pub(super) peers: Told,
    pub(super) pool: String,
    /// Held from a snapshot to its answer, so that a whole fleet that comes back is served in turns.
    pub(super) turn: Option<Turn>,
    pub(super) shutdown: CancellationToken,
}

/// The right to send a snapshot.
pub(super) struct Turn {
    _permit: OwnedSemaphorePermit,
    /// A proxy that reads slowly gives way then.
    until: Instant,
}

impl Stream {
    /// Runs until the stream ends, and takes the proxy off the roster.
    pub(super) async fn run(mut self) {
        let end = self.attend().await;
        let goodbye = matches!(end, End::Goodbye);
        if let End::Broken(Some(status)) = end {
            tracing::warn!(node = self.entry.node, status = %status, "the link to a proxy is given up");
            let _ = self.outgoing.try_send(Err(status));
        } else {
            tracing::info!(node = self.entry.node, goodbye, "a proxy left");
        }
        if let Some(span) = self.pushing.take() {
            span.describe(|span| span.failed("broken"));
        }
        self.fleet.roster.leave(&self.entry, goodbye);
        // Whoever waits for the slowest does no longer wait for this one.
        self.fleet.acknowledged();
    }

    async fn attend(&mut self) -> End {
        let mut waiting: HashMap<u64, oneshot::Sender<Outcome>> = HashMap::new();
        let mut beat = tokio::time::interval(scaled(BEAT));
        let mut heard = Instant::now();
        let mut joiner = Joiner::default();
        let mut pushed = Instant::now();
        loop {
            self.commands.store(waiting.len(), Ordering::Relaxed);
            match self.push() {
                Ok(true) => pushed = Instant::now(),
                Ok(false) => (),
                Err(end) => return end,
            }
            if let Some(peers) = self.peers.news()
                && let Err(end) = self.send(FromControl::Peers(peers))
            {
                return end;
            }
            let awaited = self.session.awaits_answer();
            let (sends, waits_for_turn) = (self.fleet.sends.clone(), self.waits_for_turn());
            let turn_ends = self.turn.as_ref().map_or_else(Instant::now, |turn| turn.until);
            tokio::select! {
                message = self.incoming.message() => {
                    heard = Instant::now();
                    let frame = match message {
                        Ok(Some(frame)) => frame,
                        Ok(None) => return End::Broken(None),
                        Err(status) => return End::Broken(too_long(&status)),
                    };
                    let pushed = awaited.then_some(pushed);
                    match joiner.take(frame) {
                        Ok(None) => (),
                        Ok(Some(FromProxy::Goodbye)) => return End::Goodbye,
                        Ok(Some(message)) => {
                            if let Err(status) = self.hear(message, &mut waiting) { return End::Broken(Some(status)) }
                            if let Some(pushed) = pushed.filter(|_| !self.session.awaits_answer()) {
                                self.fleet.counters.push.took(pushed.elapsed());
                                self.turn = None;
                                self.pushing = None;
                            }
                        }
                        Err(error) => return End::Broken(Some(Status::invalid_argument(error.to_string()))),
                    }
                }
                permit = sends.acquire_owned(), if waits_for_turn => {
                    let Ok(permit) = permit else { return End::Broken(None) };
                    self.turn = Some(Turn { _permit: permit, until: Instant::now() + TURN });
                }
                () = tokio::time::sleep_until(turn_ends), if self.turn.is_some() => self.turn = None,
                () = self.peers.changed() => (),
                changed = self.intended.changed() => if changed.is_err() { return End::Broken(None) },
                Some(request) = self.requests.recv() => {
                    if waiting.len() < COMMANDS {
                        waiting.insert(request.command.id, request.reply);
                        if let Err(end) = self.send(FromControl::Command(request.command)) { return end }
                    } else {
                        let message = "too many commands wait for this proxy".to_owned();
                        let _ = request.reply.send(Outcome::Failed { class: "rejected".to_owned(), message });
                    }
                }
                _ = beat.tick() => {
                    waiting.retain(|_, reply| !reply.is_closed());
                    let stuck = self.session.awaits_answer() && pushed.elapsed() > scaled(PATIENCE);
                    if stuck || heard.elapsed() > scaled(PATIENCE) {
                        return End::Broken(Some(Status::deadline_exceeded("the proxy has gone silent")));
                    }
                    let revision = self.session.at();
                    let sealing_key = self.fleet.keys.current_id();
                    let heartbeat = Heartbeat { revision, digest: self.session.digest(), sealing_key };
                    if let Err(end) = self.send(FromControl::Heartbeat(heartbeat)) { return end }
                }
                () = self.entry.replaced.cancelled() => {
                    self.fleet.counters.replaced.add(1);
                    return End::Broken(Some(Status::aborted("a newer stream of this node came")));
                }
                () = self.shutdown.cancelled() => return End::Broken(Some(Status::unavailable("control is stopping"))),
            }
        }
    }

    /// Sends what differs, if no answer is awaited. Says whether anything was sent.
    fn push(&mut self) -> Result<bool, End> {
        // Before the look: what comes during it wakes us again.
        self.intended.mark_unchanged();
        let Some(view) = self.view() else { return Ok(false) };
        if self.session.wants_snapshot(&view) && self.turn.is_none() {
            return Ok(false);
        }
        let before = self.session.settled();
        let plan = self.session.next_push(&view);
        if before != self.session.settled() {
            self.fleet.roster.update(&self.entry, &self.session);
            self.fleet.acknowledged();
        }
        let Some(plan) = plan else { return Ok(false) };
        self.pushing = Some(self.span(&plan));
        let counters = &self.fleet.counters;
        counters.pushes.add(1);
        let frames = if plan.head.snapshot {
            counters.snapshots.add(1);
            counters.snapshot_bytes.add(view.packed().bytes() as u64);
            view.packed().push(plan.head, plan.removes)
        } else {
            Push::split(plan.head, plan.upserts.iter().filter_map(|name| view.resource(name)), plan.removes)
        };
        for frame in frames {
            self.send_frame(frame)?;
        }
        crash_here("push.sent");
        Ok(true)
    }

    /// The span of a push, a trace of its own: it brings together what any number of requests changed.
    fn span(&self, plan: &Plan) -> Span {
        let span = trace::step("push");
        span.describe(|span| {
            span.kind(Kind::Client);
            span.text("gatehouse.node", &self.entry.node);
            span.text("gatehouse.revision", plan.head.revision.to_string());
            span.text("gatehouse.snapshot", plan.head.snapshot.to_string());
            span.text("gatehouse.urgent", plan.head.urgent.to_string());
            span.number("gatehouse.upserts", i64::try_from(plan.upserts.len()).unwrap_or(i64::MAX));
            span.number("gatehouse.removes", i64::try_from(plan.removes.len()).unwrap_or(i64::MAX));
        });
        span
    }

    /// What this proxy's pool is to hold.
    fn view(&self) -> Option<Arc<View>> {
        let intended = self.intended.borrow();
        intended.as_ref().map(|intended| intended.view(&self.pool))
    }

    fn waits_for_turn(&self) -> bool {
        self.turn.is_none() && self.view().is_some_and(|view| self.session.wants_snapshot(&view))
    }

    fn hear(&mut self, message: FromProxy, waiting: &mut HashMap<u64, oneshot::Sender<Outcome>>) -> Result<(), Status> {
        match message {
            FromProxy::Hello(_) => return Err(Status::failed_precondition("a second Hello on one stream")),
            // It ends the stream, which is not for here.
            FromProxy::Goodbye => return Ok(()),
            FromProxy::Answer(answer) => {
                for rejected in &answer.rejected {
                    tracing::warn!(
                        node = self.entry.node,
                        name = rejected.name,
                        reason = rejected.reason,
                        "a proxy rejected a resource"
                    );
                }
                if let (Some(span), Some(_)) = (&self.pushing, &answer.refusal) {
                    span.describe(|span| span.failed("refused"));
                }
                if let Some(refusal) = answer.refusal {
                    tracing::warn!(node = self.entry.node, ?refusal, at = %answer.revision, "a proxy refused a push");
                }
                let strays = self.session.strays();
                self.session.answered(answer).map_err(|stubborn| Status::failed_precondition(stubborn.to_string()))?;
                self.fleet.counters.nonce_mismatches.add(self.session.strays() - strays);
            }
            FromProxy::Heartbeat(heartbeat) => {
                self.session.heartbeat(&heartbeat);
                if !self.session.digest_matches() {
                    self.fleet.counters.digest_mismatches.add(1);
                    tracing::warn!(node = self.entry.node, "a proxy's table differs from what it acknowledged");
                }
            }
            FromProxy::UnknownKey(issuer) => {
                // Of what its pool does not serve, a proxy has nothing to ask.
                let served = self.view().is_some_and(|view| view.resource(&ResourceName::Issuer(issuer)).is_some());
                if served {
                    self.fleet.wanted.ask(issuer);
                }
                return Ok(());
            }
            FromProxy::Command(CommandAnswer { id, outcome }) => {
                // Answers come in the order of what they answer, so this list fits the pushes before it.
                if let Outcome::Resynced(held) = &outcome {
                    self.session.resynced(held.clone());
                    self.fleet.roster.update(&self.entry, &self.session);
                }
                // Gone if the caller stopped waiting.
                if let Some(reply) = waiting.remove(&id) {
                    let _ = reply.send(outcome);
                }
                return Ok(());
            }
        }
        self.fleet.roster.update(&self.entry, &self.session);
        if self.fleet.lag.is_waited_for(self.session.settled()) {
            self.fleet.acknowledged();
        }
        Ok(())
    }

    fn send(&self, message: FromControl) -> Result<(), End> {
        self.send_frame(message.into())
    }

    fn send_frame(&self, frame: ControlFrame) -> Result<(), End> {
        self.outgoing.try_send(Ok(frame)).map_err(|_| End::Broken(None))
    }
}

/// What a proxy is told that sent more than a message may have; whatever else broke the stream has broken it for
/// both.
pub(super) fn too_long(status: &Status) -> Option<Status> {
    let limit = wire::MESSAGE_LIMIT;
    (status.code() == Code::OutOfRange)
        .then(|| Status::resource_exhausted(format!("a message has at most {limit} bytes")))
}
