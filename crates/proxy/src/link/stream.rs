//! One stream to control, from connecting to its end.

use std::sync::Arc;
use std::time::Duration;

use model::{Revision, crash_here};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use wire::client::LinkClient;
use wire::frame::{ControlFrame, ProxyFrame};
use wire::{
    Answer, Collected, Collector, Command, CommandAnswer, FromControl, FromProxy, Heartbeat, Hello, LinkChannel,
    MESSAGE_LIMIT, Outcome, PROTOCOL_HIGHEST, PROTOCOL_LOWEST, Rejected, Work,
};

use super::queues::{OUTGOING, Queues};
use super::resolve::{Line, OpenLine};
use super::save::Saver;
use super::work::{Perform, observe, perform, rejected};
use super::{LinkStatus, apply, keys, spans};
use crate::last_good::LastGood;
use crate::peers::Peers;
use crate::seal::Sealer;
use crate::table::Tables;
use crate::timers::scaled;
use crate::unknown_keys::UnknownKeys;

/// Beyond this the list of what is held outgrows a message: control sends a snapshot instead.
const HELD: usize = 30_000;
const BEAT: Duration = Duration::from_secs(10);
/// Silence of control after which another stream is tried.
const PATIENCE: Duration = Duration::from_secs(30);
/// Heartbeats of control in a row whose digest is not the table's. One more than control itself waits
/// for, so that it comes first.
const MISMATCHES: u8 = 3;
const KEYS_EVERY: Duration = Duration::from_secs(3600);
const KEYS_AGAIN: Duration = Duration::from_secs(2);
/// How long control may take to accept the stream.
const ACCEPT: Duration = Duration::from_secs(15);
/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What the streams of one process share.
pub(super) struct Link<P> {
    pub(super) node: String,
    pub(super) boot: String,
    pub(super) tables: Arc<Tables>,
    pub(super) commands: P,
    pub(super) sealer: Arc<Sealer>,
    pub(super) last_good: LastGood,
    pub(super) saver: Saver,
    pub(super) queues: Queues,
    pub(super) line: Line,
    pub(super) peers: Arc<Peers>,
    pub(super) unknown_keys: UnknownKeys,
    pub(super) status: watch::Sender<LinkStatus>,
}

/// Why a stream ended.
pub(super) enum Ended {
    /// We are stopping.
    Shutdown,
    /// A revocation is not on disk, so control can't be told what the table holds.
    Owing(std::io::Error),
    /// There was no connection.
    Unreached(wire::ConnectError),
    /// Control did not accept the stream.
    Refused(Status),
    /// It broke.
    Lost {
        /// How.
        reason: String,
        /// How long it had been open.
        lived: Duration,
    },
}

impl<P: Perform> Link<P> {
    /// Opens a stream.
    pub(super) async fn open(&self, control: &str, tls: Arc<rustls::ClientConfig>) -> Result<Attached<'_, P>, Ended> {
        self.saver.pay().await.map_err(Ended::Owing)?;
        let channel = match wire::connect(control, tls).await {
            Ok(channel) => channel,
            Err(error) => return Err(Ended::Unreached(error)),
        };
        let mut client =
            LinkClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT).max_encoding_message_size(MESSAGE_LIMIT);
        // Before the table comes: ids that clients get are then the fleet's from the first one on.
        let fetch = keys::fetch(client.clone(), self.node.clone(), self.sealer.clone(), self.last_good.clone());
        let Ok(sealing_key) = tokio::time::timeout(scaled(ACCEPT), fetch).await else {
            return Err(Ended::Refused(Status::deadline_exceeded("control did not answer for the sealing keys")));
        };
        let (outgoing, sent) = mpsc::channel(OUTGOING);
        self.queues.begun(&outgoing);
        let line = self.line.begun(&client);
        _ = outgoing.try_send(FromProxy::Hello(self.hello()).into());
        let accepted = tokio::time::timeout(scaled(ACCEPT), client.attach(ReceiverStream::new(sent))).await;
        let incoming = match accepted {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => return Err(Ended::Refused(status)),
            Err(_) => return Err(Ended::Refused(Status::deadline_exceeded("control did not accept the stream"))),
        };
        tracing::info!(control, node = self.node, "attached to control");
        self.publish(true, false);
        Ok(Attached {
            link: self,
            client,
            incoming,
            outgoing,
            collector: Collector::default(),
            running: JoinSet::new(),
            sealing_key,
            fetching: JoinSet::new(),
            _line: line,
            mismatches: 0,
            current: false,
        })
    }

    /// Says how the link is.
    pub(super) fn publish(&self, attached: bool, current: bool) {
        let now = LinkStatus { attached, current, revision: self.saver.revision() };
        self.status.send_if_modified(|status| std::mem::replace(status, now) != now);
    }

    fn hello(&self) -> Hello {
        let mut held = self.tables.held();
        if held.len() > HELD {
            held.clear();
        }
        Hello {
            node: self.node.clone(),
            boot: self.boot.clone(),
            instance: self.last_good.instance(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: (PROTOCOL_LOWEST, PROTOCOL_HIGHEST),
            revision: self.saver.revision(),
            held,
            peer_address: self.peers.address().map(str::to_owned),
        }
    }
}

