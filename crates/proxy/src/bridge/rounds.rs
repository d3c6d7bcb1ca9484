//! A call that a stateless upstream answers with questions, for a client with a session: each question becomes a request on
//! the stream of the call, and the answers go back with the call made again (protocol.md 3.1).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt as _;
use mcp::result::{InputRequest, InputRequired};
use mcp::{Envelope, Kind, Object, Span, meta, sse, write};

use super::response;
use crate::credentials::{Bearing, Behalf, Credentials};
use crate::questions::{Answer, Asking, Unasked};
use crate::shape::{Shape, missing};
use crate::table::Mount;
use crate::timers::scaled;
use crate::upstream::http::{self as streamable, Answer as Came};
use crate::upstream::stateless::Stateless;
use crate::upstream::{Failure, answers, mint_id};

/// Most rounds of one call.
const ROUNDS: usize = 10;
/// Largest event, and most bytes of the events of one round.
const EVENT: usize = 4 << 20;
const STREAM: usize = 64 << 20;
/// Before a call is made again that asked nothing.
const PAUSE: Duration = Duration::from_millis(200);

/// What it takes to make a call again.
pub(crate) struct Rounds {
    pub(crate) mount: Arc<Mount>,
    pub(crate) stateless: Stateless,
    pub(crate) method: Box<str>,
    pub(crate) headers: HeaderMap,
    /// As they went out the first time.
    pub(crate) params: Bytes,
    pub(crate) shape: Shape,
    pub(crate) largest: usize,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) behalf: Behalf,
    pub(crate) bearing: Bearing,
}

/// What came of the first try.
pub(crate) enum Begun {
    /// Questions.
    Asked(InputRequired),
    /// Events, with the answer to the request of this id among them.
    Events(u64, egress::Body),
}

impl Rounds {
    /// Asks and calls in turn until there is an answer: the raw result, or the raw error object.
    pub(crate) async fn answer(mut self, begun: Begun, asking: Asking) -> Result<Answer, Failure> {
        let mut answer = match begun {
            Begun::Asked(asked) => Next::Asked(asked),
            Begun::Events(id, body) => self.read(self.heard(id, body, &asking).await?),
        };
        for _ in 0..ROUNDS {
            let asked = match answer {
                Next::Answer(answer) => return Ok(answer),
                Next::Asked(asked) => asked,
            };
            let responses = match self.ask(&asked.requests, &asking).await {
                Ok(responses) => responses,
                Err(Stop::Answer(answer)) => return Ok(answer),
                Err(Stop::Failure(failure)) => return Err(failure),
            };
            if responses.is_none() {
                tokio::time::sleep(scaled(PAUSE)).await;
            }
            let params = meta::answering(&self.params, responses.as_deref(), asked.state.as_deref());
            let params = Bytes::from(params.ok_or(Failure::BadResponse("its params are no object"))?);
            let came = self.again(&params, &asking).await?;
            answer = self.read(came);
        }
        match answer {
            Next::Answer(answer) => Ok(answer),
            Next::Asked(_) => Ok(self.shape.cannot("The server asked back more often than is allowed.")),
        }
    }

    /// What an answer means.
    fn read(&self, answer: Answer) -> Next {
        let asked = answer.as_ref().ok().and_then(|result| {
            let kind = mcp::member(result, "resultType").map(|span| span.of(result));
            (kind == Some(b"\"input_required\"") && self.shape.asks().may_ask_back())
                .then(|| InputRequired::read(result))
        });
        match asked {
            Some(Some(asked)) => Next::Asked(asked),
            // What can't be read is said so by the shape of the answer.
            Some(None) | None => Next::Answer(answer),
        }
    }

