//! Bodies that a test upstream answers with: whole ones, and ones that are fed while they go out.

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

pub(crate) type Body = BoxBody<Bytes, std::io::Error>;

/// A whole body of one kind.
pub(crate) fn whole(status: u16, kind: &str, body: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert("content-type", kind.parse().unwrap());
    response
}

/// A JSON body.
pub(crate) fn json(value: &Value) -> Response<Body> {
    whole(200, "application/json", value.to_string())
}

/// A body that is sent piece by piece; an `Err` breaks the connection.
pub(crate) fn fed(kind: &str) -> (mpsc::Sender<std::io::Result<Bytes>>, Response<Body>) {
    let (feed, pieces) = mpsc::channel(16);
    let frames = ReceiverStream::new(pieces).map(|piece: std::io::Result<Bytes>| piece.map(Frame::data));
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames)));
    response.headers_mut().insert("content-type", kind.parse().unwrap());
    (feed, response)
}

/// An event stream that carries whatever messages come.
pub(crate) fn events(mut messages: mpsc::Receiver<Value>) -> Response<Body> {
    let (feed, response) = fed("text/event-stream");
    tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                () = feed.closed() => return,
                message = messages.recv() => message,
            };
            let Some(message) = message else { return };
            if feed.send(Ok(event(&message))).await.is_err() {
                return;
            }
        }
    });
    response
}

/// One message as an event.
pub(crate) fn event(message: &Value) -> Bytes {
    Bytes::from(format!("event: message\ndata: {message}\n\n"))
}
