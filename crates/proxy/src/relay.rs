//! One client message to one mount: session, place, cooldown, send, and the answer back.

mod whole;

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use egress::EgressError;
use futures::FutureExt as _;
use http::{HeaderMap, Response};
use mcp::{Era, ListKind, Params, Span, Splicer, write};

use self::whole::{code, exposed, folded, reworded, said, shape, whole};
use crate::account::{Account, Ended};
use crate::answer::{self, Call, EventRelay, Json, Source, StreamedAnswer};
use crate::asked::{Asked, Renamed, is_unsafe};
use crate::body::{Body, Guards};
use crate::bridge;
use crate::bridge::rounds::{Begun, Rounds};
use crate::credentials::{Bearing, Part};
use crate::flights::{Flight, Route};
use crate::gate::Gate;
use crate::limits::Held;
use crate::respond::{coded, event_response, json_response, with_type};
use crate::retry::Tries;
use crate::shape::{Cell, Shape, Shaped};
use crate::table::Mount;
use crate::upstream::http::{self as streamable, Answer};
use crate::upstream::stateless::knows_no_sessions;
use crate::upstream::{Connected, Failure, answers, mint_id};
use crate::upstream_sessions::settle;

impl Gate {
    /// Passes a request on and its answer back. Whatever goes wrong, the client hears of it under its own id.
    pub(crate) async fn relay(
        &self,
        asked: &Asked<'_>,
        mount: &Arc<Mount>,
        renamed: Renamed,
        call: Option<Held>,
    ) -> Response<Body> {
        let account = Account::begin(&self.counters, mount);
        match self.exchange(asked, mount, renamed, call).await {
            Ok((Answered::Whole(pieces, ended), _)) => {
                let code = matches!(ended, Ended::Rejected).then(|| code(&pieces)).flatten();
                account.end(ended);
                coded(with_type(Body::pieces(pieces), "application/json"), code)
            }
            Ok((Answered::Streamed(mut streamed), guards)) => {
                streamed.told_to(account);
                with_type(Body::answer(streamed, guards), "application/json")
            }
            Ok((Answered::Events(mut relay), guards)) => {
                relay.told_to(account);
                let tie = asked.who.tenant.hub.tie(asked.who.caller().clone(), mount.name());
                // Only what is tied is found when something is taken away; it may have been while the upstream thought.
                // What merely expired meanwhile has its overtime.
                if !asked.who.caller().may_still_use(&self.tables.load(), i64::MIN, mount.name()) {
                    tie.ended().cancel();
                }
                relay.ends_with(tie, self.until(asked.who));
                event_response(Body::events(relay, guards))
            }
            Err(Failure::Status { error: Some(error), status, .. }) if status < 500 && status != 429 => {
                account.end(Ended::Rejected);
                let client = asked.session.client();
                let shape = Shape::of(client, mount.terms(client).era, asked.method());
                let answer = shape.error(&error, &asked.id);
                let code = if client.is_stateless() { code(std::slice::from_ref(&answer)) } else { None };
                coded(json_response(answer), code)
            }
            // The stream that would have carried the answer ends without one.
            Err(Failure::Cancelled) => {
                account.end(Ended::Cancelled);
                event_response(Body::empty())
            }
            Err(failure) => {
                account.end(Ended::Failed(&failure));
                let fault = asked.fault(&failure, is_unsafe(asked, mount));
                self.counters.refused(fault.reason());
                fault.response(Some(&asked.id), Some(mount.name())).map(Body::full)
            }
        }
    }