    /// Makes the call again with these params.
    async fn again(&mut self, params: &Bytes, asking: &Asking) -> Result<Answer, Failure> {
        loop {
            let id = mint_id();
            let body = write::request(&id.to_string(), &self.method, params, Some(Span::whole(params)), &[]);
            let failure = match self.stateless.post(&self.mount, &self.headers, body).await {
                Ok(Came::Json(body)) => return response(&streamable::read(body, self.largest).await?, id),
                Ok(Came::Events(body)) => return self.heard(id, body, asking).await,
                Ok(Came::Nothing) => return Err(Failure::BadResponse("it is empty")),
                Err(Failure::Status { status: ..500, error: Some(error), .. }) => return Ok(Err(error)),
                Err(failure @ Failure::Unauthorized(_)) => failure,
                Err(failure) => return Err(failure),
            };
            // It took its time to answer: the token may be another one by now.
            self.credentials.renewed(&self.mount, &self.behalf, &mut self.bearing, failure).await?;
            self.stateless.lines = self.bearing.lines.clone();
        }
    }

    /// Passes events on up to the answer.
    async fn heard(&self, id: u64, mut body: egress::Body, asking: &Asking) -> Result<Answer, Failure> {
        let mut decoder = sse::Decoder::new(EVENT.min(self.largest));
        let (mut events, mut seen) = (Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            seen += data.len();
            if seen > STREAM {
                return Err(Failure::TooLarge);
            }
            decoder.push(&data, &mut events).map_err(|_| Failure::TooLarge)?;
            for event in events.drain(..) {
                // Junk between the events is passed over, and such an upstream asks nobody anything by itself.
                let Ok(envelope) = Envelope::scan(&event.data) else { continue };
                match envelope.kind {
                    Kind::Response if answers(&envelope, &event.data, id) => return response(&event.data, id),
                    Kind::Notification => asking.pass_on(event).await.map_err(stopped)?,
                    Kind::Request | Kind::Response => (),
                }
            }
        }
        Err(Failure::BadResponse("the stream ended without an answer"))
    }

    /// Puts all questions at once: the raw object of answers; `None` if there was nothing to ask.
    async fn ask(&self, requests: &[InputRequest], asking: &Asking) -> Result<Option<Bytes>, Stop> {
        if requests.is_empty() {
            return Ok(None);
        }
        let answers = requests.iter().map(async |request| {
            let params = Some(&*request.params).filter(|params| *params != b"{}");
            let answer = match asking.ask(&request.method, params).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => return Err(Stop::Answer(self.unanswered(&request.method, &error))),
                Err(Unasked::Incapable) => return Err(Stop::Answer(self.incapable(request))),
                Err(why) => return Err(Stop::Failure(stopped(why))),
            };
            Ok((request.key.as_str(), answer))
        });
        let mut out = vec![b'{'];
        for (key, answer) in futures::future::try_join_all(answers).await? {
            if out.len() > 1 {
                out.push(b',');
            }
            write::string(&mut out, key);
            out.push(b':');
            out.extend_from_slice(&answer);
        }
        out.push(b'}');
        Ok(Some(out.into()))
    }

    /// The client answered with an error: what is left of the call.
    fn unanswered(&self, method: &str, error: &[u8]) -> Answer {
        let said = Object::read(error).and_then(|error| Some(error.text("message")?.into_owned()));
        self.shape.cannot(&format!("The client gave no answer to {method}: {}", said.unwrap_or_default()))
    }

    fn incapable(&self, request: &InputRequest) -> Answer {
        let params = Object::read(&request.params);
        let text = |name: &str| params.as_ref().and_then(|params| Some(params.text(name)?.into_owned()));
        match (&*request.method, text("mode").as_deref(), text("url")) {
            ("elicitation/create", Some("url"), Some(url)) => {
                self.shape.cannot_open(&url, &text("message").unwrap_or_default())
            }
            (method, ..) => self.shape.cannot(&missing(Some(method))),
        }
    }
}

/// What came of one try.
enum Next {
    Answer(Answer),
    Asked(InputRequired),
}

/// Why there is no further try.
enum Stop {
    Answer(Answer),
    Failure(Failure),
}

fn stopped(why: Unasked) -> Failure {
    match why {
        Unasked::Incapable | Unasked::TooMany => Failure::Busy,
        Unasked::Over => Failure::Cancelled,
        Unasked::Late => Failure::Deadline,
    }
}
