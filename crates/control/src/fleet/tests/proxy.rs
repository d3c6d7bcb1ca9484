//! A proxy that speaks the link and keeps its table where a test can see it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use model::{Digest, Principal, Resource, ResourceName, Revision, ServerId};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use wire::client::LinkClient;
use wire::frame::{ControlFrame, ProxyFrame, ReportFrame, ResolveFrame, SealingKeysFrame};
use wire::{
    Answer, Collector, CommandAnswer, Evidence, FleetKeys, FromControl, FromProxy, Hello, LinkChannel, ObservedMount,
    Outcome, Rejected, Report, ResolveQuestion, Upsert, Work,
};

use super::plane::Plane;
use super::{PATIENCE, answer_to};

/// What a proxy has been told.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    pub(super) at: Revision,
    pub(super) resources: HashMap<ResourceName, Digest>,
    pub(super) attached: bool,
    pub(super) ended: Option<Code>,
    pub(super) pushes: u32,
    pub(super) snapshots: u32,
    pub(super) urgent: bool,
    pub(super) last_push: Vec<ResourceName>,
    pub(super) tickets: Vec<String>,
    pub(super) prunes: u32,
    /// Calls of tools that came, and probes.
    pub(super) calls: u32,
    pub(super) probes: u32,
    /// The header lines that the last probe brought along.
    pub(super) lines: Vec<String>,
    /// The proxies that it was told of last, and where they are reached.
    pub(super) peers: BTreeMap<String, String>,
    /// Says nothing to calls and probes.
    pub(super) mute: bool,
    leaving: bool,
}

pub(super) struct Proxy {
    node: String,
    client: LinkClient<LinkChannel>,
    state: Arc<watch::Sender<State>>,
    seen: watch::Receiver<State>,
    reject: Option<ResourceName>,
    /// The stream's own half ends it.
    outgoing: mpsc::WeakSender<ProxyFrame>,
    serving: JoinHandle<()>,
}

/// How a proxy comes to control.
pub(super) struct Wants<'a> {
    pub(super) pool: &'a str,
    pub(super) node: &'a str,
    pub(super) protocol: (u32, u32),
    pub(super) state: State,
    pub(super) reject: Option<ResourceName>,
    /// A connection that others use too; one of its own otherwise.
    pub(super) channel: Option<LinkChannel>,
    /// Where other proxies reach it.
    pub(super) peer_address: Option<&'a str>,
}

impl<'a> Wants<'a> {
    pub(super) fn new(node: &'a str) -> Self {
        let pool = node.split('/').next().unwrap();
        Self {
            pool,
            node,
            protocol: (wire::PROTOCOL_LOWEST, wire::PROTOCOL_HIGHEST),
            state: State::default(),
            reject: None,
            channel: None,
            peer_address: None,
        }
    }
}

impl Proxy {
    /// Attaches in the pool that the node names.
    pub(super) async fn attach(plane: &Plane, node: &str) -> Self {
        Self::start(plane, Wants::new(node)).await.unwrap()
    }

    pub(super) async fn attach_rejecting(plane: &Plane, node: &str, reject: ResourceName) -> Self {
        Self::start(plane, Wants { reject: Some(reject), ..Wants::new(node) }).await.unwrap()
    }

    pub(super) async fn attach_holding(plane: &Plane, node: &str, at: Revision, name: ResourceName) -> Self {
        let state = State { at, resources: HashMap::from([(name, Digest([1; 32]))]), ..State::default() };
        Self::start(plane, Wants { state, ..Wants::new(node) }).await.unwrap()
    }

    /// Opens a new stream with what the proxy holds.
    pub(super) async fn reattach(&mut self, plane: &Plane) {
        let node = self.node.clone();
        let wants = Wants { state: State { ended: None, ..self.state() }, reject: self.reject, ..Wants::new(&node) };
        *self = Self::start(plane, wants).await.unwrap();
    }

