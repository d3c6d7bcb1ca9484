//! Answers as HTTP has them.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response};

use crate::body::Body;
use crate::fault::{Code, Fault};
use crate::gate::Gate;

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

/// An answer of this type.
pub(crate) fn with_type(body: Body, kind: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// The same answer, known to carry this error.
pub(crate) fn coded(mut response: Response<Body>, code: Option<Code>) -> Response<Body> {
    if let Some(code) = code {
        response.extensions_mut().insert(code);
    }
    response
}

/// For errors that concern no request of JSON-RPC.
pub(crate) fn refused(gate: &Gate, fault: &Fault, id: Option<&[u8]>, server: Option<&str>) -> Response<Body> {
    gate.counters.refused(fault.reason());
    fault.response(id, server).map(Body::full)
}
