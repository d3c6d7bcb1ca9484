//! Who listens in a tenant: open GET streams, and the notifications that reach them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use mcp::ListKind;
use model::{Generation, ServerId, Subject, ToolsetId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::client::Capabilities;
use crate::credentials::{Part, Served, Unserved, departments, served};
use crate::principal::Caller;
use crate::session::Uid;
use crate::subscriptions::Wanted;
use crate::table::{Connections, Mount, People, Toolset};

/// Changes within this time become one notification.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Events that may wait for a slow reader; what comes on top is dropped for it.
const BACKLOG: usize = 256;

/// The open streams of one tenant, and a counter that rises whenever one of its lists may have changed.
#[derive(Default)]
pub(crate) struct Hub {
    epoch: AtomicU64,
    /// How many streams are open, to be read without the lock.
    count: AtomicUsize,
    /// A notification is on its way.
    waking: AtomicBool,
    listeners: Mutex<HashMap<Uid, Listener>>,
    /// Answers that still stream.
    answers: Mutex<HashMap<u64, Answering>>,
    next: AtomicU64,
    /// Which credentials there are, as far as they are the tenant's.
    connections: ArcSwap<Connections>,
    /// Who is in which department, where nothing that was shown says it.
    people: ArcSwap<People>,
}

/// An answer on its way, as long as whoever asked may have it.
struct Answering {
    caller: Caller,
    server: Box<str>,
    ended: CancellationToken,
}

/// The place of an answer that streams; given back on drop.
pub(crate) struct Tie {
    hub: Arc<Hub>,
    id: u64,
    ended: CancellationToken,
}

impl Tie {
    /// Fires when nothing lets whoever asked have the rest.
    pub(crate) fn ended(&self) -> &CancellationToken {
        &self.ended
    }
}

impl Drop for Tie {
    fn drop(&mut self) {
        self.hub.answering().remove(&self.id);
    }
}

/// What a stream hears of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hears {
    /// All servers, or those of these names.
    All(Option<Arc<[Box<str>]>>),
    /// The server of its URL.
    Server(ServerId),
    /// The tools of a toolset, as far as they are of servers of these names.
    Toolset {
        /// Which one.
        id: ToolsetId,
        /// Which version of it.
        generation: Generation,
        /// The servers that it has anything of.
        servers: Arc<[ServerId]>,
        /// `None` for all.
        allowed: Option<Arc<[Box<str>]>>,
    },
    /// Nothing: the built-in service never changes.
    Nothing,
}

impl Hears {
    /// Whether it is about this server.
    pub(crate) fn of(&self, server: ServerId, name: &str) -> bool {
        let is_among = |names: &Option<Arc<[Box<str>]>>| {
            names.as_ref().is_none_or(|names| names.iter().any(|allowed| &**allowed == name))
        };
        match self {
            Self::All(names) => is_among(names),
            Self::Server(only) => *only == server,
            Self::Toolset { servers, allowed, .. } => servers.contains(&server) && is_among(allowed),
            Self::Nothing => false,
        }
    }

    /// The kinds of lists that there are.
    pub(crate) fn lists(&self) -> u8 {
        match self {
            Self::Toolset { .. } => Hub::bit(ListKind::Tools),
            Self::All(_) | Self::Server(_) | Self::Nothing => Hub::ALL_LISTS,
        }
    }
}

struct Listener {
    subject: Subject,
    caller: Caller,
    hears: Hears,
    /// What its client can be asked.
    capabilities: Capabilities,
    /// Later ones have higher numbers.
    number: u64,
    /// Kinds of lists that changed since its last notification, one bit each.
    changed: u8,
    /// What a client without a session asked for.
    wanted: Option<Arc<Wanted>>,
    events: mpsc::Sender<Bytes>,
}

impl Listener {
    /// The events that say that these kinds of lists changed.
    fn notifications(&self, kinds: u8) -> Vec<Bytes> {
        match &self.wanted {
            Some(wanted) => wanted.changed(kinds),
            None => notifications(kinds),
        }
    }
}

/// An open stream: the events to send, and the place that is given back on drop.
pub(crate) struct Stream {
    pub(crate) events: mpsc::Receiver<Bytes>,
    hub: Arc<Hub>,
    uid: Uid,
}

impl Hub {
    /// Every kind of list.
    pub(crate) const ALL_LISTS: u8 = 0b1111;

