//! What clients get to read: bytes that are ready, an answer that streams by, events, or a stream of
//! notifications.

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::{BoxStream, StreamExt as _};
use http_body::{Frame, SizeHint};
use mcp::sse;
use telemetry::trace::Span;
use tokio::time::{Instant, Interval, MissedTickBehavior, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::answer::{EventRelay, StreamedAnswer};
use crate::events::{Recorder, Replay};
use crate::flights::Flight;
use crate::head_timeout::Serving;
use crate::hub::{Stream, Tie};
use crate::limits::{Held, Place};
use crate::peers::Passed;

/// Why a body ended early.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

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
    Events(Box<Answering>),
    Again(Box<Again>),
    Listening(Box<Listening>),
    Stream(BoxStream<'static, Result<Bytes, BoxError>>),
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

/// An answer as events. When its reader goes away before the end, it goes on alone if somebody may come back for it.
struct Answering {
    relay: Option<Box<EventRelay>>,
    /// What the call holds, wherever it goes on.
    held: Guards,
}

impl Answering {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(relay) = &mut self.relay else { return Poll::Ready(None) };
        if relay.is_taken(cx) {
            self.go_on_alone();
            return Poll::Ready(None);
        }
        relay.poll_event(cx)
    }

    fn go_on_alone(&mut self) {
        let Some(relay) = self.relay.take().filter(|relay| relay.is_awaited()) else { return };
        // Without a runtime the process is ending.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let held = std::mem::take(&mut self.held);
        runtime.spawn(async move {
            relay.drained().await;
            drop(held);
        });
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.go_on_alone();
    }
}

/// An answer that somebody came back for.
struct Again {
    replay: Replay,
    keep_alive: Interval,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Until the key or token of the reader expires.
    until: Option<Pin<Box<Sleep>>>,
    _tie: Tie,
    _gauge: Gauge,
}

impl Again {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let late = self.until.as_mut().is_some_and(|until| until.as_mut().poll(cx).is_ready());
        if late || self.ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(event) = self.replay.poll_event(cx) {
            self.keep_alive.reset();
            return Poll::Ready(event);
        }
        self.keep_alive.poll_tick(cx).map(|_| Some(sse::KEEP_ALIVE))
    }
}

/// What a session heard before, and what it gets first of what it missed.
pub(crate) struct Heard {
    pub(crate) recorder: Option<Recorder>,
    pub(crate) missed: VecDeque<Bytes>,
}

/// An open GET stream.
pub(crate) struct Listening {
    stream: Stream,
    heard: Heard,
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
        // What is the connection's ends with it, what is the call's with the call.
        let mut held = guards;
        let guards = Guards { span: std::mem::take(&mut held.span), serving: held.serving.take(), ..Guards::default() };
        Self { kind: Kind::Events(Box::new(Answering { relay: Some(events), held })), guards }
    }

    /// An answer that somebody came back for: whom it is tied to, and until when.
    pub(crate) fn again(
        replay: Replay,
        tie: Tie,
        gauge: &telemetry::IntGauge,
        call: Option<Held>,
        until: Option<Instant>,
    ) -> Self {
        let ended = Box::pin(tie.ended().clone().cancelled_owned());
        let until = until.map(|until| Box::pin(tokio::time::sleep_until(until)));
        let again = Again { replay, keep_alive: keep_alive(), ended, until, _tie: tie, _gauge: Gauge::one_more(gauge) };
        Self { kind: Kind::Again(Box::new(again)), guards: Guards { call, ..Guards::default() } }
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

    /// Whatever comes out of a stream; an error cuts the connection.
    pub(crate) fn stream<E: Into<BoxError>>(
        stream: impl futures::Stream<Item = Result<Bytes, E>> + Send + 'static,
    ) -> Self {
        let stream = stream.map(|bytes| bytes.map_err(Into::into)).boxed();
        Self { kind: Kind::Stream(stream), guards: Guards::default() }
    }

    /// The notifications of a GET stream.
    pub(crate) fn listening(
        stream: Stream,
        heard: Heard,
        gauge: telemetry::IntGauge,
        call: Option<Held>,
        until: Option<Instant>,
    ) -> Self {
        gauge.inc();
        let until = until.map(|until| Box::pin(tokio::time::sleep_until(until)));
        let listening =
            Listening { stream, heard, keep_alive: keep_alive(), opened: false, until, _gauge: Gauge(gauge) };
        Self { kind: Kind::Listening(Box::new(listening)), guards: Guards { call, ..Guards::default() } }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

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
            Kind::Stream(stream) => stream.poll_next_unpin(cx).map(|bytes| bytes.map(|bytes| bytes.map(Frame::data))),
            Kind::Again(again) => again.poll_event(cx).map(|event| event.map(|event| Ok(Frame::data(event)))),
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
        let Heard { recorder, missed } = &mut self.heard;
        if recorder.as_ref().is_some_and(|recorder| recorder.is_taken(cx)) {
            return Poll::Ready(None);
        }
        if let Some(event) = missed.pop_front() {
            return Poll::Ready(Some(event));
        }
        if let Poll::Ready(event) = self.stream.events.poll_recv(cx) {
            self.keep_alive.reset();
            return Poll::Ready(event.map(|event| match recorder {
                Some(recorder) => recorder.identified(&event),
                None => event,
            }));
        }
        self.keep_alive.poll_tick(cx).map(|_| Some(sse::KEEP_ALIVE))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let Some(recorder) = &mut self.heard.recorder else { return };
        // What came and was not sent any more is there for who comes back.
        while let Ok(event) = self.stream.events.try_recv() {
            recorder.identified(&event);
        }
        recorder.at_epoch(self.stream.hub().epoch());
    }
}

fn keep_alive() -> Interval {
    let mut every = tokio::time::interval(KEEP_ALIVE);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every
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
        let heard = Heard { recorder: None, missed: VecDeque::new() };
        let mut body = Body::listening(stream, heard, gauge, None, Some(until));
        assert!(body.frame().await.is_some(), "the first comment");
        assert!(body.frame().await.is_none());
        assert_eq!(Instant::now(), until, "the end waited for the next comment");
    }
}