    async fn exchange(
        &self,
        asked: &Asked<'_>,
        mount: &Arc<Mount>,
        renamed: Renamed,
        call: Option<Held>,
    ) -> Result<(Answered, Guards), Failure> {
        // Before the queue, so that a cooling upstream costs nothing; whether this is the trial is asked after it.
        let now = Instant::now();
        if let Some(left) = mount.cooldown.remaining(now) {
            return Err(Failure::Cooling(left));
        }
        let deadline = tokio::time::Instant::from_std(now) + mount.call_time(&asked.who.tenant.usage.limits);
        let flight = self.flights.begin(asked.session.uid, asked.id.clone(), mount, mint_id());
        let cancelled = flight.cancelled();
        // Without a session a client that has gone away wants no answer any more.
        let leaving = Leaving(asked.session.client().is_stateless().then_some(&flight));
        let outcome = {
            // Pinned where they stand, here and below: moving the future of a call costs more than polling it.
            let waiting = pin!(async {
                // Before the place: whoever waits for control keeps nobody from the upstream.
                let mut bearing = match &mount.spec.binding {
                    None => Bearing::default(),
                    Some(_) => self.bearing(asked, mount, deadline).await?,
                };
                let place = mount.places.take().await.ok_or(Failure::Busy)?;
                mount.cooldown.admit(Instant::now()).map_err(Failure::Cooling)?;
                // Whether a session could be opened is counted where it is opened; nothing of the call is out before.
                let connected = match self.own(asked, mount, &bearing) {
                    Some(connected) => connected,
                    None => Box::pin(tokio::time::timeout_at(deadline, self.connected(asked, mount, &mut bearing)))
                        .await
                        .map_err(|_| EgressError::ConnectTimeout)??,
                };
                let sending = Sending { connected, bearing, renamed, flight: &flight, deadline };
                let answered = pin!(self.answered(asked, mount, sending));
                let outcome = tokio::time::timeout_at(deadline, answered).await.unwrap_or(Err(Failure::Deadline));
                match &outcome {
                    // Its end tells.
                    Ok(Answered::Streamed(_) | Answered::Events(_)) => mount.cooldown.answers(),
                    outcome => settle(mount, outcome),
                }
                if matches!(&outcome, Err(failure) if failure.is_late())
                    && let Some(Route { connected: Some(connected), id, .. }) = flight.route()
                {
                    give_up(mount.clone(), connected, id);
                }
                Ok::<_, Failure>((outcome?, place))
            });
            tokio::select! {
                biased;
                answered = waiting => answered,
                // Nobody counts it: an upstream must not answer what was cancelled.
                () = cancelled.cancelled() => Err(Failure::Cancelled),
            }
        };
        leaving.stays();
        let (answer, place) = outcome?;
        Ok((answer, Guards { call, place: Some(place), flight: Some(flight), ..Guards::default() }))
    }

