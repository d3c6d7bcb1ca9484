//! The whole way of a request, from its head to its answer: each step can only be reached with what
//! the step before it made.
//!
//! health → hosts → route → authenticate → rates → read → scan → session → serve. Plain steps instead
//! of boxed layers: a step costs nothing, and the closed [`Fault`] is the only way to say no.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use mcp::Kind;
use telemetry::trace;

use crate::admission::{acceptable, has_key, only_of_sessions, read_body, scan, spoken};
use crate::asked::Asked;
use crate::batch::is_batch;
use crate::body::Body;
use crate::credentials::Showing;
use crate::elsewhere::{Arrival, Hop, Told};
use crate::events;
use crate::fault::Fault;
use crate::gate::Gate;
use crate::limits::Held;
use crate::path::{Path, Target};
use crate::peers::route::Said;
use crate::principal::{Authenticated, Endpoint, Judges, authenticate};
use crate::respond::refused;
use crate::session::{Scope, Session};
use crate::spans;
use crate::stateless::is_stateless;
use crate::toolsets;
use crate::upstream::http::SESSION;

/// Why a request is refused, and its id if it was read so far.
pub(crate) struct Refused {
    pub(crate) fault: Fault,
    pub(crate) id: Option<Bytes>,
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self { fault, id: None }
    }
}

