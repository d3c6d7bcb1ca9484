//! An answer taken apart into its messages, for clients that don't read it as it is: those of batches, and those of 2024-11-05.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use http::Response;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt as _;
use mcp::sse;
use tokio::time::{Interval, MissedTickBehavior};

use crate::body::Body;

/// Silence after which a comment keeps a stream open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Largest event in bytes: one of an upstream, each line of which has become one of ours.
const EVENT: usize = 8 * (4 << 20);

/// The answer broke off: what was passed on of it is not all.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
pub(crate) struct Broken;

/// Whether an answer is a stream of events.
pub(crate) fn is_events(response: &Response<Body>) -> bool {
    response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// The messages of an answer: of events each as soon as it is whole, of JSON the one that it is, of nothing none.
pub(crate) fn messages(response: Response<Body>) -> BoxStream<'static, Result<Bytes, Broken>> {
    match is_events(&response) {
        true => events(response.into_body()).boxed(),
        false => stream::once(whole(response.into_body())).filter_map(async |message| message.transpose()).boxed(),
    }
}

async fn whole(body: Body) -> Result<Option<Bytes>, Broken> {
    let bytes = body.collect().await.map_err(|_| Broken)?.to_bytes();
    Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
}

/// The data of each event. Ids are left out: what is put together of several streams can't be resumed as one of them.
fn events(body: Body) -> impl Stream<Item = Result<Bytes, Broken>> {
    let begun = (body, sse::Decoder::new(EVENT), VecDeque::new());
    stream::try_unfold(begun, async |(mut body, mut decoder, mut ready)| {
        loop {
            if let Some(data) = ready.pop_front() {
                return Ok(Some((data, (body, decoder, ready))));
            }
            let Some(frame) = body.frame().await else { return Ok(None) };
            let Ok(data) = frame.map_err(|_| Broken)?.into_data() else { continue };
            let mut events = Vec::new();
            decoder.push(&data, &mut events).map_err(|_| Broken)?;
            ready.extend(events.into_iter().map(|event| event.data).filter(|data| !data.is_empty()));
        }
    })
}

/// Events with a comment wherever nothing is said for a while, so that nobody takes the stream for dead.
pub(crate) struct KeptAlive<S> {
    events: S,
    ticks: Interval,
}

impl<S> KeptAlive<S> {
    pub(crate) fn new(events: S) -> Self {
        let mut ticks = tokio::time::interval(KEEP_ALIVE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick would come at once.
        ticks.reset();
        Self { events, ticks }
    }
}

impl<S, E> Stream for KeptAlive<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
{
    type Item = Result<Bytes, E>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { events, ticks } = self.get_mut();
        if let Poll::Ready(event) = events.poll_next_unpin(cx) {
            ticks.reset();
            return Poll::Ready(event);
        }
        ready!(ticks.poll_tick(cx));
        Poll::Ready(Some(Ok(sse::KEEP_ALIVE)))
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;

    use super::*;
    use crate::pipeline::accepted;
    use crate::respond::{event_response, json_response};

    fn in_pieces(pieces: &[&'static str]) -> Body {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok::<_, Broken>(Bytes::from_static(piece.as_bytes()))).collect();
        Body::stream(stream::iter(pieces))
    }

    #[tokio::test]
    async fn an_answer_is_what_its_messages_are() {
        let events =
            ["id: 1\nretry: 500\ndata:\n\n:\n\nid: 2\neve", "nt: message\ndata: {\"a\":\ndata: 1}\n\ndata: [", "]\n\n"];
        for (response, said) in [
            (json_response(Bytes::from_static(b"{}")), vec!["{}"]),
            (accepted(), vec![]),
            (event_response(in_pieces(&events)), vec!["{\"a\":\n1}", "[]"]),
            (event_response(Body::empty()), vec![]),
        ] {
            let messages: Vec<Bytes> = messages(response).try_collect().await.unwrap();
            assert_eq!(messages, said);
        }
        let broken = Body::stream(stream::iter([Ok(Bytes::from_static(b"{")), Err(Broken)]));
        assert!(messages(Response::new(broken)).try_collect::<Vec<_>>().await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_is_kept_alive() {
        let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, Broken>>(4);
        let mut stream = KeptAlive::new(tokio_stream::wrappers::ReceiverStream::new(receiver));
        for _ in 0..3 {
            assert_eq!(stream.next().await.unwrap().unwrap(), sse::KEEP_ALIVE);
        }
        sender.send(Ok(Bytes::from_static(b"x"))).await.unwrap();
        assert_eq!(stream.next().await.unwrap().unwrap(), "x");
        drop(sender);
        assert!(stream.next().await.is_none());
    }
}