    pub(super) async fn start(plane: &Plane, wants: Wants<'_>) -> Result<Self, Status> {
        let Wants { pool, node, protocol, mut state, reject, channel, peer_address } = wants;
        plane.published().await;
        let channel = match channel {
            Some(channel) => channel,
            None => plane.channel(pool).await,
        };
        let mut client = LinkClient::new(channel).max_decoding_message_size(wire::MESSAGE_LIMIT);
        let (outgoing, sent) = mpsc::channel(64);
        let hello = Hello {
            node: node.to_owned(),
            boot: node.to_owned(),
            instance: node.to_owned(),
            build: "test".to_owned(),
            protocol,
            revision: state.at,
            held: state.resources.clone().into_iter().collect(),
            peer_address: peer_address.map(str::to_owned),
        };
        outgoing.try_send(FromProxy::Hello(hello).into()).unwrap();
        let incoming = client.attach(ReceiverStream::new(sent)).await?.into_inner();
        state.attached = true;
        let (state, seen) = watch::channel(state);
        let state = Arc::new(state);
        let weak = outgoing.downgrade();
        let serving = tokio::spawn(serve(incoming, outgoing, state.clone(), reject));
        Ok(Self { node: node.to_owned(), client, state, seen, reject, outgoing: weak, serving })
    }

    /// Waits until the proxy is at `revision` or beyond.
    pub(super) async fn reach(&mut self, revision: Revision) -> State {
        self.wait(|state| state.at >= revision).await
    }

    pub(super) async fn wait(&mut self, until: impl FnMut(&State) -> bool) -> State {
        let state = tokio::time::timeout(PATIENCE, self.seen.wait_for(until)).await;
        state.expect("it never came").unwrap().clone()
    }

    pub(super) fn state(&self) -> State {
        self.seen.borrow().clone()
    }

    /// From now on it says nothing to calls and probes.
    pub(super) fn mute(&self) {
        self.state.send_modify(|state| state.mute = true);
    }

    /// Waits until control has ended the stream; says how.
    pub(super) async fn ended(&mut self) -> Code {
        self.wait(|state| state.ended.is_some()).await.ended.unwrap()
    }

    /// Sends anything at all.
    pub(super) async fn say(&self, message: FromProxy) {
        self.outgoing.upgrade().unwrap().send(message.into()).await.unwrap();
    }

    /// Forgets a resource, as a fault would.
    pub(super) fn lose(&self, name: ResourceName) {
        self.state.send_modify(|state| _ = state.resources.remove(&name));
    }

    pub(super) async fn sealing_keys(&self) -> Result<FleetKeys, Status> {
        let answer = self.client.clone().sealing_keys(SealingKeysFrame::from(self.node.clone())).await?;
        Ok(answer.into_inner().try_into().unwrap())
    }

    /// Asks for header lines of no connection, with a ticket if that is not empty.
    pub(super) async fn resolve(&self, ticket: &str, principal: &Principal, server: ServerId) -> Result<(), Status> {
        self.resolve_as(&self.node, ticket, principal, server).await
    }

    /// The same in the name of any node.
    pub(super) async fn resolve_as(
        &self,
        node: &str,
        ticket: &str,
        principal: &Principal,
        server: ServerId,
    ) -> Result<(), Status> {
        let evidence = if ticket.is_empty() { Evidence::None } else { Evidence::Ticket(ticket.to_owned()) };
        let question = ResolveQuestion {
            node: node.to_owned(),
            principal: principal.clone(),
            server,
            connection: None,
            departments: vec![],
            newer_than: 0,
            challenge: None,
            evidence,
        };
        self.client.clone().resolve(ResolveFrame::from(&question)).await.map(|_| ())
    }

    pub(super) async fn report(&self, report: &Report) -> Result<(), Status> {
        self.client.clone().report(ReportFrame::from(report)).await.map(|_| ())
    }

    /// Ends the stream as a stopping proxy does, and waits until control has ended its half too.
    pub(super) async fn goodbye(mut self) {
        self.end(true).await;
    }

    /// Ends the stream as a proxy in trouble does.
    pub(super) async fn hang_up(mut self) {
        self.end(false).await;
    }

