//! Who listens in a tenant: open GET streams, and the notifications that reach them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use mcp::ListKind;
use model::{KeyId, ServerId};
use tokio::sync::mpsc;

use crate::session::Uid;

/// Changes within this time become one notification.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Events that may wait for a slow reader; what comes on top is dropped for it.
const BACKLOG: usize = 256;

/// The open streams of one tenant, and a counter that rises whenever one of its lists may have changed.
#[derive(Default)]
pub(crate) struct Hub {
    epoch: AtomicU64,
    /// Kinds of lists that changed since the last notification, one bit each.
    pending: AtomicU8,
    listeners: Mutex<HashMap<Uid, Listener>>,
}

struct Listener {
    key: KeyId,
    /// A stream on one server's URL hears of that server only.
    server: Option<ServerId>,
    events: mpsc::Sender<Bytes>,
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

    /// The bit of one kind of list.
    pub(crate) fn bit(kind: ListKind) -> u8 {
        1 << (kind as u8)
    }

    /// Opens the stream of a session; `None` if the session has one.
    pub(crate) fn listen(self: &Arc<Self>, uid: Uid, key: KeyId, server: Option<ServerId>) -> Option<Stream> {
        let (sender, events) = mpsc::channel(BACKLOG);
        let mut listeners = self.lock();
        if listeners.get(&uid).is_some_and(|listener| !listener.events.is_closed()) {
            return None;
        }
        listeners.insert(uid, Listener { key, server, events: sender });
        Some(Stream { events, hub: self.clone(), uid })
    }

    /// Whether anybody of this key listens to this server.
    pub(crate) fn is_heard(&self, key: KeyId, server: ServerId) -> bool {
        self.lock().values().any(|listener| listener.key == key && listener.server.is_none_or(|only| only == server))
    }

    /// Passes an event of a server's on to the streams of one key; with `only`, to that session.
    pub(crate) fn tell(&self, key: KeyId, server: ServerId, only: Option<Uid>, event: &Bytes) {
        for (uid, listener) in self.lock().iter() {
            let meant = match only {
                Some(only) => *uid == only,
                None => listener.server.is_none_or(|server_only| server_only == server),
            };
            if meant && listener.key == key {
                // A reader that is 256 events behind loses this one; it can always list again.
                let _full = listener.events.try_send(event.clone());
            }
        }
    }

    /// Lists changed: raises the epoch, and tells every stream a moment later, once per burst.
    pub(crate) fn lists_changed(self: &Arc<Self>, kinds: u8) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        if self.lock().is_empty() || self.pending.fetch_or(kinds, Ordering::AcqRel) != 0 {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let hub = self.clone();
        runtime.spawn(async move {
            tokio::time::sleep(DEBOUNCE).await;
            let kinds = hub.pending.swap(0, Ordering::AcqRel);
            for event in notifications(kinds) {
                for listener in hub.lock().values() {
                    let _full = listener.events.try_send(event.clone());
                }
            }
        });
    }

    /// Ends the streams on servers that are no longer there.
    pub(crate) fn end_streams_of_absent(&self, present: impl Fn(ServerId) -> bool) {
        self.lock().retain(|_, listener| listener.server.is_none_or(&present));
    }

    /// Ends every stream of this session.
    pub(crate) fn end(&self, uid: Uid) {
        self.lock().remove(&uid);
    }

    /// Ends the streams of keys that are no longer valid.
    pub(crate) fn end_streams_of_keys(&self, gone: impl Fn(KeyId) -> bool) {
        self.lock().retain(|_, listener| !gone(listener.key));
    }

    /// How many streams are open.
    #[cfg(test)]
    pub(crate) fn open(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uid, Listener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.events.close();
        let mut listeners = self.hub.lock();
        if listeners.get(&self.uid).is_some_and(|listener| listener.events.is_closed()) {
            listeners.remove(&self.uid);
        }
    }
}

fn notifications(kinds: u8) -> Vec<Bytes> {
    let mut methods: Vec<&str> = ListKind::ALL
        .into_iter()
        .filter(|kind| kinds & Hub::bit(*kind) != 0)
        .map(|kind| match kind {
            ListKind::Tools => "notifications/tools/list_changed",
            ListKind::Prompts => "notifications/prompts/list_changed",
            ListKind::Resources | ListKind::Templates => "notifications/resources/list_changed",
        })
        .collect();
    methods.dedup();
    methods.into_iter().map(|method| mcp::sse::frame(&mcp::write::notification(method, b"", None, &[]))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> KeyId {
        "0123456789abcdef".parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_changes_is_one_notification_for_each_kind() {
        let hub = Arc::new(Hub::default());
        let mut stream = hub.listen(Uid([1; 8]), key(), None).unwrap();
        for _ in 0..100 {
            hub.lists_changed(Hub::bit(ListKind::Tools));
        }
        hub.lists_changed(Hub::bit(ListKind::Resources) | Hub::bit(ListKind::Templates));
        let first = stream.events.recv().await.unwrap();
        let second = stream.events.recv().await.unwrap();
        assert!(first.windows(5).any(|part| part == b"tools"));
        assert!(second.windows(9).any(|part| part == b"resources"));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(stream.events.try_recv().is_err());
        assert_eq!(hub.epoch(), 101);
    }

    #[tokio::test]
    async fn a_session_has_one_stream_and_another_after_it_closed() {
        let hub = Arc::new(Hub::default());
        let first = hub.listen(Uid([1; 8]), key(), None);
        assert!(first.is_some());
        assert!(hub.listen(Uid([1; 8]), key(), None).is_none());
        drop(first);
        assert_eq!(hub.open(), 0);
        assert!(hub.listen(Uid([1; 8]), key(), None).is_some());
    }

    #[tokio::test]
    async fn the_stream_of_a_server_that_is_gone_ends() {
        let hub = Arc::new(Hub::default());
        let mut stream = hub.listen(Uid([1; 8]), key(), Some(ServerId::fresh())).unwrap();
        hub.end_streams_of_absent(|_| false);
        assert!(stream.events.recv().await.is_none());
    }
}
