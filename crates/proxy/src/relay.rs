//! One client message to one mount: session, place, cooldown, send, and the answer back.

use std::borrow::Cow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use egress::EgressError;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response};
use mcp::{Envelope, ListKind, Params, Span, Splicer, write};

use crate::account::{Account, Ended};
use crate::answer::{self, Call, EventRelay, Json, Source, StreamedAnswer};
use crate::body::{Body, Guards};
use crate::credentials::{Bearing, Behalf, Credentials, Part, Showing};
use crate::exposed::Exposed;
use crate::fault::Fault;
use crate::flights::{Flight, Route};
use crate::gate::Gate;
use crate::limits::Held;
use crate::principal::Authenticated;
use crate::retry::Tries;
use crate::seal::Sealer;
use crate::session::{Scope, Session};
use crate::table::Mount;
use crate::upstream::http::{self as streamable, Answer, HttpSession};
use crate::upstream::{Connected, Failure, Refusal, mint_id};
use crate::upstream_sessions::settle;

/// One request of a client, read and admitted.
pub(crate) struct Asked<'a> {
    pub(crate) who: &'a Authenticated,
    pub(crate) session: &'a Session,
    /// What let the caller in.
    pub(crate) shown: Showing<'a>,
    /// The headers of the client that may cross.
    pub(crate) passed: &'a HeaderMap,
    pub(crate) message: &'a Bytes,
    pub(crate) envelope: &'a Envelope,
    /// The client's id, raw JSON.
    pub(crate) id: Bytes,
}

/// A member of the params with another value, raw JSON.
pub(crate) type Renamed = Option<(Span, Vec<u8>)>;

