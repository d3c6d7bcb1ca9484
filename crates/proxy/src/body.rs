//! What clients get to read: bytes that are ready, an answer that streams by, events, or a stream of
//! notifications.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use mcp::sse;
use telemetry::trace::Span;
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep};

use crate::answer::{EventRelay, StreamedAnswer};
use crate::flights::Flight;
use crate::head_timeout::Serving;
use crate::hub::Stream;
use crate::limits::{Held, Place};
use crate::peers::Passed;

/// Largest answer that is copied into one piece.
const JOINED: usize = 16 << 10;
/// Silence after which a comment keeps a stream open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The body of an answer to a client, with the places that it holds until it ends.
pub(crate) struct Body {
    kind: Kind,
    guards: Guards,
}

enum Kind {
    Ready(Option<Bytes>),
    Pieces(std::vec::IntoIter<Bytes>, usize),
    Answer(Box<StreamedAnswer>),
    Events(Box<EventRelay>),
    Listening(Box<Listening>),
    Passed(Box<Passed>),
}

/// What a request holds while it is being answered.
#[derive(Default)]
#[expect(dead_code, reason = "held until the answer ends, never read")]
pub(crate) struct Guards {
    pub(crate) call: Option<Held>,
    pub(crate) place: Option<Place>,
    pub(crate) flight: Option<Flight>,
    /// Ends with the answer.
    pub(crate) span: Span,
    pub(crate) serving: Option<Serving>,
}

/// An open GET stream.
pub(crate) struct Listening {
    stream: Stream,
    keep_alive: Interval,
    opened: bool,
    /// Until the key or token of the listener expires.
    until: Option<Pin<Box<Sleep>>>,
    _gauge: Gauge,
}

/// Counts one open stream for as long as it lives.
pub(crate) struct Gauge(pub(crate) telemetry::IntGauge);

impl Gauge {
    /// Counts one more.
    pub(crate) fn one_more(gauge: &telemetry::IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Body {
    /// What this span's request is answered with.
    pub(crate) fn under(mut self, span: Span) -> Self {
        self.guards.span = span;
        self
    }

    /// The connection rests again once this is sent.
    pub(crate) fn ending(mut self, serving: Serving) -> Self {
        self.guards.serving = Some(serving);
        self
    }

    /// Nothing.
    pub(crate) fn empty() -> Self {
        Self { kind: Kind::Ready(None), guards: Guards::default() }
    }

    /// Bytes that are ready.
    pub(crate) fn full(bytes: Bytes) -> Self {
        Self { kind: Kind::Ready(Some(bytes).filter(|bytes| !bytes.is_empty())), guards: Guards::default() }
    }

    /// Pieces of one answer, in their order. Small ones are joined: one write costs less than several.
    pub(crate) fn pieces(pieces: Vec<Bytes>) -> Self {
        let size = pieces.iter().map(Bytes::len).sum();
        if size > JOINED {
            return Self { kind: Kind::Pieces(pieces.into_iter(), size), guards: Guards::default() };
        }
        let mut whole = BytesMut::with_capacity(size);
        pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
        Self::full(whole.freeze())
    }

    /// A JSON answer too large to be looked at as a whole.
    pub(crate) fn answer(answer: Box<StreamedAnswer>, guards: Guards) -> Self {
        Self { kind: Kind::Answer(answer), guards }
    }

    /// Events of an upstream.
    pub(crate) fn events(events: Box<EventRelay>, guards: Guards) -> Self {
        Self { kind: Kind::Events(events), guards }
    }

    /// What another proxy answers. `broken` is said to the client of an event stream that breaks off.
    pub(crate) fn from_peer(body: egress::Body, broken: Option<Bytes>) -> Self {
        Self { kind: Kind::Passed(Box::new(Passed::new(body, broken))), guards: Guards::default() }
    }

    /// The same, which holds a place until it ends.
    pub(crate) fn holding(mut self, call: Option<Held>) -> Self {
        self.guards.call = call;
        self
    }

    /// The notifications of a GET stream.
    pub(crate) fn listening(
        stream: Stream,
        gauge: telemetry::IntGauge,
        call: Option<Held>,
        until: Option<Instant>,
    ) -> Self {
        let mut keep_alive = tokio::time::interval(KEEP_ALIVE);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        gauge.inc();
        let until = until.map(|until| Box::pin(tokio::time::sleep_until(until)));
        let listening = Listening { stream, keep_alive, opened: false, until, _gauge: Gauge(gauge) };
        Self { kind: Kind::Listening(Box::new(listening)), guards: Guards { call, ..Guards::default() } }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Self { kind, guards } = self.get_mut();
        match kind {
            Kind::Ready(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Pieces(pieces, left) => {
                let piece = pieces.next();
                *left -= piece.as_ref().map_or(0, Bytes::len);
                Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
            }
            Kind::Answer(answer) => {
                let chunk = guards.span.within(|| answer.poll_chunk(cx));
                chunk.map(|chunk| chunk.map(|chunk| chunk.map(Frame::data).map_err(Into::into)))
            }
            Kind::Events(events) => {
                guards.span.within(|| events.poll_event(cx)).map(|event| event.map(|event| Ok(Frame::data(event))))
            }
            Kind::Passed(passed) => {
                passed.poll_chunk(cx).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data).map_err(Into::into)))
            }
            Kind::Listening(listening) => {
                listening.poll_event(cx).map(|event| event.map(|event| Ok(Frame::data(event))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Passed(passed) => passed.is_end_stream(),
            kind => matches!(kind, Kind::Ready(None) | Kind::Pieces(_, 0)),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Ready(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Kind::Pieces(_, left) => SizeHint::with_exact(*left as u64),
            Kind::Passed(passed) => passed.size_hint(),
            _ => SizeHint::default(),
        }
    }
}

impl Listening {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.until.as_mut().is_some_and(|until| until.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(None);
        }
        // A first comment at once: proxies and clients see that the stream is open.
        if !std::mem::replace(&mut self.opened, true) {
            let _first = self.keep_alive.poll_tick(cx);
            return Poll::Ready(Some(sse::KEEP_ALIVE));
        }
        if let Poll::Ready(event) = self.stream.events.poll_recv(cx) {
            self.keep_alive.reset();
            return Poll::Ready(event);
        }
        self.keep_alive.poll_tick(cx).map(|_| Some(sse::KEEP_ALIVE))
    }
}

/// Turns a body of axum's or rmcp's into bytes that are ready.
pub(crate) async fn collect<B>(body: B) -> Bytes
where
    B: http_body::Body<Data = Bytes>,
{
    use http_body_util::BodyExt;
    match body.collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(_) => Bytes::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::hub::{Hears, Hub};
    use crate::principal::Caller;
    use crate::session::Uid;
    use http_body_util::BodyExt as _;

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_with_its_key() {
        let key = Caller::for_test("0123456789abcdef");
        let hub = Arc::new(Hub::default());
        let stream = hub.listen(Uid([1; 8]), key, Hears::All(None)).unwrap();
        let gauge = telemetry::IntGauge::new("streams", "open").unwrap();
        let until = Instant::now() + Duration::from_secs(1);
        let mut body = Body::listening(stream, gauge, None, Some(until));
        assert!(body.frame().await.is_some(), "the first comment");
        assert!(body.frame().await.is_none());
        assert_eq!(Instant::now(), until, "the end waited for the next comment");
    }
}
