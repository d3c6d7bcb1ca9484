//! One message to a Streamable HTTP upstream and the head of its answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use egress::EgressError;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use mcp::Revision;
use wire::Challenge;

use super::challenge::challenge;
use super::{Failure, Refusal};
use crate::credentials::{Lines, NoCredential};
use crate::spans;
use crate::table::{Mount, Way};
use crate::timers::scaled;

pub(crate) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
pub(crate) const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// Most bytes that are read of an answer that refuses.
const REFUSAL_BYTES: usize = 64 << 10;
/// In this time an upstream must send at least [`LEAST`] bytes of a body that it has begun.
pub(crate) const PACE: Duration = Duration::from_secs(30);
/// See [`PACE`].
pub(crate) const LEAST: usize = 1024;

/// How an upstream answers.
pub(crate) enum Answer {
    /// One JSON message.
    Json(egress::Body),
    /// A stream of events.
    Events(egress::Body),
    /// Accepted, nothing to say.
    Nothing,
}

/// The upstream's session as request headers know it.
#[derive(Clone, Default)]
pub(crate) struct HttpSession {
    /// The upstream's session id, if it keeps sessions.
    pub(crate) id: Option<HeaderValue>,
    /// The revision that was negotiated; `None` while initializing.
    pub(crate) revision: Option<Revision>,
    /// What the request bears. Of one request: a session outlives its header lines.
    pub(crate) lines: Option<Arc<Lines>>,
}

/// Sends a request to an upstream. `passed` are those headers of the client that may cross.
pub(crate) async fn send(
    way: &Way,
    method: Method,
    path: Uri,
    session: &HttpSession,
    passed: &HeaderMap,
    body: Bytes,
) -> Result<Response<egress::Body>, EgressError> {
    let posts = method == Method::POST;
    let mut request = Request::new(Full::new(body));
    let headers = request.headers_mut();
    headers.reserve(8 + way.headers.len() + passed.len());
    // The client's come first: what an admin configured replaces them.
    for (name, value) in passed {
        headers.append(name.clone(), value.clone());
    }
    for name in way.headers.keys() {
        headers.remove(name);
    }
    for (name, value) in &way.headers {
        headers.append(name.clone(), value.clone());
    }
    let (mut path, mut upstream) = (path, &way.upstream);
    if let Some(lines) = &session.lines {
        lines.put(headers);
        path = lines.path(path);
        upstream = lines.upstream().unwrap_or(upstream);
    }
    headers.insert(ACCEPT, if posts { BOTH } else { EVENTS });
    headers.insert(ACCEPT_ENCODING, IDENTITY);
    if posts {
        headers.insert(CONTENT_TYPE, JSON);
    }
    if let Some(id) = &session.id {
        headers.insert(SESSION, id.clone());
    }
    if let Some(revision) = session.revision.filter(|revision| *revision >= Revision::V2025_03_26) {
        headers.insert(VERSION, HeaderValue::from_static(revision.as_str()));
    }
    *request.method_mut() = method;
    *request.uri_mut() = path;
    let span = spans::upstream(way, request.method());
    spans::hand_on(&span, request.headers_mut());
    let answered = upstream.send(request).await;
    span.describe(|span| spans::answered(span, &answered));
    answered
}

/// Nothing is borne that was taken away.
pub(crate) fn bearable(session: &HttpSession) -> Result<(), Failure> {
    match &session.lines {
        Some(lines) if lines.are_withdrawn() => Err(Failure::NoCredential(Arc::new(NoCredential::withdrawn()))),
        _ => Ok(()),
    }
}

/// Posts one message and judges the head of the answer.
pub(crate) async fn post(
    mount: &Mount,
    session: &HttpSession,
    passed: &HeaderMap,
    body: Bytes,
) -> Result<(Answer, Option<HeaderValue>), Failure> {
    bearable(session)?;
    let response = send(&mount.way, Method::POST, mount.way.path.clone(), session, passed, body).await?;
    judge(response, session.id.is_some()).await
}