impl Asked<'_> {
    pub(crate) fn behalf(&self) -> Behalf {
        Behalf::of(self.who, self.shown, self.session.client())
    }

    /// How what the mount names looks to this client, where several servers stand behind its URL.
    pub(crate) fn exposed(&self, sealer: &Arc<Sealer>, mount: &Arc<Mount>, by_name: bool) -> Exposed {
        let (who, client) = (self.who.clone(), self.session.client());
        Exposed { who, client, mount: mount.clone(), sealer: sealer.clone(), by_name }
    }

    pub(crate) fn method(&self) -> &str {
        self.envelope.method(self.message)
    }

    pub(crate) fn params(&self) -> Option<&Params> {
        self.envelope.params.as_ref()
    }

    /// What a failure of an upstream means for this request.
    pub(crate) fn fault(&self, failure: &Failure, unsafe_call: bool) -> Fault {
        let fault = Fault::of(failure, unsafe_call);
        match self.method() == "tools/call" && self.session.capabilities.opens_urls() {
            true => fault.elicited(),
            false => fault,
        }
    }

    /// The name of the tool or prompt.
    pub(crate) fn name(&self) -> Option<Cow<'_, str>> {
        Params::text(self.params()?.name, self.message)
    }
}

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
                account.end(ended);
                with_type(Body::pieces(pieces), "application/json")
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
                json_response(write::raw_error(&asked.id, &error))
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
        let (answer, place) = {
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
                answered = waiting => answered?,
                // Nobody counts it: an upstream must not answer what was cancelled.
                () = cancelled.cancelled() => return Err(Failure::Cancelled),
            }
        };
        Ok((answer, Guards { call, place: Some(place), flight: Some(flight), ..Guards::default() }))
    }

    /// Sends until there is an answer, it would do harm, or no try is left.
    async fn answered(&self, asked: &Asked<'_>, mount: &Arc<Mount>, sending: Sending<'_>) -> Result<Answered, Failure> {
        let Sending { connected, mut bearing, renamed, flight, deadline } = sending;
        let token = asked.params().and_then(|params| params.progress_token);
        let mut call = Call {
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
        loop {
            // Taken away while it waited, or between two tries: what serves the caller now is another's session.
            if bearing.lines.as_ref().is_some_and(|lines| lines.are_withdrawn()) {
                bearing = self.bearing(asked, mount, deadline).await?;
                call.connected = Box::pin(self.connected(asked, mount, &mut bearing)).await?;
                call.part = bearing.part;
            }
            flight.goes_out(call.id, &call.connected);
            let failure = match self.sent(asked, mount, &call, renamed.as_ref()).await {
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
        renamed: Option<&(Span, Vec<u8>)>,
    ) -> Result<Came, Failure> {
        let text = call.id.to_string();
        let body = self.request_body(asked, &text, renamed);
        match self.send(asked, mount, call, body).await? {
            Sent::Http(Answer::Json(body)) => {
                let splicer = Splicer::new(text.into(), asked.id.clone());
                Ok(match answer::json(body, splicer, call).await? {
                    Json::Whole(pieces, Ended::Rejected) if call.connected.bears() => {
                        if let Some(refusal) = folded(&pieces) {
                            return Err(Failure::Unauthorized(Arc::new(refusal)));
                        }
                        Came::Whole(pieces, Ended::Rejected)
                    }
                    Json::Whole(pieces, ended) => Came::Whole(pieces, ended),
                    Json::Streamed(streamed) => Came::Streamed(streamed),
                })
            }
            Sent::Http(Answer::Events(body)) => Ok(Came::Events(Source::http(body, call.largest))),
            Sent::Http(Answer::Nothing) => Err(Failure::BadResponse("it is empty")),
            Sent::Legacy(exchange) if call.client_token.is_some() => Ok(Came::Events(Source::Legacy(exchange))),
            Sent::Legacy(mut exchange) => {
                let message = (&mut exchange.answer).await.map_err(|_| EgressError::Truncated)?;
                if message.len() > call.largest {
                    return Err(Failure::TooLarge);
                }
                let envelope =
                    Envelope::scan(&message).map_err(|_| Failure::BadResponse("it is not a JSON-RPC message"))?;
                if call.connected.bears()
                    && let Some(refusal) = envelope.error.and_then(|error| Refusal::folded(error.of(&message)))
                {
                    return Err(Failure::Unauthorized(Arc::new(refusal)));
                }
                let ended = Ended::answered(envelope.error.is_some(), answer::tool_failed(&message, &envelope));
                Ok(Came::Whole(vec![answer::for_client(&message, &envelope, &asked.id)], ended))
            }
        }
    }

    async fn send(&self, asked: &Asked<'_>, mount: &Arc<Mount>, call: &Call, body: Bytes) -> Result<Sent, Failure> {
        match &call.connected {
            Connected::Http(session) => {
                let (answer, _) = streamable::post(mount, session, asked.passed, body).await?;
                Ok(Sent::Http(answer))
            }
            Connected::Legacy(session, lines) => {
                let exchanging = session.exchange(mount, lines.as_ref(), call.id, body);
                Ok(Sent::Legacy(Box::pin(exchanging).await?))
            }
            Connected::Stateless(_) => Err(Failure::OtherEra),
        }
    }

    /// The upstream session for this request: the client session's own where it still fits, else the shared one.
    pub(crate) async fn connected(
        &self,
        asked: &Asked<'_>,
        mount: &Arc<Mount>,
        bearing: &mut Bearing,
    ) -> Result<Connected, Failure> {
        if let Some(own) = self.own(asked, mount, bearing) {
            return Ok(own);
        }
        let shared = Box::pin(self.sessions.shared(mount, &asked.behalf(), bearing)).await?;
        Ok(shared.connected.bearing(bearing.lines.as_ref()))
    }

    /// What the request bears to a mount that takes a credential.
    pub(crate) async fn bearing(
        &self,
        asked: &Asked<'_>,
        mount: &Arc<Mount>,
        deadline: tokio::time::Instant,
    ) -> Result<Bearing, Failure> {
        if let Some(bearing) = self.credentials().at_hand(mount, asked.who, asked.shown)? {
            return Ok(bearing);
        }
        let behalf = asked.behalf();
        let asking = Box::pin(self.credentials().bearing(mount, &behalf));
        tokio::time::timeout_at(deadline, asking).await.unwrap_or(Err(Failure::Deadline))
    }

    pub(crate) fn credentials(&self) -> &Arc<Credentials> {
        &self.sessions.credentials
    }

    /// The client session's own upstream session, where it still fits.
    fn own(&self, asked: &Asked<'_>, mount: &Mount, bearing: &Bearing) -> Option<Connected> {
        let session = own_session(asked.session, mount, bearing)?;
        (!self.sessions.is_replaced(asked.session.uid)).then_some(Connected::Http(session))
    }

    async fn connected_anew(
        &self,
        asked: &Asked<'_>,
        mount: &Arc<Mount>,
        bearing: &mut Bearing,
    ) -> Result<Connected, Failure> {
        if self.own(asked, mount, bearing).is_some() {
            self.sessions.replace(asked.session.uid);
        } else {
            self.sessions.forget(mount, &asked.behalf(), bearing.part).await;
        }
        let shared = self.sessions.shared(mount, &asked.behalf(), bearing).await?;
        Ok(shared.connected.bearing(bearing.lines.as_ref()))
    }

    /// The message for the upstream: a fresh envelope around the client's params.
    fn request_body(&self, asked: &Asked<'_>, id: &str, renamed: Option<&(Span, Vec<u8>)>) -> Bytes {
        let params = asked.params();
        let renamed = renamed.map(|(span, with)| write::Patch { span: *span, with });
        let token =
            params.and_then(|params| params.progress_token).map(|span| write::Patch { span, with: id.as_bytes() });
        let all = params.map(|params| params.all);
        match (renamed, token) {
            (None, None) => write::request(id, asked.method(), asked.message, all, &[]),
            (Some(one), None) | (None, Some(one)) => write::request(id, asked.method(), asked.message, all, &[one]),
            (Some(one), Some(two)) => {
                let ordered = if one.span.start() < two.span.start() { [one, two] } else { [two, one] };
                write::request(id, asked.method(), asked.message, all, &ordered)
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

/// The upstream session that was opened for this client session, if it belongs to the mount as it is now and to what the
/// request bears.
pub(crate) fn own_session(session: &Session, mount: &Mount, bearing: &Bearing) -> Option<HttpSession> {
    match &session.scope {
        Scope::Server { identity, upstream_revision, upstream, part, .. }
            if *identity == mount.identity
                && part.is(&bearing.part)
                && mount.transport() != model::Transport::Sse
                // Of a session without an id only the transport tells what it was, and `auto` forgets it.
                && (upstream.is_some() || mount.transport() != model::Transport::Auto) =>
        {
            let id = match upstream {
                Some(id) => Some(HeaderValue::from_str(id).ok()?),
                None => None,
            };
            Some(HttpSession { id, revision: Some(*upstream_revision), lines: bearing.lines.clone() })
        }
        _ => None,
    }
}

/// Whether the client session has an upstream session of its own there, for this part.
pub(crate) fn is_own(session: &Session, mount: &Mount, part: Part) -> bool {
    own_session(session, mount, &Bearing::nothing_as(part)).is_some()
}

/// Whether executing the request twice could do harm. Hints are believed only where an admin said so.
fn is_unsafe(asked: &Asked<'_>, mount: &Mount) -> bool {
    match asked.method() {
        "tools/call" => !(mount.spec.trust_hints && asked.name().is_some_and(|name| hinted_safe(asked, mount, &name))),
        "ping" | "prompts/get" | "resources/read" | "completion/complete" | "logging/setLevel" => false,
        method => ListKind::of_method(method).is_none(),
    }
}

fn hinted_safe(asked: &Asked<'_>, mount: &Mount, name: &str) -> bool {
    #[derive(serde::Deserialize, Default)]
    struct Hints {
        #[serde(rename = "readOnlyHint", default)]
        read_only: bool,
        #[serde(rename = "idempotentHint", default)]
        idempotent: bool,
    }
    #[derive(serde::Deserialize)]
    struct Tool {
        #[serde(default)]
        annotations: Hints,
    }
    let Some(listed) = asked.who.known(mount, asked.session.client(), ListKind::Tools) else { return false };
    let Some(item) = listed.items.iter().find(|item| &*item.key == name) else { return false };
    serde_json::from_slice::<Tool>(&item.raw)
        .is_ok_and(|tool| tool.annotations.read_only || tool.annotations.idempotent)
}

/// The refusal of a credential in an answer that is an error.
fn folded(pieces: &[Bytes]) -> Option<Refusal> {
    let message = pieces.concat();
    let envelope = Envelope::scan(&message).ok()?;
    Refusal::folded(envelope.error?.of(&message))
}

/// A JSON message as an answer.
pub(crate) fn json_response(message: Bytes) -> Response<Body> {
    with_type(Body::full(message), "application/json")
}

/// An event stream as an answer.
pub(crate) fn event_response(body: Body) -> Response<Body> {
    let mut response = with_type(body, "text/event-stream");
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn with_type(body: Body, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// For errors that concern no request of JSON-RPC.
pub(crate) fn refused(gate: &Gate, fault: &Fault, id: Option<&[u8]>, server: Option<&str>) -> Response<Body> {
    gate.counters.refused(fault.reason());
    fault.response(id, server).map(Body::full)
}
