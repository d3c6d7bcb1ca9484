//! One open stream, and what was posted to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::HeaderValue;
use http::request::Parts;
use mcp::sse;
use model::TenantId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::body::Gauge;
use crate::limits::Held;
use crate::path::Target;
use crate::principal::{Authenticated, Caller};
use crate::table::Table;

/// Requests of one stream that are served at once.
const REQUESTS: usize = 64;

/// An open stream.
pub(super) struct Open {
    tenant: TenantId,
    /// Whoever opened it: another's looks absent.
    caller: Caller,
    pub(super) target: Owned,
    pub(super) events: mpsc::Sender<Bytes>,
    /// Its session has begun, or is about to.
    begins: AtomicBool,
    /// The sealed id of the session, once it has begun.
    session: Mutex<Option<HeaderValue>>,
    /// The place of a stream, until what hears for it has its own.
    place: Mutex<Option<(Held, Gauge)>>,
    requests: Arc<Semaphore>,
    /// What works for the stream.
    pub(super) tasks: TaskTracker,
    /// Ends the stream, and whatever works for it.
    pub(super) over: CancellationToken,
}

/// A request that is being answered.
pub(super) struct Posting {
    pub(super) who: Authenticated,
    pub(super) head: Parts,
    pub(super) message: Bytes,
    /// The client's id, raw JSON.
    pub(super) id: Bytes,
    /// It is the one with which the session begins.
    pub(super) begins: bool,
    pub(super) _place: OwnedSemaphorePermit,
}

impl Open {
    pub(super) fn new(who: &Authenticated, target: Owned, events: mpsc::Sender<Bytes>, place: (Held, Gauge)) -> Self {
        Self {
            tenant: who.tenant.spec.id,
            caller: who.caller().clone(),
            target,
            events,
            begins: AtomicBool::new(false),
            session: Mutex::default(),
            place: Mutex::new(Some(place)),
            requests: Arc::new(Semaphore::new(REQUESTS)),
            tasks: TaskTracker::new(),
            over: CancellationToken::new(),
        }
    }

    /// Whether somebody may post to it at this endpoint.
    pub(super) fn is_of(&self, who: &Authenticated, target: Target<'_>) -> bool {
        self.tenant == who.tenant.spec.id && self.caller.subject() == who.subject() && self.target.target() == target
    }

    /// Who opened it, by the table of this moment.
    pub(super) fn who(&self, table: &Table, now: i64) -> Option<Authenticated> {
        Authenticated::of_caller(table, self.tenant, &self.caller, now)
    }

    /// The sealed id of its session.
    pub(super) fn session(&self) -> Option<HeaderValue> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its session is about to begin; false if it has, or another one is.
    pub(super) fn begins(&self) -> bool {
        !self.begins.swap(true, Ordering::AcqRel)
    }

    /// What came of it: a session, or none.
    pub(super) fn begun(&self, id: Option<&HeaderValue>) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = id.cloned();
        self.begins.store(id.is_some(), Ordering::Release);
    }

    /// A place for a request, until it is dropped; `None` at the bound.
    pub(super) fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.requests.clone().try_acquire_owned().ok()
    }

    /// Gives up the place that it has among the tenant's streams; false if it has before.
    pub(super) fn gives_place(&self) -> bool {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }

    /// Puts a message on the stream, as soon as its reader makes room. Nobody hears it once the stream has ended.
    pub(super) async fn say(&self, message: &[u8]) {
        let _ended = self.events.send(sse::frame(message)).await;
    }
}

/// An endpoint, for longer than the request that named it.
pub(super) enum Owned {
    Aggregate,
    Server(Box<str>),
    BuiltIn,
    Toolset(Box<str>),
}

impl Owned {
    pub(super) fn of(target: Target<'_>) -> Self {
        match target {
            Target::Aggregate => Self::Aggregate,
            Target::Server(name) => Self::Server(name.into()),
            Target::BuiltIn => Self::BuiltIn,
            Target::Toolset(name) => Self::Toolset(name.into()),
        }
    }

    pub(super) fn target(&self) -> Target<'_> {
        match self {
            Self::Aggregate => Target::Aggregate,
            Self::Server(name) => Target::Server(name),
            Self::BuiltIn => Target::BuiltIn,
            Self::Toolset(name) => Target::Toolset(name),
        }
    }
}