    /// Rises with every change that could make a prepared list wrong.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Something is known now that was not: prepared lists are made anew, nobody is told.
    pub(crate) fn bump(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// How `caller` is served at `mount` as things are now.
    pub(crate) fn served(&self, mount: &Mount, caller: Option<&Caller>) -> Result<Served, Unserved> {
        if mount.spec.binding.is_none() {
            return Ok(Served::default());
        }
        served(&self.connections.load(), &self.people.load(), mount, caller)
    }

    /// The departments of a caller, in the caller's order.
    pub(crate) fn departments(&self, caller: &Caller) -> Vec<String> {
        departments(&self.people.load(), caller).into_iter().map(str::to_owned).collect()
    }

    /// Who is in which department from now on.
    pub(crate) fn people_changed(&self, now: &Arc<People>) {
        self.people.store(now.clone());
    }

    /// Which credentials there are from now on. Who is served otherwise at one of these mounts than before hears that its
    /// lists changed; streams on its own URL that heard an upstream end after it, since what they hear is another's.
    pub(crate) fn connections_changed(self: &Arc<Self>, now: &Arc<Connections>, mounts: &[Arc<Mount>]) {
        let before = self.connections.swap(now.clone());
        let people = self.people.load();
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut changed = false;
        self.retain(|listener| {
            let hears = mounts.iter().filter(|mount| listener.hears.of(mount.spec.id, mount.name()));
            let part = |connections: &Connections, mount: &Mount| {
                served(connections, &people, mount, Some(&listener.caller)).map(|served| served.part)
            };
            let parts = hears.map(|mount| (part(&before, mount), part(now, mount)));
            let Some((earlier, _)) = parts.into_iter().find(|(earlier, later)| earlier != later) else { return true };
            // Who was not served heard nobody.
            if matches!(listener.hears, Hears::Server(_)) && earlier.is_ok() {
                let told = listener.notifications(Self::ALL_LISTS);
                let told = told.into_iter().map(|event| listener.events.try_send(event));
                // Who reads too slowly for it has to come again all the same.
                told.for_each(|_full| ());
                return false;
            }
            listener.changed |= listener.hears.lists();
            changed = true;
            true
        });
        if changed {
            self.wake();
        }
    }

    /// The notifications that say that these kinds of lists changed.
    pub(crate) fn methods(kinds: u8) -> Vec<&'static str> {
        methods(kinds)
    }

    /// The bit of one kind of list.
    pub(crate) fn bit(kind: ListKind) -> u8 {
        1 << (kind as u8)
    }

    /// Opens the stream of a session; `None` if the session has one.
    pub(crate) fn listen(self: &Arc<Self>, uid: Uid, caller: Caller, hears: Hears) -> Option<Stream> {
        self.listen_for(uid, caller, hears, None)
    }

    /// The same for a client without a session, that hears of what it wants alone.
    pub(crate) fn listen_for(
        self: &Arc<Self>,
        uid: Uid,
        caller: Caller,
        hears: Hears,
        wanted: Option<Arc<Wanted>>,
    ) -> Option<Stream> {
        let (sender, events) = mpsc::channel(BACKLOG);
        let mut listeners = self.lock();
        if listeners.get(&uid).is_some_and(|listener| !listener.events.is_closed()) {
            return None;
        }
        let subject = caller.subject();
        let (capabilities, number) = (Capabilities::NONE, self.next.fetch_add(1, Ordering::Relaxed));
        let (changed, events_to) = (0, sender);
        let listener = Listener { subject, caller, hears, capabilities, number, changed, wanted, events: events_to };
        listeners.insert(uid, listener);
        self.count.store(listeners.len(), Ordering::Release);
        Some(Stream { events, hub: self.clone(), uid })
    }

    /// The client of this session's stream can be asked these.
    pub(crate) fn can_be_asked(&self, uid: Uid, capabilities: Capabilities) {
        if let Some(listener) = self.lock().get_mut(&uid) {
            listener.capabilities = capabilities;
        }
    }