    async fn end(&mut self, leaving: bool) {
        // The serving task gives up its half of the stream when it sees this mark.
        self.state.send_modify(|state| (state.attached, state.leaving) = (false, leaving));
        self.wait(|state| state.ended.is_some()).await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(
    mut incoming: Streaming<ControlFrame>,
    outgoing: mpsc::Sender<ProxyFrame>,
    state: Arc<watch::Sender<State>>,
    reject: Option<ResourceName>,
) {
    let mut collector = Collector::default();
    let mut changes = state.subscribe();
    let mut outgoing = Some(outgoing);
    let ended = loop {
        let frame = tokio::select! {
            frame = incoming.message() => frame,
            leaving = leaving(&mut changes), if outgoing.is_some() => {
                if let Some(sender) = outgoing.take().filter(|_| leaving) {
                    _ = sender.send(FromProxy::Goodbye.into()).await;
                }
                continue;
            }
        };
        let Some(sender) = &outgoing else {
            if matches!(frame, Ok(Some(_))) {
                continue;
            }
            break Code::Ok;
        };
        let answer = match frame {
            Ok(Some(frame)) => hear(frame.try_into().unwrap(), &mut collector, &state, reject),
            Ok(None) => break Code::Ok,
            Err(status) => break status.code(),
        };
        if let Some(answer) = answer {
            // Fails if control has just ended the stream, which the next turn finds out.
            _ = sender.send(answer.into()).await;
        }
    };
    state.send_modify(|state| (state.attached, state.ended) = (false, Some(ended)));
}

/// Waits until the stream is to end; says whether with a goodbye.
async fn leaving(changes: &mut watch::Receiver<State>) -> bool {
    changes.wait_for(|state| !state.attached).await.is_ok_and(|state| state.leaving)
}

fn hear(
    message: FromControl,
    collector: &mut Collector,
    state: &watch::Sender<State>,
    reject: Option<ResourceName>,
) -> Option<FromProxy> {
    match message {
        FromControl::Heartbeat(_) => None,
        FromControl::Peers(peers) => {
            state.send_modify(|state| state.peers = peers.into_iter().map(|peer| (peer.node, peer.address)).collect());
            None
        }
        FromControl::Push(chunk) => {
            let push = collector.take(chunk).unwrap()?;
            let mut answer = None;
            state.send_modify(|state| answer = Some(apply(state, push, reject)));
            answer.map(FromProxy::Answer)
        }
        FromControl::Command(command) => {
            state.send_modify(|state| state.tickets.push(command.ticket.clone()));
            let held: Vec<_> = state.borrow().resources.clone().into_iter().collect();
            state.send_modify(|state| match &command.work {
                Work::Call { .. } => state.calls += 1,
                Work::Probe(probe) => {
                    state.probes += 1;
                    let headers = probe.lines.iter().flat_map(|lines| &lines.headers);
                    state.lines = headers.map(|(name, value)| format!("{name}: {}", value.expose())).collect();
                }
                _ => (),
            });
            if state.borrow().mute && matches!(command.work, Work::Call { .. } | Work::Probe(_)) {
                return None;
            }
            let outcome = match &command.work {
                Work::Resync => Outcome::Resynced(held),
                Work::Observe => Outcome::Observed(mounts(&held)),
                Work::PruneInternal(_) => {
                    state.send_modify(|state| state.prunes += 1);
                    Outcome::Pruned(0)
                }
                work => answer_to(work),
            };
            Some(FromProxy::Command(CommandAnswer { id: command.id, outcome }))
        }
    }
}

fn apply(state: &mut State, push: wire::Collected, reject: Option<ResourceName>) -> Answer {
    let mut rejected = vec![];
    state.last_push = vec![];
    if push.head.snapshot {
        state.resources.clear();
        state.snapshots += 1;
    }
    for upsert in push.upserts {
        let Upsert::Read(resource): Upsert = upsert else { panic!("{upsert:?}") };
        let resource: Resource = resource;
        state.last_push.push(resource.name());
        if Some(resource.name()) == reject {
            rejected.push(Rejected { name: resource.name().to_string(), reason: "not today".into() });
        } else {
            state.resources.insert(resource.name(), resource.digest());
        }
    }
    for name in push.removes {
        state.resources.remove(&name);
    }
    state.at = push.head.revision;
    state.pushes += 1;
    state.urgent = push.head.urgent;
    let held: Vec<_> = state.resources.clone().into_iter().collect();
    Answer {
        nonce: push.head.nonce,
        revision: state.at,
        rejected,
        refusal: None,
        held: if push.head.snapshot { held } else { vec![] },
    }
}

fn mounts(held: &[(ResourceName, Digest)]) -> Vec<ObservedMount> {
    let servers = held.iter().filter_map(|(name, digest)| match name {
        ResourceName::Server(server) => Some((*server, *digest)),
        _ => None,
    });
    servers
        .map(|(server, digest)| ObservedMount {
            tenant: model::TenantId(uuid::Uuid::nil()),
            server,
            name: String::new(),
            title: String::new(),
            url: String::new(),
            digest,
            internal: false,
            cooling_ms: None,
            spec: None,
        })
        .collect()
}
