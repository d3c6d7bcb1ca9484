//! The way to another proxy: one hop, the request as the client sent it, and the answer as it streams back.

use std::sync::Arc;

use bytes::Bytes;
use egress::{EgressError, Sent};
use http::header::{
    CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;

use super::{Peer, Peers};
use crate::body::Body;

/// Which node a request is for. Addresses are given to others in time; a node's name never is.
pub(crate) const TO: HeaderName = HeaderName::from_static("gatehouse-to");
/// Which node says that it serves a request not.
pub(crate) const NODE: HeaderName = HeaderName::from_static("gatehouse-node");
/// Why it does not: nothing of the request has happened.
pub(crate) const NOT_SERVED: HeaderName = HeaderName::from_static("gatehouse-not-served");

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// What concerns one connection alone.
const OF_A_HOP: [HeaderName; 10] = [
    CONNECTION,
    KEEP_ALIVE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    EXPECT,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    NODE,
];

/// A request of a client.
pub(crate) struct Sending<'a> {
    pub(crate) method: &'a Method,
    /// With its query.
    pub(crate) path: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: Bytes,
    /// What the client of an event stream is told that breaks off.
    pub(crate) broken: Option<Bytes>,
}

/// Why it was not answered there.
pub(crate) enum Unanswered {
    /// Nothing has happened there.
    NotServed,
    /// There is no answer, and it may have been acted upon.
    Lost,
}

impl Peers {
    /// Sends a request there, once. Who is asked authenticates the caller anew and believes nothing else.
    pub(crate) async fn forward(&self, peer: &Arc<Peer>, sending: Sending<'_>) -> Result<Response<Body>, Unanswered> {
        let request = request(peer, &sending).ok_or(Unanswered::NotServed)?;
        let response = peer.way.send(request).await.map_err(|error| unanswered(peer, &error))?;
        if response.status() == StatusCode::MISDIRECTED_REQUEST && response.headers().contains_key(NOT_SERVED) {
            let why = response.headers().get(NOT_SERVED).map(HeaderValue::as_bytes).unwrap_or_default();
            match response.headers().get(NODE).and_then(|node| node.to_str().ok()) {
                Some(node) if why == b"another" => self.succeeded(peer, node),
                _ if why == b"stopping" => peer.lost(),
                _ => (),
            }
            return Err(Unanswered::NotServed);
        }
        let (mut head, body) = response.into_parts();
        OF_A_HOP.iter().for_each(|name| _ = head.headers.remove(name));
        let streams = head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        let broken = sending.broken.filter(|_| streams);
        Ok(Response::from_parts(head, Body::from_peer(body, broken)))
    }
}

fn unanswered(peer: &Peer, error: &EgressError) -> Unanswered {
    let class = error.class();
    match error {
        // It is there and thinks.
        EgressError::FirstByteTimeout => return Unanswered::Lost,
        EgressError::Tls(_) => {
            let error = telemetry::chain(error).to_string();
            tracing::error!(node = peer.node, error, alarm = true, "a proxy of the pool shows no certificate of it");
        }
        _ => tracing::warn!(node = peer.node, class, "a proxy of the pool can't be reached"),
    }
    peer.lost();
    match error.sent() {
        Sent::No => Unanswered::NotServed,
        Sent::Maybe => Unanswered::Lost,
    }
}

fn request(peer: &Peer, sending: &Sending<'_>) -> Option<Request<Full<Bytes>>> {
    let mut request = Request::new(Full::new(sending.body.clone()));
    *request.method_mut() = sending.method.clone();
    *request.uri_mut() = sending.path.parse().ok()?;
    let headers = request.headers_mut();
    headers.clone_from(sending.headers);
    OF_A_HOP.iter().for_each(|name| _ = headers.remove(name));
    headers.remove(CONTENT_LENGTH);
    headers.insert(TO, HeaderValue::from_str(&peer.node).ok()?);
    Some(request)
}