    /// The session whose stream takes a question of this server that belongs to no call: of several of the subject the one
    /// that was opened last; with `only`, that session or none. Whether its URL is one of several servers.
    pub(crate) fn who_takes(
        &self,
        subject: Subject,
        mount: &Mount,
        only: Option<Uid>,
        takes: impl Fn(Capabilities) -> bool,
    ) -> Option<(Uid, bool)> {
        let listeners = self.lock();
        let meant = listeners.iter().filter(|(uid, listener)| {
            only.is_none_or(|only| **uid == only)
                && listener.subject == subject
                && listener.hears.of(mount.spec.id, mount.name())
                && takes(listener.capabilities)
                && !listener.events.is_closed()
        });
        let (uid, listener) = meant.max_by_key(|(_, listener)| listener.number)?;
        Some((*uid, !matches!(listener.hears, Hears::Server(_))))
    }

    /// Puts an event on the stream of one session; false if it has none, or its reader is too far behind.
    pub(crate) fn put(&self, uid: Uid, event: Bytes) -> bool {
        self.lock().get(&uid).is_some_and(|listener| listener.events.try_send(event).is_ok())
    }

    /// Whoever reads the stream of this session has missed something: it hears that its lists may have changed.
    pub(crate) fn owes_changes(self: &Arc<Self>, uid: Uid) {
        if let Some(listener) = self.lock().get_mut(&uid).filter(|listener| listener.hears != Hears::Nothing) {
            listener.changed |= listener.hears.lists();
        }
        self.wake();
    }

    /// Notes an answer of a server that streams to `caller`.
    pub(crate) fn tie(self: &Arc<Self>, caller: Caller, server: &str) -> Tie {
        let (id, ended) = (self.next.fetch_add(1, Ordering::Relaxed), CancellationToken::new());
        self.answering().insert(id, Answering { caller, server: server.into(), ended: ended.clone() });
        Tie { hub: self.clone(), id, ended }
    }

    /// Whether anybody of this subject listens to this server.
    pub(crate) fn is_heard(&self, subject: Subject, mount: &Mount) -> bool {
        self.count.load(Ordering::Acquire) > 0
            && self
                .lock()
                .values()
                .any(|listener| listener.subject == subject && listener.hears.of(mount.spec.id, mount.name()))
    }

    /// How many events wait for the slowest reader, and how many may.
    pub(crate) fn fill(&self) -> (usize, usize) {
        if self.count.load(Ordering::Acquire) == 0 {
            return (0, BACKLOG);
        }
        let waiting = |listener: &Listener| BACKLOG.saturating_sub(listener.events.capacity());
        (self.lock().values().map(waiting).max().unwrap_or(0), BACKLOG)
    }

    /// Whether the stream of this session is open.
    pub(crate) fn is_open(&self, uid: Uid) -> bool {
        self.lock().get(&uid).is_some_and(|listener| !listener.events.is_closed())
    }

    /// Passes an event of a server's on to the streams of one subject; with `only`, to that session.
    pub(crate) fn tell(&self, subject: Subject, mount: &Mount, only: Option<Uid>, event: &Bytes) {
        self.tell_each(subject, mount, only, |_, _| Some(event.clone()));
    }

    /// The same where the event depends on the session and on whether its URL is one of several servers; `None` for those
    /// that are not meant.
    pub(crate) fn tell_each(
        &self,
        subject: Subject,
        mount: &Mount,
        only: Option<Uid>,
        event: impl Fn(Uid, bool) -> Option<Bytes>,
    ) {
        for (uid, listener) in self.lock().iter() {
            let meant = only.is_none_or(|only| *uid == only) && listener.hears.of(mount.spec.id, mount.name());
            if meant && listener.subject == subject && listener.wanted.is_none() {
                // A reader that is 256 events behind loses this one; it can always ask again.
                let event = event(*uid, !matches!(listener.hears, Hears::Server(_)));
                let _full = event.map(|event| listener.events.try_send(event));
            }
        }
    }

