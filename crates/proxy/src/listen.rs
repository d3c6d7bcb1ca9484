//! GET and DELETE: the stream of a session, and its end.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};

use crate::body::Body;
use crate::connections::{Behalf, end, watch_own};
use crate::fault::Fault;
use crate::gate::Gate;
use crate::hub::Hears;
use crate::path::Target;
use crate::pipeline::accepts;
use crate::principal::Authenticated;
use crate::relay::{event_response, own_session};
use crate::session::Scope;

impl Gate {
    /// Opens the stream of a session: what upstreams say unasked, and changes of the lists.
    pub(crate) async fn listen(
        &self,
        who: &Authenticated,
        target: Target<'_>,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Fault> {
        if !accepts(headers, "text/event-stream") {
            return Err(Fault::NotAcceptable);
        }
        let session = self.session(who, target, headers)?;
        let place = who
            .tenant
            .usage
            .stream()
            .ok_or(Fault::Quota { what: "open streams", retry_after: Duration::from_secs(5) })?;
        let (server, hears) = match &session.scope {
            Scope::Server { server, .. } => (Some(*server), Hears::Server(*server)),
            Scope::Aggregate => (None, Hears::All(who.view())),
            Scope::BuiltIn => (None, Hears::Nothing),
        };
        let stream =
            who.tenant.hub.listen(session.uid, who.caller().clone(), hears.clone()).ok_or(Fault::StreamTaken)?;
        let behalf = Behalf::of(who);
        match server.and_then(|server| who.mounts().find(|mount| mount.spec.id == server)) {
            Some(mount) => match own_session(&session, mount) {
                Some(upstream) => watch_own(mount, upstream, behalf, session.uid),
                None => self.connections.watch(mount, &behalf).await,
            },
            None if hears == Hears::Nothing => (),
            None => {
                for mount in who.mounts() {
                    self.connections.watch(mount, &behalf).await;
                }
            }
        }
        let until = self.until(who);
        Ok(event_response(Body::listening(stream, self.counters.streams.clone(), Some(place), until)))
    }

    /// When what the caller has shown ends.
    pub(crate) fn until(&self, who: &Authenticated) -> Option<tokio::time::Instant> {
        who.expires_at().map(|at| {
            let left = at.saturating_sub(self.clock.now_micros()).max(0);
            tokio::time::Instant::now() + Duration::from_micros(left as u64)
        })
    }

    /// Ends a session and the upstream session that was opened for it.
    pub(crate) async fn end(
        &self,
        who: &Authenticated,
        target: Target<'_>,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Fault> {
        let session = self.session(who, target, headers)?;
        self.ended.insert(session.uid, ());
        who.tenant.hub.end(session.uid);
        if let Scope::Server { server, .. } = &session.scope
            && let Some(mount) = who.mounts().find(|mount| mount.spec.id == *server)
            && let Some(upstream) = own_session(&session, mount)
            && let (Some(id), Some(revision)) = (upstream.id, upstream.revision)
        {
            end(mount, id, revision);
        }
        Ok(Response::new(Body::full(Bytes::new())))
    }
}