impl Gate {
    /// Answers one request.
    pub(crate) async fn serve(self: &Arc<Self>, request: Request<Incoming>, hop: Hop) -> Response<Body> {
        self.counters.active.inc();
        let _active = crate::body::Gauge(self.counters.active.clone());
        // If a length stood beside it, hyper has dropped that: who counts otherwise must not get a second answer.
        let last = request.headers().contains_key(TRANSFER_ENCODING);
        let span = spans::server(&request);
        // Pinned where it stands: moving the future of a request costs more than the span does.
        let answering = std::pin::pin!(async {
            match self.admit(request, hop).await {
                Ok(response) => response,
                Err(Refused { fault, id }) => refused(self, &fault, id.as_deref(), None),
            }
        });
        let mut response = span.scope(answering).await;
        if last {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        span.describe(|span| spans::status(span, &response, 500));
        response.map(|body| body.under(span))
    }

    async fn admit(self: &Arc<Self>, request: Request<Incoming>, hop: Hop) -> Result<Response<Body>, Refused> {
        let (head, body) = request.into_parts();
        let path = Path::parse(head.uri.path());
        match hop {
            Hop::First => {
                if let Path::Health(ready) = path {
                    return Ok(self.health(ready, &head.method)?);
                }
                self.hosts.check(&head.headers)?;
            }
            // The names under which its client came were looked at there.
            Hop::Second => match path {
                _ if !self.is_meant(&head.headers) => return Ok(self.not_served("another")),
                Path::Mcp { .. } | Path::Posts { .. } if !self.is_ready() => return Ok(self.not_served("stopping")),
                Path::Mcp { .. } | Path::Posts { .. } => (),
                _ => return Err(Fault::NotFound.into()),
            },
        }
        if head.uri.query().is_some_and(has_key) {
            return Err(Fault::TokenInQuery.into());
        }
        // Whoever looks for an authorization server, without a key, must learn that there is none.
        match path {
            Path::Other => return Err(Fault::NotFound.into()),
            Path::Metadata { tenant, target } => {
                return Ok(self.metadata(&head.method, &head.headers, tenant, target)?);
            }
            Path::Mcp { .. } | Path::Stream { .. } | Path::Posts { .. } | Path::Internal(_) | Path::Health(_) => (),
        }
        if self.draining.load(Ordering::Acquire) {
            return Err(Fault::Draining.into());
        }
        let who = self.authenticated(&head.headers, path)?;
        let arrival = Arrival { hop, head: &head };
        match path {
            Path::Mcp { tenant, target } => {
                if tenant.is_some_and(|tenant| tenant != who.tenant.spec.name.as_str()) {
                    return Err(Fault::NotFound.into());
                }
                may_call(&who, target)?;
                self.within_limits(&who)?;
                match head.method {
                    Method::POST => self.post(who, path, target, &arrival, body).await,
                    Method::GET => {
                        only_of_sessions(&head.headers)?;
                        Ok(Box::pin(self.bare(&who, target, &arrival, Said::Listen)).await?)
                    }
                    Method::DELETE => {
                        only_of_sessions(&head.headers)?;
                        Ok(Box::pin(self.bare(&who, target, &arrival, Said::End)).await?)
                    }
                    _ => Err(Fault::MethodNotAllowed("GET, POST, DELETE").into()),
                }
            }
            // Boxed like everything that is not a call: the future of a call stays small, and is cheap to move.
            Path::Stream { .. } | Path::Posts { .. } => Box::pin(self.of_sse_clients(who, path, &arrival, body)).await,
            Path::Internal(call) => {
                self.within_limits(&who)?;
                Ok(Box::pin(self.internal(who, call, head, body)).await?)
            }
            Path::Health(_) | Path::Metadata { .. } | Path::Other => Err(Fault::NotFound.into()),
        }
    }

    /// The table is young enough to be trusted, and neither the caller nor the tenant asks too often.
    pub(crate) fn within_limits(&self, who: &Authenticated) -> Result<(), Fault> {
        self.readiness.check(self.clock.now_micros(), who.tenant.spec.stale_after)?;
        if let Some(rate) = who.rate() {
            let caller = rate.take();
            caller.map_err(|retry_after| Fault::Quota { what: "requests per second of this key", retry_after })?;
        }
        let tenant = who.tenant.usage.rate.take();
        tenant.map_err(|retry_after| Fault::Quota { what: "requests per second", retry_after })
    }

    fn authenticated(&self, headers: &HeaderMap, path: Path<'_>) -> Result<Authenticated, Fault> {
        if !self.readiness.has_table() {
            return Err(Fault::NotReady);
        }
        let (tenant, target) = match path {
            Path::Mcp { tenant, target } | Path::Stream { tenant, target } | Path::Posts { tenant, target } => {
                (tenant, Some(target))
            }
            _ => (None, None),
        };
        let endpoint = Endpoint { tenant, target, hosts: &self.hosts, headers };
        let judges = Judges { table: &self.tables.load(), tokens: &self.tokens };
        authenticate(&judges, &endpoint, self.clock.now_micros())
            .map_err(|fault| fault.with_sign_in(|| self.sign_in(headers, tenant, target?)))
    }

    /// The same caller by the table of this moment: a body may take its time, in which what let somebody in can end.
    pub(crate) fn still(
        &self,
        who: &Authenticated,
        path: Path<'_>,
        target: Target<'_>,
        headers: &HeaderMap,
    ) -> Result<Authenticated, Fault> {
        let tenant = if let Path::Mcp { tenant, .. } | Path::Posts { tenant, .. } = path { tenant } else { None };
        let again =
            who.again(&self.tables.load(), self.clock.now_micros()).ok_or_else(|| Fault::invalid("unauthenticated"));
        let who = again.map_err(|fault| fault.with_sign_in(|| self.sign_in(headers, tenant, target)))?;
        may_call(&who, target)?;
        Ok(who)
    }

    /// Whether a request to this path with this head gets past authentication. Nothing else is done: for
    /// measuring what that costs.
    pub fn lets_in(&self, path: &str, headers: &HeaderMap) -> bool {
        self.authenticated(headers, Path::parse(path)).is_ok()
    }

    /// Whether clients should be sent here.
    pub(crate) fn is_ready(&self) -> bool {
        self.readiness.has_table() && self.sealer.is_ready() && !self.draining.load(Ordering::Acquire)
    }

    fn health(&self, ready: bool, method: &Method) -> Result<Response<Body>, Fault> {
        if method != Method::GET {
            return Err(Fault::MethodNotAllowed("GET"));
        }
        let well = !ready || self.is_ready();
        let mut response = Response::new(Body::full(Bytes::from_static(if well { b"ok\n" } else { b"not ready\n" })));
        if !well {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        Ok(response)
    }

    async fn post(
        &self,
        who: Authenticated,
        path: Path<'_>,
        target: Target<'_>,
        arrival: &Arrival<'_>,
        body: Incoming,
    ) -> Result<Response<Body>, Refused> {
        let headers = &arrival.head.headers;
        acceptable(headers)?;
        // Before the body is read: it is what takes memory.
        let call = call(&who)?;
        let limits = &who.tenant.usage.limits;
        let message = read_body(headers, body, limits).await?;
        let who = &self.still(&who, path, target, headers)?;
        if is_batch(&message) {
            return Ok(Box::pin(self.batch(who, target, arrival, &message, call)).await?);
        }
        // Pinned where it stands: moving the future of a call costs more than polling it.
        std::pin::pin!(self.message(who, target, arrival, &message, call)).await
    }

    /// Serves one message.
    pub(crate) async fn message(
        &self,
        who: &Authenticated,
        target: Target<'_>,
        arrival: &Arrival<'_>,
        message: &Bytes,
        call: Held,
    ) -> Result<Response<Body>, Refused> {
        let headers = &arrival.head.headers;
        let envelope = scan(message)?;
        let id = envelope.id.map(|span| message.slice(span.start()..span.end()));
        let refuse = |fault| Refused { fault, id: id.clone().filter(|_| envelope.kind == Kind::Request) };
        trace::describe(|span| spans::describe(span, who, &envelope, message));
        let method = envelope.method(message);
        let begun = Instant::now();
        let session = if is_stateless(headers, &envelope) {
            self.stateless(who, target, headers, message, &envelope).map_err(refuse)?
        } else {
            if let (Kind::Request, "initialize", Some(id)) = (envelope.kind, method, &id) {
                let answer = Box::pin(self.initialize(who, target, headers, message, &envelope, id.clone())).await;
                self.counters.served(method, begun.elapsed());
                return answer.map_err(refuse);
            }
            // One version header that is not spoken is refused, whatever the session says.
            spoken(headers).map_err(refuse)?;
            let session = self.session(who, target, headers).map_err(refuse)?;
            let told = Told::message(&envelope, message, id.as_ref());
            if !self.is_at_home(&session, &told)
                && let Some(answer) = Box::pin(self.elsewhere(arrival, &session, told)).await.map_err(refuse)?
            {
                return Ok(answer.map(|body| body.holding(Some(call))));
            }
            self.used_here(arrival, &session);
            session
        };
        let passed = passed(headers);
        trace::describe(|span| spans::in_session(span, &session));
        let asked = Asked {
            who,
            session: &session,
            shown: shown(headers),
            passed: &passed,
            message,
            envelope: &envelope,
            id: id.unwrap_or_default(),
        };
        match envelope.kind {
            Kind::Request => {
                let answer = self.served(&asked, headers, call).await;
                self.counters.served(method, begun.elapsed());
                Ok(answer)
            }
            // Nothing that a client says unasked means anything without a session.
            Kind::Notification if session.client().is_stateless() => Ok(accepted()),
            Kind::Notification => {
                Box::pin(self.notification(&asked)).await;
                Ok(accepted())
            }
            Kind::Response => {
                Box::pin(self.answered_by_client(&asked)).await;
                Ok(accepted())
            }
        }
    }

    /// GET or DELETE.
    async fn bare(
        &self,
        who: &Authenticated,
        target: Target<'_>,
        arrival: &Arrival<'_>,
        said: Said<'_>,
    ) -> Result<Response<Body>, Fault> {
        let headers = &arrival.head.headers;
        let session = self.session(who, target, headers)?;
        let last = headers.get("last-event-id").filter(|_| said == Said::Listen);
        let told = Told::bare(said).naming(last.and_then(|last| events::node_in(last.as_bytes())));
        if !self.is_at_home(&session, &told) {
            // Counted here, too: whoever has it may keep its client waiting.
            let place = match said {
                Said::Listen => Some(who.tenant.usage.stream().ok_or_else(full_of_streams)?),
                _ => None,
            };
            if let Some(answer) = self.elsewhere(arrival, &session, told).await? {
                return Ok(answer.map(|body| body.holding(place)));
            }
        }
        match said {
            // Who told us has ended it over there.
            Said::End if arrival.hop == Hop::Second => Ok(self.ended(who, &session)),
            Said::End => self.end(who, target, headers).await,
            _ => self.listen(who, target, headers).await,
        }
    }

    /// The session that a request belongs to, if it is this principal's and this URL's.
    pub(crate) fn session(
        &self,
        who: &Authenticated,
        target: Target<'_>,
        headers: &HeaderMap,
    ) -> Result<Session, Fault> {
        let id = headers.get(SESSION).ok_or(Fault::SessionMissing)?;
        let session = Session::open(&self.sealer, id.as_bytes(), self.clock.now_secs()).ok_or(Fault::SessionUnknown)?;
        let fits = match (&session.scope, target) {
            (Scope::Aggregate, Target::Aggregate) | (Scope::BuiltIn, Target::BuiltIn) => true,
            (Scope::Server { server, .. }, Target::Server(name)) => {
                who.mount(name).is_some_and(|mount| mount.spec.id == *server)
            }
            (Scope::Toolset(id), Target::Toolset(name)) => toolsets::of(who, name) == Some(*id),
            _ => false,
        };
        let own = session.tenant == who.tenant.spec.id && session.subject == who.subject();
        if !fits || !own || !self.client_sessions.uses(&session) {
            return Err(Fault::SessionUnknown);
        }
        Ok(session)
    }
}

/// No stream more.
fn full_of_streams() -> Fault {
    Fault::Quota { what: "open streams", retry_after: Duration::from_secs(5) }
}

/// One call under way, until it is dropped.
pub(crate) fn call(who: &Authenticated) -> Result<Held, Fault> {
    let full = Fault::Quota { what: "concurrent requests", retry_after: Duration::from_secs(1) };
    who.tenant.usage.call().ok_or(full)
}

/// Whether somebody may send messages to this endpoint.
pub(crate) fn may_call(who: &Authenticated, target: Target<'_>) -> Result<(), Fault> {
    if !who.role().calls_mcp() {
        return Err(Fault::Viewer);
    }
    match target {
        Target::Server(name) if who.mount(name).is_none() => Err(Fault::NotFound),
        Target::Toolset(name) if toolsets::of(who, name).is_none() => Err(Fault::NotFound),
        Target::Server(_) | Target::Aggregate | Target::BuiltIn | Target::Toolset(_) => Ok(()),
    }
}

/// What let the caller in, for questions about credentials.
pub(crate) fn shown(headers: &HeaderMap) -> Showing<'_> {
    headers.get(AUTHORIZATION).map_or(Showing::Nothing, Showing::Header)
}

/// An empty 202.
pub(crate) fn accepted() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// Those headers of the client that may reach an upstream, its trace context among them.
pub(crate) fn passed(headers: &HeaderMap) -> HeaderMap {
    let mut passed = HeaderMap::new();
    for (name, value) in headers {
        if mcp::headers::passes_upstream(name.as_str()) {
            passed.append(name.clone(), value.clone());
        }
    }
    passed
}