/// A stream that control has accepted.
pub(super) struct Attached<'a, P> {
    link: &'a Link<P>,
    client: LinkClient<LinkChannel>,
    incoming: Streaming<ControlFrame>,
    outgoing: mpsc::Sender<ProxyFrame>,
    collector: Collector,
    /// Commands under way; they end with the stream, since nobody would hear their answers.
    running: JoinSet<()>,
    sealing_key: u32,
    /// One fetch of the sealing keys at a time; it answers the id of the current one, 0 if it failed.
    fetching: JoinSet<u32>,
    /// Questions are asked through this stream's connection for as long as it is open.
    _line: OpenLine,
    mismatches: u8,
    current: bool,
}

impl<P: Perform> Attached<'_, P> {
    /// Serves the stream until it ends.
    pub(super) async fn serve(mut self, shutdown: &CancellationToken) -> Ended {
        let mut beat = tokio::time::interval(scaled(BEAT));
        let mut keys_due = tokio::time::interval(scaled(KEYS_EVERY));
        keys_due.reset_after(self.keys_pause());
        let opened = Instant::now();
        let mut heard = opened;
        let reason = loop {
            tokio::select! {
                message = self.incoming.message() => {
                    heard = Instant::now();
                    let frame = match message {
                        Ok(Some(frame)) => frame,
                        Ok(None) => break "control closed the stream".to_owned(),
                        Err(status) => break status.message().to_owned(),
                    };
                    if let Err(reason) = self.hear(frame).await { break reason }
                }
                _ = beat.tick() => {
                    if heard.elapsed() > scaled(PATIENCE) { break "control has gone silent".to_owned() }
                    let heartbeat = Heartbeat {
                        revision: self.link.saver.revision(),
                        digest: self.link.tables.digest(),
                        sealing_key: self.sealing_key,
                    };
                    if let Err(reason) = self.send(FromProxy::Heartbeat(heartbeat)) { break reason }
                }
                _ = keys_due.tick() => self.fetch_keys(),
                issuer = self.link.unknown_keys.next() => {
                    if let Err(reason) = self.send(FromProxy::UnknownKey(issuer)) { break reason }
                }
                Some(_) = self.running.join_next() => (),
                Some(fetched) = self.fetching.join_next() => {
                    // After a failure with a key at hand the next heartbeat asks again.
                    self.sealing_key = fetched.ok().filter(|id| *id != 0).unwrap_or(self.sealing_key);
                    keys_due.reset_after(self.keys_pause());
                }
                () = shutdown.cancelled() => {
                    self.goodbye().await;
                    return Ended::Shutdown;
                }
            }
        };
        Ended::Lost { reason, lived: opened.elapsed() }
    }

    async fn hear(&mut self, frame: ControlFrame) -> Result<(), String> {
        match FromControl::try_from(frame).map_err(|error| format!("control sent nonsense: {error}"))? {
            FromControl::Push(chunk) => {
                let whole = self.collector.take(chunk).map_err(|error| error.to_string())?;
                let Some(push) = whole else { return Ok(()) };
                let answer = self.apply(push).await?;
                self.send(FromProxy::Answer(answer))?;
                self.link.publish(true, self.current);
            }
            FromControl::Heartbeat(heartbeat) => {
                if heartbeat.sealing_key != 0 && heartbeat.sealing_key != self.sealing_key {
                    self.fetch_keys();
                }
                self.compare(&heartbeat)?;
                // Nothing was pushed because nothing differed.
                self.current |=
                    heartbeat.revision == self.link.saver.revision() && heartbeat.revision != Revision::default();
                self.link.publish(true, self.current);
            }
            FromControl::Command(command) => self.command(command)?,
            FromControl::Peers(peers) => {
                self.link.peers.told(peers.clone());
                let (kept, last_good) = (peers, self.link.last_good.clone());
                let written = spawn_blocking(move || last_good.save_peers(&kept)).await;
                if let Err(error) = written.map_err(std::io::Error::other).flatten() {
                    tracing::error!(%error, "the list of the pool's proxies can't be kept on disk");
                }
            }
        }
        Ok(())
    }

    /// Applies a push. An urgent one is on disk before its answer.
    async fn apply(&mut self, push: Collected) -> Result<Answer, String> {
        let (link, head) = (self.link, push.head);
        let at = link.saver.revision();
        if let Some(refusal) = apply::refusal(&head, at) {
            tracing::warn!(push = %head.revision, %at, ?refusal, "a push was refused");
            let refusal = Some(refusal);
            return Ok(Answer { nonce: head.nonce, revision: at, rejected: vec![], refusal, held: vec![] });
        }
        let takes_away = apply::takes_away(&push);
        let before = if takes_away { link.tables.held() } else { vec![] };
        let shuts_out = apply::shuts_out(&push, &before);
        let (change, mut rejected) = apply::change(push, &before);
        crash_here("apply.staged");
        let tables = link.tables.clone();
        // A large table takes milliseconds, in which this thread would serve no client.
        let refused = spawn_blocking(move || tables.apply(change)).await.map_err(|_| "applying a push failed")?;
        crash_here("apply.swapped");
        rejected.extend(refused.into_iter().map(|(name, reason)| Rejected { name: name.to_string(), reason }));
        for Rejected { name, reason } in &rejected {
            tracing::warn!(name, reason, "a resource was rejected and keeps its last good version");
        }
        let held = if takes_away { link.tables.held() } else { vec![] };
        let revoked = apply::revoked(&before, &held);
        if head.urgent || shuts_out || !revoked.is_empty() {
            let written = link.saver.revoked(head.revision, revoked).await;
            written.map_err(|error| format!("a revocation can't be made to last: {error}"))?;
        } else {
            link.saver.changed(head.revision);
        }
        self.current = true;
        Ok(Answer {
            nonce: head.nonce,
            revision: head.revision,
            rejected,
            refusal: None,
            held: if head.snapshot { held } else { vec![] },
        })
    }

    /// What needs the pipeline runs beside the stream; the rest is answered in its turn, because
    /// control relies on its place among the pushes.
    fn command(&mut self, command: Command) -> Result<(), String> {
        let Command { id, deadline, traceparent, work, ticket } = command;
        let tables = &self.link.tables;
        let outcome = match work {
            Work::Resync => Outcome::Resynced(tables.held()),
            Work::PruneInternal(tenant) => Outcome::Pruned(tables.remove_internal(tenant)),
            Work::Observe => observe(&self.link.commands, tables),
            Work::Probe(_) | Work::List { .. } | Work::Call { .. } => match self.link.queues.command() {
                None => rejected("too many commands are under way on this proxy"),
                Some(slot) => {
                    let (commands, outgoing) = (self.link.commands.clone(), self.outgoing.clone());
                    self.running.spawn(async move {
                        let span = spans::command(traceparent.as_deref(), &work);
                        let outcome = span.scope(perform(commands, work, ticket, deadline)).await;
                        spans::ended(span, &outcome);
                        let answer = FromProxy::Command(CommandAnswer { id, outcome });
                        _ = outgoing.send(answer.into()).await;
                        drop(slot);
                    });
                    return Ok(());
                }
            },
        };
        let answer = |outcome| FromProxy::Command(CommandAnswer { id, outcome }).into_frames();
        let frames = answer(outcome).or_else(|too_long| answer(rejected(&too_long.to_string())));
        self.send_frames(frames.map_err(|error| error.to_string())?)
    }

    /// Without any key nobody can be served.
    fn keys_pause(&self) -> Duration {
        scaled(if self.sealing_key == 0 { KEYS_AGAIN } else { KEYS_EVERY })
    }

    fn fetch_keys(&mut self) {
        let link = self.link;
        let fetch = keys::fetch(self.client.clone(), link.node.clone(), link.sealer.clone(), link.last_good.clone());
        if self.fetching.is_empty() {
            let fetch = tokio::time::timeout(scaled(ACCEPT), fetch);
            self.fetching.spawn(async move { fetch.await.unwrap_or(0) });
        }
    }

    /// Control looks too, and heals what differs by a snapshot. If it does not, it believes something
    /// wrong of us, and a new stream tells it what we hold.
    fn compare(&mut self, heartbeat: &Heartbeat) -> Result<(), String> {
        if heartbeat.revision != self.link.saver.revision() || heartbeat.digest == self.link.tables.digest() {
            self.mismatches = 0;
            return Ok(());
        }
        self.mismatches += 1;
        match self.mismatches < MISMATCHES {
            true => Ok(()),
            false => Err("control believes something else of the table than it holds".to_owned()),
        }
    }

    /// Lets the answers that are ready go out, tells control that we leave on purpose, and waits a
    /// moment until it has heard. Whoever ends us has let the commands under way finish.
    async fn goodbye(mut self) {
        let answered = async { while self.running.join_next().await.is_some() {} };
        _ = tokio::time::timeout(GOODBYE, answered).await;
        _ = self.send(FromProxy::Goodbye);
        let Self { mut incoming, outgoing, running, _line, .. } = self;
        drop((outgoing, running));
        let ended = async { while let Ok(Some(_)) = incoming.message().await {} };
        _ = tokio::time::timeout(GOODBYE, ended).await;
    }

    fn send(&self, message: FromProxy) -> Result<(), String> {
        self.send_frames(message.into_frames().map_err(|error| error.to_string())?)
    }

    fn send_frames(&self, frames: Vec<ProxyFrame>) -> Result<(), String> {
        let send = |frame| self.outgoing.try_send(frame).map_err(|_| "the stream to control is stuck".to_owned());
        frames.into_iter().try_for_each(send)
    }
}