    /// Sends until there is an answer, it would do harm, or no try is left.
    async fn answered(&self, asked: &Asked<'_>, mount: &Arc<Mount>, sending: Sending<'_>) -> Result<Answered, Failure> {
        let Sending { connected, mut bearing, renamed, flight, deadline } = sending;
        let token = asked.params().and_then(|params| params.progress_token);
        let mut call = Call {
            side: self.client_side(asked.session),
            shape: shape(asked, mount, &self.sealer, connected.era()),
            mount: mount.clone(),
            connected,
            part: bearing.part,
            hub: asked.who.tenant.hub.clone(),
            id: flight.id(),
            client_id: asked.id.clone(),
            client_token: token.map(|span| asked.message.slice(span.start()..span.end())),
            unsafe_call: is_unsafe(asked, mount),
            largest: mount.answer_bytes(&asked.who.tenant.usage.limits),
            deadline,
            cancelled: flight.cancelled(),
        };
        let mut tries = Tries::of(mount, deadline);
        let mut sessions_lost = 0;
        let (mut turned, mut looked_up) = (false, false);
        loop {
            // Taken away while it waited, or between two tries: what serves the caller now is another's session.
            if bearing.lines.as_ref().is_some_and(|lines| lines.are_withdrawn()) {
                bearing = self.bearing(asked, mount, deadline).await?;
                call.connected = Box::pin(self.connected(asked, mount, &mut bearing)).await?;
                call.part = bearing.part;
            }
            flight.goes_out(call.id, &call.connected);
            if call.shape.upstream() != call.connected.era() {
                call.shape = shape(asked, mount, &self.sealer, call.connected.era());
            }
            let failure = match self.sent(asked, mount, &call, &renamed, &bearing).await {
                Ok(came) => {
                    if bearing.lines.is_some() {
                        self.credentials().accepted(mount, &bearing);
                    }
                    return Ok(match came {
                        Came::Whole(pieces, ended) => Answered::Whole(pieces, ended),
                        Came::Streamed(streamed) => Answered::Streamed(streamed),
                        Came::Events(source) => Answered::Events(EventRelay::boxed(call, source)),
                    });
                }
                Err(failure) => failure,
            };
            // Refused before anything is executed, for the sake of its credential: once more with another token.
            if matches!(failure, Failure::Unauthorized(_)) {
                let behalf = asked.behalf();
                Box::pin(self.credentials().renewed(mount, &behalf, &mut bearing, failure)).await?;
                call.connected = call.connected.bearing(bearing.lines.as_ref());
                call.id = mint_id();
                continue;
            }
            // A lost session is refused before anything is executed. First the client session's own may
            // be lost, then the shared one that stands in for it.
            if matches!(failure, Failure::SessionLost) && sessions_lost < 2 {
                sessions_lost += 1;
                call.connected = Box::pin(self.connected_anew(asked, mount, &mut bearing)).await?;
                continue;
            }
            // Spoken to in an era that it does not know, it did nothing with the request: once more in the other one.
            if matches!(failure, Failure::OtherEra) && !std::mem::replace(&mut turned, true) {
                call.connected = self.connected_otherwise(asked, mount, &mut bearing, &call).boxed().await?;
                call.id = mint_id();
                continue;
            }
            // Its tools are not what they were when they were listed.
            if call.connected.era() == Era::Stateless
                && bridge::misses_headers(&failure)
                && asked.method() == "tools/call"
                && !std::mem::replace(&mut looked_up, true)
            {
                mount.invalidate(call.part, ListKind::Tools);
                crate::lists::listed(&self.sessions, &asked.behalf(), mount, ListKind::Tools).boxed().await?;
                call.id = mint_id();
                continue;
            }
            let late = failure.is_late();
            Box::pin(tries.next(failure, !call.unsafe_call)).await?;
            if late {
                give_up(mount.clone(), call.connected.clone(), call.id);
            }
            // Never an id twice: what answers late must not be taken for the answer to this try.
            call.id = mint_id();
        }
    }

    /// One try, up to where the answer can be passed on.
    async fn sent(
        &self,
        asked: &Asked<'_>,
        mount: &Arc<Mount>,
        call: &Call,
        renamed: &Renamed,
        bearing: &Bearing,
    ) -> Result<Came, Failure> {
        if call.shape.cell() == Cell::LM {
            return self.bridged(asked, mount, call, renamed, bearing).boxed().await;
        }
        let bridge::Outgoing { id, body, headers, .. } =
            bridge::outgoing(asked, mount, &call.connected, call.part, call.id, renamed, None)?;
        match self.send(asked, mount, call, headers, body).await? {
            Sent::Http(Answer::Json(body)) if call.shape.holds_back() => {
                Box::pin(async { whole(streamable::read(body, call.largest).await?, asked, call) }).await
            }
            Sent::Http(Answer::Json(body)) => {
                let mut splicer = Splicer::new(id.into(), asked.id.clone());
                if let Some(additions) = call.shape.additions() {
                    splicer = splicer.adding(additions);
                }
                Ok(match answer::json(body, splicer, call).await? {
                    Json::Whole(pieces, Ended::Rejected) if call.connected.bears() => {
                        if let Some(refusal) = folded(&pieces) {
                            return Err(Failure::Unauthorized(Arc::new(refusal)));
                        }
                        Came::Whole(reworded(pieces, asked, call), Ended::Rejected)
                    }
                    Json::Whole(pieces, Ended::Rejected) => Came::Whole(reworded(pieces, asked, call), Ended::Rejected),
                    Json::Whole(pieces, ended) => Came::Whole(exposed(pieces, call), ended),
                    // Too large to be looked at, but something in it may have to be renamed.
                    Json::Streamed(streamed) if call.shape.exposed().is_some() && streamed.may_name_something() => {
                        Box::pin(async {
                            Ok::<_, Failure>(Came::Whole(exposed(streamed.whole().await?, call), Ended::Answered))
                        })
                        .await?
                    }
                    Json::Streamed(streamed) => Came::Streamed(streamed),
                })
            }
            Sent::Http(Answer::Events(body)) => Ok(Came::Events(Source::http(body, call.largest))),
            Sent::Http(Answer::Nothing) => Err(Failure::BadResponse("it is empty")),
            Sent::Legacy(exchange) if call.client_token.is_some() => Ok(Came::Events(Source::Legacy(exchange))),
            Sent::Legacy(mut exchange) => {
                let Some(message) = exchange.answered_at_once().await else {
                    return Ok(Came::Events(Source::Legacy(exchange)));
                };
                let message = message.map_err(|_| EgressError::Truncated)?;
                if message.len() > call.largest {
                    return Err(Failure::TooLarge);
                }
                whole(message, asked, call)
            }
        }
    }

