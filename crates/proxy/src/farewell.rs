//! Sessions with upstreams are ended over there, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use mcp::Revision;
use tokio::sync::Semaphore;

use crate::credentials::{Finder, Lines};
use crate::table::Way;
use crate::upstream::http::{HttpSession, bearable, drain, send};

/// Ends an upstream's session over there when it is dropped, unless it is over already, or what it bore is not there any
/// more: a credential that is gone is not used for a goodbye either.
pub(crate) struct Farewell {
    over: AtomicBool,
    id: HeaderValue,
    revision: Revision,
    /// Where its lines are; `None` where it needs none.
    lines: Option<Finder>,
    way: Arc<Way>,
    /// So many at once, and no more.
    goodbyes: Arc<Semaphore>,
}

impl Farewell {
    /// `None` where the upstream keeps no session.
    pub(crate) fn to(
        session: &HttpSession,
        way: &Arc<Way>,
        lines: Option<Finder>,
        goodbyes: &Arc<Semaphore>,
    ) -> Option<Self> {
        let (id, revision) = (session.id.clone()?, session.revision?);
        Some(Self { over: AtomicBool::new(false), id, revision, lines, way: way.clone(), goodbyes: goodbyes.clone() })
    }

    /// It is over already.
    pub(crate) fn is_said(&self) {
        self.over.store(true, Ordering::Release);
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        // Without a runtime the process is ending.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if *self.over.get_mut() {
            return;
        }
        let lines = match &self.lines {
            None => None,
            Some(finder) => match finder.find() {
                Some(lines) => Some(lines),
                None => return,
            },
        };
        let (way, id, revision, goodbyes) = (self.way.clone(), self.id.clone(), self.revision, self.goodbyes.clone());
        runtime.spawn(async move {
            let _one_of_few = goodbyes.acquire().await;
            say_goodbye(&way, id, revision, lines).await;
        });
    }
}

/// Tells the upstream that a session is over.
pub(crate) async fn say_goodbye(way: &Way, id: HeaderValue, revision: Revision, lines: Option<Arc<Lines>>) {
    let session = HttpSession { id: Some(id), revision: Some(revision), lines };
    if bearable(&session).is_err() {
        return;
    }
    let sent = send(way, Method::DELETE, way.path.clone(), &session, &HeaderMap::new(), Bytes::new()).await;
    match sent {
        Ok(answer) => drain(answer.into_body()).await,
        Err(error) => tracing::debug!(class = error.class(), "an upstream session could not be ended"),
    }
}
