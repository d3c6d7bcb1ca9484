//! Batches, which clients of 2025-03-26 may send: each message is served as if it had come alone, all of them at once,
//! and the answers are gathered.

use bytes::Bytes;
use futures::future::join_all;
use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use http::Response;
use http_body_util::BodyDataStream;
use mcp::batch::{BatchError, split};
use mcp::{Envelope, Kind, Revision, sse};

use crate::admission::{spoken, unreadable};
use crate::body::{Body, BoxError};
use crate::elsewhere::Arrival;
use crate::fault::Fault;
use crate::gate::Gate;
use crate::limits::Held;
use crate::messages::{KeptAlive, is_events, messages};
use crate::path::Target;
use crate::pipeline::{Refused, accepted, call};
use crate::principal::Authenticated;
use crate::respond::{event_response, json_response, with_type};
use crate::upstream::http::VERSION;

/// Whether a body is an array, which only a batch may be.
pub(crate) fn is_batch(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'[')
}

/// One message of a batch.
struct Part {
    message: Bytes,
    /// What its answer is not left out for: a request has one, and so has what could not be read.
    answered: bool,
}

impl Gate {
    /// Serves a batch. Nothing of it is done unless all of it may be.
    pub(crate) async fn batch(
        &self,
        who: &Authenticated,
        target: Target<'_>,
        arrival: &Arrival<'_>,
        body: &Bytes,
        call: Held,
    ) -> Result<Response<Body>, Fault> {
        let places = split(body).map_err(|error| match error {
            BatchError::Json(error) => unreadable(&error),
            BatchError::Shape | BatchError::TooMany => not_served("a batch has 1 to 50 messages"),
        })?;
        self.has_batches(who, target, arrival)?;
        let parts: Vec<Part> =
            places.iter().map(|place| part(body.slice(place.start()..place.end()))).collect::<Result<_, _>>()?;
        let calls = self.calls(who, parts.len(), call)?;
        let served = parts.iter().zip(calls).map(async |(part, call)| {
            let answer = Box::pin(self.message(who, target, arrival, &part.message, call)).await;
            answer.unwrap_or_else(|Refused { fault, id }| {
                self.counters.refused(fault.reason());
                json_response(fault.body(id.as_deref(), None))
            })
        });
        let answers = join_all(served).await;
        let answers = answers.into_iter().zip(&parts).filter(|(_, part)| part.answered).map(|(answer, _)| answer);
        Ok(gathered(answers.collect()))
    }

    /// Only in a session of 2025-03-26: later revisions have no batches, and earlier ones another transport.
    fn has_batches(&self, who: &Authenticated, target: Target<'_>, arrival: &Arrival<'_>) -> Result<(), Fault> {
        let headers = &arrival.head.headers;
        let stateless = headers.get(VERSION).is_some_and(|version| version == Revision::STATELESS.as_str());
        if stateless {
            return Err(not_accepted());
        }
        spoken(headers)?;
        match self.session(who, target, headers) {
            Ok(session) if session.revision == Revision::V2025_03_26 => Ok(()),
            Ok(_) | Err(Fault::SessionMissing) => Err(not_accepted()),
            Err(fault) => Err(fault),
        }
    }

    /// What so many messages take of the limits, of which one has been taken.
    fn calls(&self, who: &Authenticated, messages: usize, first: Held) -> Result<Vec<Held>, Fault> {
        let mut calls = vec![first];
        while calls.len() < messages {
            self.within_limits(who)?;
            calls.push(call(who)?);
        }
        Ok(calls)
    }
}

/// What could not be read is refused by itself; what no batch may hold spoils it.
fn part(message: Bytes) -> Result<Part, Fault> {
    let Ok(envelope) = Envelope::scan(&message) else { return Ok(Part { message, answered: true }) };
    if envelope.method(&message) == "initialize" {
        return Err(not_served("initialize must not be in a batch"));
    }
    if envelope.params.as_ref().is_some_and(|params| params.meta_version.is_some()) {
        return Err(not_accepted());
    }
    Ok(Part { message, answered: envelope.kind == Kind::Request })
}

fn not_accepted() -> Fault {
    not_served("only a session of 2025-03-26 takes batches: send each message by itself")
}

fn not_served(message: &'static str) -> Fault {
    Fault::Envelope { reason: "batch", message: message.into() }
}

/// One array if all answers are JSON, else one stream of events.
fn gathered(answers: Vec<Response<Body>>) -> Response<Body> {
    if answers.is_empty() {
        return accepted();
    }
    let (streams, bodies): (Vec<_>, Vec<_>) = answers.into_iter().partition(is_events);
    if streams.is_empty() {
        return with_type(Body::stream(array(bodies)), "application/json");
    }
    // One after the other: what is not yet asked for waits at its upstream, and not here.
    let bodies: BoxStream<'_, _> = stream::iter(bodies).flat_map(messages).boxed();
    let all = stream::select_all(streams.into_iter().map(messages).chain([bodies]));
    event_response(Body::stream(KeptAlive::new(all.map(|message| message.map(|message| sse::frame(&message))))))
}

fn array(bodies: Vec<Response<Body>>) -> impl Stream<Item = Result<Bytes, BoxError>> {
    let one = |text: &'static [u8]| stream::once(std::future::ready(Ok(Bytes::from_static(text))));
    let bodies = stream::iter(bodies.into_iter().enumerate()).flat_map(move |(at, body)| {
        one(if at == 0 { b"[" } else { b"," }).chain(BodyDataStream::new(body.into_body()))
    });
    bodies.chain(one(b"]"))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[test]
    fn what_no_batch_may_hold_spoils_it() {
        for (message, answered) in [
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, Some(true)),
            (r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, Some(false)),
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Some(false)),
            ("7", Some(true)),
            (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, Some(true)),
            (r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#, None),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#,
                None,
            ),
        ] {
            let part = part(Bytes::from_static(message.as_bytes()));
            assert_eq!(part.ok().map(|part| part.answered), answered, "{message}");
        }
        for (body, batch) in [("[", true), (" \r\n\t[]", true), ("{}", false), ("", false), ("\"[\"", false)] {
            assert_eq!(is_batch(body.as_bytes()), batch, "{body}");
        }
    }

    async fn text(response: Response<Body>) -> String {
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn json_becomes_an_array_and_one_stream_makes_a_stream_of_all() {
        let json = |text: &'static str| json_response(Bytes::from_static(text.as_bytes()));
        let events = |text: &'static str| event_response(Body::full(Bytes::from_static(text.as_bytes())));
        assert_eq!(gathered(vec![]).status(), 202);
        assert_eq!(text(gathered(vec![json("{}")])).await, "[{}]");
        assert_eq!(text(gathered(vec![json("{\"a\":1}"), json("{\"b\":2}")])).await, "[{\"a\":1},{\"b\":2}]");
        let mixed = gathered(vec![json("{}"), events("id: 7\ndata: [1]\n\ndata: [2]\n\n"), json("{\"b\":2}")]);
        assert!(is_events(&mixed));
        let mixed = text(mixed).await;
        for said in ["{}", "[1]", "[2]", "{\"b\":2}"] {
            assert!(mixed.contains(&format!("event: message\ndata: {said}\n\n")), "{said} in {mixed}");
        }
        assert!(!mixed.contains("id:"));
    }
}