    /// The same for a client with a session and an upstream without one: its answer is held back, and may be questions.
    async fn bridged(
        &self,
        asked: &Asked<'_>,
        mount: &Arc<Mount>,
        call: &Call,
        renamed: &Renamed,
        bearing: &Bearing,
    ) -> Result<Came, Failure> {
        let Connected::Stateless(stateless) = &call.connected else { return Err(Failure::OtherEra) };
        if let Some(answer) = bridge::answered_here(&call.shape, asked.method()) {
            let ended = Ended::answered(answer.is_err(), false);
            return Ok(Came::Whole(vec![said(&asked.id, answer)], ended));
        }
        if let Some(answer) = Box::pin(self.subscribes(asked, mount, call.part, renamed)).await {
            let ended = Ended::answered(answer.is_err(), false);
            return Ok(Came::Whole(vec![said(&asked.id, answer)], ended));
        }
        let level = self.client_sessions.level(asked.session);
        let outgoing = bridge::outgoing(asked, mount, &call.connected, call.part, call.id, renamed, level.as_deref())?;
        let headers = outgoing.headers.unwrap_or_default();
        let rounds = || Rounds {
            mount: mount.clone(),
            stateless: stateless.clone(),
            method: asked.method().into(),
            headers: headers.clone(),
            params: outgoing.params.clone(),
            shape: call.shape.clone(),
            largest: call.largest,
            credentials: self.credentials().clone(),
            behalf: asked.behalf(),
            bearing: bearing.clone(),
        };
        let until = bridge::Until {
            deadline: call.deadline,
            cancelled: &call.cancelled,
            held: self.flights.held(asked.session.uid, &asked.id),
            who: asked.who.clone(),
        };
        let post = bridge::posted(mount, stateless, headers.clone(), outgoing.body, call.largest, until);
        let begun = match post.await? {
            bridge::Held::Events(body) => Begun::Events(call.id, body),
            bridge::Held::Whole(message) => {
                let envelope = bridge::scanned(&message)?;
                match call.shape.whole(&message, &envelope, &asked.id) {
                    Shaped::AsksBack(questions) if answers(&envelope, &message, call.id) => Begun::Asked(questions),
                    Shaped::AsksBack(_) | Shaped::Answer(_) => return whole(message, asked, call),
                }
            }
        };
        Ok(Came::Events(Source::rounds(call, |asking| rounds().answer(begun, asking))))
    }

