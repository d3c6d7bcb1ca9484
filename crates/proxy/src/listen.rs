//! GET and DELETE: the stream of a session, and its end.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};

use crate::admission::accepts;
use crate::body::{Body, Heard};
use crate::connected::own_session;
use crate::credentials::Behalf;
use crate::events::{Recorder, Replay, Resumed, id::Kind};
use crate::fault::Fault;
use crate::gate::Gate;
use crate::hub::Hears;
use crate::limits::Held;
use crate::path::Target;
use crate::pipeline::shown;
use crate::principal::Authenticated;
use crate::respond::event_response;
use crate::session::{Scope, Session};
use crate::toolsets;
use crate::upstream_sessions::end;

/// Names the last event that a client got.
const LAST_EVENT: &str = "last-event-id";
/// What a client is told that comes back for an answer that is not kept.
const GONE: &str = "the answer after this event is not kept any more";

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
        // Whoever comes back for an answer gets the rest of it, and nothing else.
        let resumed = headers.get(LAST_EVENT).map(|last| self.events.resume(last.as_bytes(), &session));
        let (recorder, missed, broken_off) = match resumed {
            Some(Resumed::Answer(replay)) => return self.answer_again(who, replay, place),
            Some(Resumed::Gone) => return Err(Fault::Envelope { reason: "event_unknown", message: GONE.into() }),
            Some(Resumed::Listening(recorder, missed, broken_off)) => {
                // Its connection may not be known to be gone.
                who.tenant.hub.end(session.uid);
                (Some(recorder), missed, broken_off)
            }
            Some(Resumed::Fresh) | None => (None, VecDeque::new(), None),
        };
        let (server, hears) = match &session.scope {
            Scope::Server { server, .. } => (Some(*server), Hears::Server(*server)),
            Scope::Aggregate => (None, Hears::All(who.view())),
            Scope::Toolset(id) => (None, toolsets::hears(who, *id)?),
            Scope::BuiltIn => (None, Hears::Nothing),
        };
        let stream =
            who.tenant.hub.listen(session.uid, who.caller().clone(), hears.clone()).ok_or(Fault::StreamTaken)?;
        who.tenant.hub.can_be_asked(session.uid, session.capabilities);
        let heard = self.heard(&session, recorder, missed);
        if broken_off.is_some_and(|epoch| epoch != who.tenant.hub.epoch()) {
            who.tenant.hub.owes_changes(session.uid);
        }
        // Only who is known to the hub is found when something is taken away; it may have been a moment ago.
        if !self.is_as_before(who) {
            return Err(Fault::invalid("unauthenticated"));
        }
        let behalf = Behalf::of(who, shown(headers), session.client());
        match server.and_then(|server| who.mounts().find(|mount| mount.spec.id == server)) {
            // Without a credential there is nothing to be heard; the requests of the session say why.
            Some(mount) => match self.credentials().bearing(mount, &behalf).await {
                Ok(bearing) => match own_session(&session, mount, &bearing) {
                    Some(upstream) => self.sessions.watch_own(mount, upstream, &behalf, bearing.part, session.uid),
                    None => self.sessions.watch(mount, &behalf).await,
                },
                Err(failure) => tracing::debug!(server = mount.name(), class = failure.class(), "nothing is heard"),
            },
            None if hears == Hears::Nothing => (),
            None => {
                for mount in who.mounts().filter(|mount| hears.of(mount.spec.id, mount.name())) {
                    self.sessions.watch(mount, &behalf).await;
                }
            }
        }
        let until = self.until(who);
        Ok(event_response(Body::listening(stream, heard, self.counters.streams.clone(), Some(place), until)))
    }

    /// What a session gets first on its stream, and what keeps the rest.
    fn heard(&self, session: &Session, recorder: Option<Recorder>, mut missed: VecDeque<Bytes>) -> Heard {
        let begin = || self.events.begin(session.uid, session.revision, Kind::Listening, "");
        let mut recorder = recorder.or_else(begin);
        missed.extend(recorder.as_mut().and_then(Recorder::primer));
        Heard { recorder, missed }
    }

    /// The rest of an answer whose client lost its connection.
    fn answer_again(&self, who: &Authenticated, replay: Replay, place: Held) -> Result<Response<Body>, Fault> {
        let tie = who.tenant.hub.tie(who.caller().clone(), replay.server());
        // Only what is tied is found when something is taken away; it may have been since the call was made.
        let now = self.clock.now_micros();
        if !who.caller().may_still_use(&self.tables.load(), now, replay.server()) {
            return Err(Fault::Envelope { reason: "event_unknown", message: GONE.into() });
        }
        let until = self.until(who);
        Ok(event_response(Body::again(replay, tie, &self.counters.streams, Some(place), until)))
    }

    /// Whether nothing was taken from the caller since its request was judged.
    pub(crate) fn is_as_before(&self, who: &Authenticated) -> bool {
        let table = self.tables.load();
        table.tenant(who.tenant.spec.id).is_some() && who.caller().is_as_before(&table, self.clock.now_micros())
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
        let ended = self.ended(who, &session);
        if let Scope::Server { server, .. } = &session.scope
            && let Some(mount) = who.mounts().find(|mount| mount.spec.id == *server)
            && let Ok(bearing) =
                self.credentials().bearing(mount, &Behalf::of(who, shown(headers), session.client())).await
            && let Some(upstream) = own_session(&session, mount, &bearing)
            && let (Some(id), Some(revision)) = (upstream.id, upstream.revision)
        {
            end(mount, id, revision, upstream.lines);
        }
        Ok(ended)
    }

    /// A session is over here: its id opens nothing any more.
    pub(crate) fn ended(&self, who: &Authenticated, session: &Session) -> Response<Body> {
        self.client_sessions.end_here(session.uid);
        self.forget_session(Some(&*who.tenant.hub), session.uid);
        Response::new(Body::full(Bytes::new()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderMap;
    use http::header::ACCEPT;
    use mcp::Revision;
    use model::{
        Clock as _, KeyRole, KeyScopes, KeyVerifier, Limits, ManualClock, Resource, ResourceName, TenantId, TenantSpec,
    };
    use telemetry::Metrics;

    use super::*;
    use crate::answer::OVERTIME;
    use crate::hosts::Hosts;
    use crate::principal::Caller;
    use crate::readiness::Readiness;
    use crate::seal::Sealer;
    use crate::session::{Session, Uid};
    use crate::table::{Change, Tables};
    use crate::upstream::http::SESSION;

    fn tenant_and_key() -> (TenantSpec, KeyVerifier) {
        let tenant = TenantSpec {
            id: TenantId::fresh(),
            name: "acme".parse().unwrap(),
            limits: Limits::default(),
            stale_after: None,
            authorization_server: false,
        };
        let key = KeyVerifier {
            id: "0123456789abcdef".parse().unwrap(),
            tenant: tenant.id,
            user: None,
            role: KeyRole::User,
            scopes: KeyScopes::PLAIN,
            sha256: [0; 32],
            servers: None,
            expires_at: None,
        };
        (tenant, key)
    }

    #[tokio::test]
    async fn what_was_taken_away_while_a_stream_was_opened_ends_it() {
        let egress = egress::Egress::new(egress::Policy::default()).unwrap();
        let (tables, clock) = (Arc::new(Tables::new(egress.clone())), Arc::new(ManualClock::at(1_800_000_000_000_000)));
        let sealer = Arc::new(Sealer::with_own_key());
        let (hosts, readiness, metrics) = (Hosts::default(), Arc::<Readiness>::default(), Metrics::new());
        let gate = Gate::new(tables.clone(), sealer.clone(), clock.clone(), hosts, readiness, egress, &metrics);
        let (tenant, key) = tenant_and_key();
        let id = tenant.id;
        let upserts = vec![Resource::Tenant(tenant), Resource::Key(key.clone())];
        tables.apply(Change { upserts, ..Change::default() });
        let principal = model::Principal { tenant: id, user: None, key: Some(key.id) };
        let who = Authenticated::by_control(&tables.load(), &principal).unwrap();
        let headers = |uid| {
            let session = Session::new(uid, id, who.subject(), Revision::LATEST, clock.now_secs(), Scope::Aggregate)
                .seal(&sealer);
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, "text/event-stream".parse().unwrap());
            headers.insert(SESSION, session.unwrap().parse().unwrap());
            headers
        };
        assert!(gate.listen(&who, Target::Aggregate, &headers(Uid([1; 8]))).await.is_ok());
        // The request was judged by the table before; what ends streams was there before the stream was.
        let less = KeyVerifier { servers: Some(vec![]), ..key.clone() };
        for change in [
            Change { upserts: vec![Resource::Key(less)], ..Change::default() },
            Change { removes: vec![ResourceName::Key(key.id)], ..Change::default() },
            Change { removes: vec![ResourceName::Tenant(id)], ..Change::default() },
        ] {
            tables.apply(change);
            let refused = gate.listen(&who, Target::Aggregate, &headers(Uid([2; 8]))).await;
            assert_eq!(refused.err(), Some(Fault::invalid("unauthenticated")));
            assert!(!who.tenant.hub.is_open(Uid([2; 8])), "nobody listens");
        }
        assert!(matches!(who.caller(), Caller::Key(_)));
    }

    #[tokio::test]
    async fn an_answer_outlives_its_key_for_a_moment_and_a_stream_does_not() {
        let tables = Tables::new(egress::Egress::new(egress::Policy::default()).unwrap());
        let (tenant, mut key) = tenant_and_key();
        let end = 1_800_000_000_000_000;
        key.expires_at = Some(end);
        let principal = model::Principal { tenant: tenant.id, user: None, key: Some(key.id) };
        tables.apply(Change { upserts: vec![Resource::Tenant(tenant), Resource::Key(key)], ..Change::default() });
        let table = tables.load();
        let who = Authenticated::by_control(&table, &principal).unwrap();
        let hub = &who.tenant.hub;
        let (tie, uid) = (hub.tie(who.caller().clone(), "notes"), Uid([1; 8]));
        let _stream = hub.listen(uid, who.caller().clone(), Hears::All(None)).unwrap();
        let overtime = OVERTIME.as_micros() as i64;
        for (now, streams, answers) in [
            (end - 1, true, true),
            (end, false, true),
            (end + overtime - 1, false, true),
            (end + overtime, false, false),
        ] {
            table.end_streams(now);
            assert_eq!((hub.is_open(uid), !tie.ended().is_cancelled()), (streams, answers), "{}", now - end);
        }
    }
}