    /// A resource of a server changed, says the server to this subject: told to its streams without a session that want it.
    pub(crate) fn updated(&self, subject: Subject, mount: &Mount, uri: &str) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        for listener in self.lock().values().filter(|listener| listener.subject == subject) {
            let event = listener.wanted.as_ref().and_then(|wanted| wanted.updated(mount.spec.id, uri));
            // Like any other event: a reader that is too far behind can always ask again.
            let _full = event.map(|event| listener.events.try_send(event));
        }
    }

    /// Lists of a server changed, of everybody or of one part only: raises the epoch, and tells those who hear of it a
    /// moment later, once per burst.
    pub(crate) fn lists_changed(self: &Arc<Self>, kinds: u8, mount: &Mount, part: Option<Part>) {
        self.bump();
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        for listener in self.lock().values_mut().filter(|listener| listener.hears.of(mount.spec.id, mount.name())) {
            let own = || self.served(mount, Some(&listener.caller)).map(|served| served.part.of_lists());
            if part.is_none_or(|part| own() == Ok(part.of_lists())) {
                listener.changed |= kinds & listener.hears.lists();
            }
        }
        self.wake();
    }

    fn wake(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.waking.swap(true, Ordering::AcqRel) {
            return;
        }
        let hub = self.clone();
        runtime.spawn(async move {
            tokio::time::sleep(DEBOUNCE).await;
            hub.waking.store(false, Ordering::Release);
            // A reader that is too far behind to be told that a list changed has to come again.
            hub.retain(|listener| {
                let kinds = std::mem::take(&mut listener.changed);
                listener.notifications(kinds).into_iter().all(|event| listener.events.try_send(event).is_ok())
            });
        });
    }

    /// Ends the streams on servers that are no longer there.
    pub(crate) fn end_streams_of_absent(&self, present: impl Fn(ServerId) -> bool) {
        self.retain(|listener| match &listener.hears {
            Hears::Server(server) => present(*server),
            Hears::All(_) | Hears::Toolset { .. } | Hears::Nothing => true,
        });
    }

    /// Which toolsets there are from now on: streams at one that has changed hear that their list has, streams at one
    /// that is gone end.
    pub(crate) fn toolsets_changed<'a>(self: &Arc<Self>, now: impl Fn(ToolsetId) -> Option<&'a Toolset>) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut changed = false;
        self.retain(|listener| {
            let Hears::Toolset { id, generation, servers, .. } = &mut listener.hears else { return true };
            let Some(toolset) = now(*id) else { return false };
            if std::mem::replace(generation, toolset.spec.generation) != toolset.spec.generation {
                *servers = toolset.servers().collect();
                listener.changed |= Self::bit(ListKind::Tools);
                changed = true;
            }
            true
        });
        if changed {
            self.wake();
        }
    }

    /// Ends every stream of this session.
    pub(crate) fn end(&self, uid: Uid) {
        let mut listeners = self.lock();
        listeners.remove(&uid);
        self.count.store(listeners.len(), Ordering::Release);
    }

    /// Ends the streams of those who may not go on.
    pub(crate) fn end_streams(&self, may: impl Fn(&Caller) -> bool) {
        if self.count.load(Ordering::Acquire) > 0 {
            self.retain(|listener| may(&listener.caller));
        }
    }

    /// Ends the answers that stream to those who may not have the rest of what this server says.
    pub(crate) fn end_answers(&self, may: impl Fn(&Caller, &str) -> bool) {
        for answer in self.answering().values().filter(|answer| !may(&answer.caller, &answer.server)) {
            answer.ended.cancel();
        }
    }

    /// Nobody may listen here any more, nor have the rest of an answer.
    pub(crate) fn end_all(&self) {
        self.end_streams(|_| false);
        self.end_answers(|_, _| false);
    }

    fn answering(&self) -> MutexGuard<'_, HashMap<u64, Answering>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn retain(&self, mut stays: impl FnMut(&mut Listener) -> bool) {
        let mut listeners = self.lock();
        listeners.retain(|_, listener| stays(listener));
        self.count.store(listeners.len(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uid, Listener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// Where it comes from.
    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.events.close();
        let mut listeners = self.hub.lock();
        if listeners.get(&self.uid).is_some_and(|listener| listener.events.is_closed()) {
            listeners.remove(&self.uid);
            self.hub.count.store(listeners.len(), Ordering::Release);
        }
    }
}

fn notifications(kinds: u8) -> Vec<Bytes> {
    let framed = |method| mcp::sse::frame(&mcp::write::notification(method, b"", None, &[]));
    Hub::methods(kinds).into_iter().map(framed).collect()
}

fn methods(kinds: u8) -> Vec<&'static str> {
    let mut methods: Vec<&'static str> = ListKind::ALL
        .into_iter()
        .filter(|kind| kinds & Hub::bit(*kind) != 0)
        .map(|kind| match kind {
            ListKind::Tools => "notifications/tools/list_changed",
            ListKind::Prompts => "notifications/prompts/list_changed",
            ListKind::Resources | ListKind::Templates => "notifications/resources/list_changed",
        })
        .collect();
    methods.dedup();
    methods
}

#[cfg(test)]
mod tests;