/// What the head of an answer means.
pub(crate) async fn judge(
    response: Response<egress::Body>,
    in_session: bool,
) -> Result<(Answer, Option<HeaderValue>), Failure> {
    let (mut head, body) = response.into_parts();
    let status = head.status;
    if status.is_redirection() {
        return Err(Failure::Redirected);
    }
    let encoded = head.headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding.as_bytes() != b"identity");
    if !status.is_success() {
        let retry_after =
            head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_secs);
        let challenge = challenge(status.as_u16(), &head.headers);
        return Err(refusal(status, retry_after, challenge, in_session, if encoded { None } else { Some(body) }).await);
    }
    if encoded {
        return Err(Failure::BadResponse("it is compressed"));
    }
    let session = head.headers.remove(SESSION);
    let kind = head.headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes()).unwrap_or_default();
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if kind.eq_ignore_ascii_case(b"application/json") {
        Ok((Answer::Json(body), session))
    } else if kind.eq_ignore_ascii_case(b"text/event-stream") {
        Ok((Answer::Events(body), session))
    } else if status == StatusCode::ACCEPTED
        || status == StatusCode::NO_CONTENT
        || http_body::Body::is_end_stream(&body)
    {
        drain(body).await;
        Ok((Answer::Nothing, session))
    } else {
        Err(Failure::BadResponse("it is neither JSON nor an event stream"))
    }
}

/// Reads a little to give the connection back to its pool.
pub(crate) async fn drain(mut body: egress::Body) {
    let read = async { while let Some(Ok(_)) = body.frame().await {} };
    let _late = tokio::time::timeout(Duration::from_millis(200), read).await;
}

async fn refusal(
    status: StatusCode,
    retry_after: Option<Duration>,
    challenge: Challenge,
    in_session: bool,
    body: Option<egress::Body>,
) -> Failure {
    let text = match body {
        Some(body) => read(body, REFUSAL_BYTES).await.unwrap_or_default(),
        None => Bytes::new(),
    };
    let status = status.as_u16();
    match status {
        404 if in_session => return Failure::SessionLost,
        400 if in_session && tells_of_a_lost_session(&text) => return Failure::SessionLost,
        _ => (),
    }
    let error = mcp::Envelope::scan(&text)
        .ok()
        .and_then(|envelope| envelope.error)
        .map(|span| text.slice(span.start()..span.end()));
    if matches!(status, 401 | 403) {
        return Failure::Unauthorized(Arc::new(Refusal { challenge, error }));
    }
    Failure::Status { status, retry_after, error }
}

/// Servers that answer 400 to a session they do not know say so in words, with a code that has no
/// other meaning. A tool's own error about some session is none of this: the call was executed.
fn tells_of_a_lost_session(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Refusal {
        error: Told,
    }
    #[derive(serde::Deserialize)]
    struct Told {
        code: i64,
        message: String,
    }
    let words = |text: &str| {
        let text = text.to_ascii_lowercase();
        ["session id", "session not found", "unknown session", "invalid session", "no valid session"]
            .iter()
            .any(|words| text.contains(words))
    };
    match serde_json::from_slice::<Refusal>(body) {
        Ok(Refusal { error }) => matches!(error.code, -32000 | -32001) && words(&error.message),
        Err(_) => !body.starts_with(b"{") && std::str::from_utf8(body).is_ok_and(words),
    }
}

/// Reads a whole body of at most `limit` bytes, at a pace that is worth waiting for.
pub(crate) async fn read(mut body: egress::Body, limit: usize) -> Result<Bytes, Failure> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    let mut since = tokio::time::Instant::now();
    let mut counted = 0;
    loop {
        let frame = match tokio::time::timeout_at(since + scaled(PACE), body.frame()).await {
            Err(_) => return Err(EgressError::FirstByteTimeout.into()),
            Ok(None) => break,
            Ok(Some(frame)) => frame?,
        };
        let Ok(data) = frame.into_data() else { continue };
        counted += data.len();
        if counted >= LEAST {
            (since, counted) = (tokio::time::Instant::now(), 0);
        }
        if first.len() + rest.len() + data.len() > limit {
            return Err(Failure::TooLarge);
        }
        if first.is_empty() {
            first = data;
        } else {
            rest.extend_from_slice(&data);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}