    /// A client with a session subscribes to a resource of an upstream without one, which is listened to instead: the raw
    /// result or error. `None` for any other method.
    async fn subscribes(
        &self,
        asked: &Asked<'_>,
        mount: &Arc<Mount>,
        part: Part,
        renamed: &Renamed,
    ) -> Option<Result<&'static [u8], &'static [u8]>> {
        let begins = match asked.method() {
            "resources/subscribe" => true,
            "resources/unsubscribe" => false,
            _ => return None,
        };
        let uri = match renamed {
            Some((_, with)) => mcp::unescape(with),
            None => Params::text(asked.params().and_then(|params| params.uri), asked.message),
        };
        let Some(uri) = uri else { return Some(Err(br#"{"code":-32602,"message":"uri is missing"}"#)) };
        let (behalf, uid) = (asked.behalf(), asked.session.uid);
        if !begins {
            self.sessions.unwant(mount, &behalf, part, uid, &uri);
            return Some(Ok(b"{}"));
        }
        Some(match self.sessions.want(mount, &behalf, part, uid, &uri).await {
            Ok(()) => Ok(b"{}"),
            Err(_too_many) => Err(br#"{"code":-31009,"message":"the limit of resource subscriptions is reached"}"#),
        })
    }

    async fn send(
        &self,
        asked: &Asked<'_>,
        mount: &Arc<Mount>,
        call: &Call,
        headers: Option<HeaderMap>,
        body: Bytes,
    ) -> Result<Sent, Failure> {
        match &call.connected {
            Connected::Http(session) => match streamable::post(mount, session, asked.passed, body).await {
                Ok((answer, _)) => Ok(Sent::Http(answer)),
                Err(failure) if knows_no_sessions(&failure) => Err(Failure::OtherEra),
                Err(failure) => Err(failure),
            },
            Connected::Legacy(session, lines) => {
                let asks = call.side.can_be_asked().then_some(call.side.uid);
                let exchanging = session.exchange(mount, lines.as_ref(), call.id, body, asks);
                Ok(Sent::Legacy(Box::pin(exchanging).await?))
            }
            Connected::Stateless(stateless) => {
                stateless.post(mount, &headers.unwrap_or_default(), body).await.map(Sent::Http)
            }
        }
    }

    /// Passes a notification of the client on; nobody waits for more than its acceptance.
    pub(crate) async fn notify(&self, asked: &Asked<'_>, mount: &Arc<Mount>, body: Bytes) {
        if mount.cooldown.remaining(Instant::now()).is_some() {
            return;
        }
        let told = async {
            let behalf = asked.behalf();
            let mut bearing = self.credentials().bearing(mount, &behalf).await?;
            let mut connected = self.connected(asked, mount, &mut bearing).await?;
            loop {
                match connected.tell(mount, asked.passed, body.clone()).await {
                    Err(failure @ Failure::Unauthorized(_)) => {
                        self.credentials().renewed(mount, &behalf, &mut bearing, failure).await?;
                        connected = connected.bearing(bearing.lines.as_ref());
                    }
                    told => return told,
                }
            }
        };
        if let Err(failure) = told.await {
            tracing::debug!(server = mount.name(), class = failure.class(), "a notification could not be passed on");
        }
    }
}

/// What it takes to send one request.
struct Sending<'a> {
    connected: Connected,
    bearing: Bearing,
    renamed: Renamed,
    flight: &'a Flight,
    deadline: tokio::time::Instant,
}

/// An answer that can be passed on.
enum Answered {
    /// Pieces of a JSON message, and what it says.
    Whole(Vec<Bytes>, Ended<'static>),
    Streamed(Box<StreamedAnswer>),
    Events(Box<EventRelay>),
}

/// An answer as one try brought it.
enum Came {
    Whole(Vec<Bytes>, Ended<'static>),
    Streamed(Box<StreamedAnswer>),
    Events(Source),
}

/// Tells the upstream of a request under way when its client goes away: dropped, it has.
struct Leaving<'a>(Option<&'a Flight>);

impl Leaving<'_> {
    /// It has waited for what came, which sees to the rest by itself.
    fn stays(mut self) {
        self.0 = None;
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if let Some(flight) = self.0
            && let Some(Route { connected: Some(connected), id, mount, .. }) = flight.route()
        {
            give_up(mount, connected, id);
        }
    }
}

/// Tells an upstream that nobody waits for its answer any more; nobody waits for that either.
pub(crate) fn give_up(mount: Arc<Mount>, connected: Connected, id: u64) {
    tokio::spawn(async move {
        let params = format!(r#"{{"requestId":{id},"reason":"timeout"}}"#);
        let whole = Some(Span::whole(params.as_bytes()));
        let body = write::notification("notifications/cancelled", params.as_bytes(), whole, &[]);
        if let Err(failure) = connected.tell(&mount, &HeaderMap::new(), body).await {
            tracing::debug!(server = mount.name(), class = failure.class(), "a cancellation could not be passed on");
        }
    });
}

/// How the answer to a sent message comes.
enum Sent {
    Http(Answer),
    Legacy(crate::upstream::legacy::Exchange),
}
