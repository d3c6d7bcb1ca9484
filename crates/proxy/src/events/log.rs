//! One stream as it is kept: its last events, who writes it, and who reads it again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use futures::task::AtomicWaker;

use super::id::Kind;
use super::{OF_EVENT, STREAM_BYTES, STREAM_EVENTS};
use crate::session::Uid;

/// The last events of one stream.
pub(crate) struct Log {
    pub(super) stream: u64,
    pub(super) kind: Kind,
    /// What its ids begin with.
    prefix: String,
    pub(super) uid: Uid,
    /// Whose answer it is.
    server: Box<str>,
    /// Rises with each reader; only the last one gets anything.
    turn: AtomicU64,
    /// Whoever reads it first-hand, to be told that somebody else does now.
    first_hand: AtomicWaker,
    /// Of all streams together, in bytes.
    total: Arc<AtomicUsize>,
    kept: Mutex<Kept>,
}

struct Kept {
    events: VecDeque<(u64, Bytes)>,
    bytes: usize,
    /// The number of the event to come.
    next: u64,
    ended: Option<Instant>,
    reader: Option<Waker>,
    /// The hub's epoch when the stream broke off.
    epoch: u64,
}

impl Log {
    pub(super) fn new(
        stream: u64,
        kind: Kind,
        prefix: String,
        uid: Uid,
        server: &str,
        total: Arc<AtomicUsize>,
    ) -> Self {
        let kept = Kept { events: VecDeque::new(), bytes: 0, next: 1, ended: None, reader: None, epoch: 0 };
        Self {
            stream,
            kind,
            prefix,
            uid,
            server: server.into(),
            turn: AtomicU64::new(0),
            first_hand: AtomicWaker::new(),
            total,
            kept: Mutex::new(kept),
        }
    }

    /// The server whose answer it is.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Makes an event with the next id, and keeps it: of each stream the last ones, of which the very last whatever its
    /// size.
    pub(super) fn keep(&self, event: impl FnOnce(&str) -> Bytes) -> Bytes {
        let mut kept = self.kept();
        let number = kept.next;
        kept.next += 1;
        let event = event(&format!("{}{number}", self.prefix));
        let size = event.len() + OF_EVENT;
        kept.events.push_back((number, event.clone()));
        kept.bytes += size;
        self.total.fetch_add(size, Ordering::Relaxed);
        while kept.events.len() > 1 && (kept.events.len() > STREAM_EVENTS || kept.bytes > STREAM_BYTES) {
            self.drop_oldest(&mut kept);
        }
        if let Some(reader) = kept.reader.take() {
            reader.wake();
        }
        event
    }

    fn drop_oldest(&self, kept: &mut Kept) {
        if let Some((_, oldest)) = kept.events.pop_front() {
            let size = oldest.len() + OF_EVENT;
            kept.bytes -= size;
            self.total.fetch_sub(size, Ordering::Relaxed);
        }
    }

    /// Keeps nothing any more of what there was.
    pub(super) fn clear(&self) {
        let mut kept = self.kept();
        while !kept.events.is_empty() {
            self.drop_oldest(&mut kept);
        }
    }

    /// Another reader begins: whoever read until now gets nothing more.
    pub(super) fn begin_turn(&self) -> u64 {
        let turn = self.turn.fetch_add(1, Ordering::AcqRel) + 1;
        self.first_hand.wake();
        if let Some(reader) = self.kept().reader.take() {
            reader.wake();
        }
        turn
    }

    pub(super) fn turn(&self) -> u64 {
        self.turn.load(Ordering::Acquire)
    }

    /// Whether somebody else reads now; if not, `cx` is woken when it comes to that.
    pub(super) fn is_taken(&self, turn: u64, cx: &Context<'_>) -> bool {
        if self.turn() != turn {
            return true;
        }
        self.first_hand.register(cx.waker());
        self.turn() != turn
    }

    /// `cx` is woken when another reader begins, or the stream is forgotten.
    pub(super) fn wakes(&self, cx: &Context<'_>) {
        self.first_hand.register(cx.waker());
    }

    /// Nothing more comes, for now.
    pub(super) fn end(&self, epoch: u64) {
        let mut kept = self.kept();
        (kept.ended, kept.epoch) = (Some(Instant::now()), epoch);
        if let Some(reader) = kept.reader.take() {
            reader.wake();
        }
    }

    /// It goes on. What the epoch was when it ended, if it had.
    pub(super) fn revive(&self) -> Option<u64> {
        let mut kept = self.kept();
        kept.ended.take().map(|_| kept.epoch)
    }

    pub(super) fn ended(&self) -> Option<Instant> {
        self.kept().ended
    }

    /// Whether there was an event of this number.
    pub(super) fn has_told(&self, number: u64) -> bool {
        number < self.kept().next
    }

    /// What came after the event of this number.
    pub(super) fn after(&self, number: u64) -> VecDeque<Bytes> {
        let kept = self.kept();
        kept.events.iter().filter(|(at, _)| *at > number).map(|(_, event)| event.clone()).collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.clear();
        self.total.fetch_sub(super::OF_STREAM, Ordering::Relaxed);
    }
}

/// An answer that is read again, from where its reader lost it, and to its end.
pub(crate) struct Replay {
    log: Arc<Log>,
    turn: u64,
    last: u64,
}

impl Replay {
    pub(super) fn new(log: Arc<Log>, last: u64) -> Self {
        let turn = log.begin_turn();
        Self { log, turn, last }
    }

    pub(crate) fn server(&self) -> &str {
        self.log.server()
    }

    /// The next event; `None` at the end, or when somebody else reads it.
    pub(crate) fn poll_event(&mut self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        let mut kept = self.log.kept();
        if self.log.turn() != self.turn {
            return Poll::Ready(None);
        }
        let at = kept.events.partition_point(|(number, _)| *number <= self.last);
        if let Some((number, event)) = kept.events.get(at) {
            self.last = *number;
            return Poll::Ready(Some(event.clone()));
        }
        if kept.ended.is_some() {
            return Poll::Ready(None);
        }
        kept.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}
