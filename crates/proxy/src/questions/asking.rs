//! Questions in the course of a call: an upstream's on the stream of its answer, and the gateway's own on the stream of a
//! call that it answers in rounds.

use std::sync::Arc;

use bytes::Bytes;
use mcp::{Envelope, Span, write};
use model::Subject;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{Inquirer, Question, Questions, To, Waiting, words};
use crate::answer::{Call, Said, refuse};
use crate::client::Client;
use crate::events::{Events, Recorder, id::Kind};
use crate::session::Uid;

/// What a client answered: the raw result, or the raw error object.
pub(crate) type Answer = Result<Bytes, Bytes>;

/// The client of a call.
#[derive(Clone)]
pub(crate) struct ClientSide {
    pub(crate) questions: Arc<Questions>,
    pub(crate) events: Arc<Events>,
    pub(crate) uid: Uid,
    pub(crate) subject: Subject,
    pub(crate) client: Client,
    /// Its URL is one of several servers.
    pub(crate) several: bool,
}

impl ClientSide {
    /// Keeps the events of an answer to it, if it may come back for them.
    pub(crate) fn recorder(&self, server: &str) -> Option<Recorder> {
        self.events.begin(self.uid, self.client.revision, Kind::Answer, server)
    }

    /// Whether a session with an upstream may ask it in the course of a call. A client without a session can't be asked by
    /// one in the middle of a call (protocol.md 3.1): where such calls are parked one day, its question goes there.
    fn takes(&self, method: &str, params: &[u8]) -> bool {
        !self.client.is_stateless() && words::takes(self.client.capabilities, method, params)
    }

    /// Whether it can be asked anything at all.
    pub(crate) fn can_be_asked(&self) -> bool {
        let capabilities = self.client.capabilities;
        let asked = capabilities.fills_forms() || capabilities.opens_urls() || capabilities.samples();
        !self.client.is_stateless() && (asked || capabilities.has_roots())
    }

    /// The name to put before ids that servers give, where there are several.
    pub(crate) fn several<'a>(&self, server: &'a str) -> Option<&'a str> {
        self.several.then_some(server)
    }
}

/// What an upstream asks in the course of a call, as its client is to have it. `None`: it was refused.
pub(crate) fn asked_in(call: &Call, message: &Bytes, envelope: &Envelope) -> Option<(Question, Bytes)> {
    // Copied: what waits must not keep the whole message.
    let theirs = envelope.id.map(|span| Bytes::copy_from_slice(span.of(message)))?;
    let params = envelope.params.as_ref();
    if !call.side.takes(envelope.method(message), params.map_or(&[], |params| params.all.of(message))) {
        refuse(&call.mount, &call.connected, message, envelope);
        return None;
    }
    let token = params.and_then(|params| params.progress_token);
    let inquirer = Inquirer {
        mount: Arc::downgrade(&call.mount),
        connected: call.connected.clone(),
        part: call.part,
        id: theirs.clone(),
        token: token.and_then(|span| kept_token(span.of(message))),
    };
    let (side, refusing) = (&call.side, inquirer.clone());
    let waiting = Waiting { uid: side.uid, subject: side.subject, to: To::Upstream(inquirer), until: call.deadline };
    let Some((number, id)) = side.questions.put(waiting) else {
        refusing.refuse("too many questions wait for the client");
        return None;
    };
    let out = words::question(message, envelope, &id, side.several(call.mount.name()));
    Some((Question { questions: side.questions.clone(), number, id, theirs, stays: false }, out))
}

/// Longest progress token of a question, in bytes; of one with a longer one no progress is told.
const TOKEN: usize = 256;

/// A progress token as it is kept while a question waits.
pub(super) fn kept_token(token: &[u8]) -> Option<Bytes> {
    (token.len() <= TOKEN).then(|| Bytes::copy_from_slice(token))
}

/// An upstream does not want to know any more what it asked: what the client hears, if the question still waits.
pub(crate) fn withdrawn(questions: &mut Vec<Question>, message: &Bytes, envelope: &Envelope) -> Option<Bytes> {
    let params = envelope.params.as_ref()?;
    let span = params.request_id?;
    let at = questions.iter().position(|question| *question.theirs == *span.of(message))?;
    let question = questions.swap_remove(at);
    Some(cancelled(message, params.all, span, &question.id))
}

/// `notifications/cancelled` for the client of a question.
pub(super) fn cancelled(message: &[u8], params: Span, span: Span, id: &str) -> Bytes {
    let patch = [write::Patch { span, with: id.as_bytes() }];
    write::notification("notifications/cancelled", message, Some(params), &patch)
}

/// Who can be asked on the stream of a call that the gateway answers itself, in rounds.
#[derive(Clone)]
pub(crate) struct Asking {
    side: ClientSide,
    stream: mpsc::Sender<Said>,
    /// The deadline of the call.
    until: Instant,
}

/// Why a client was not asked, or gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unasked {
    /// It did not declare that it can be.
    Incapable,
    /// Too many questions wait for it.
    TooMany,
    /// The call is over.
    Over,
    /// It gave no answer until the deadline of the call.
    Late,
}

impl Asking {
    pub(crate) fn new(side: ClientSide, stream: mpsc::Sender<Said>, until: Instant) -> Self {
        Self { side, stream, until }
    }

    /// Puts a question to the client and waits for its answer, up to the deadline of the call. Dropped, the question waits
    /// no more. Several may be asked at once.
    pub(crate) async fn ask(&self, method: &str, params: Option<&[u8]>) -> Result<Answer, Unasked> {
        if !self.side.takes(method, params.unwrap_or_default()) {
            return Err(Unasked::Incapable);
        }
        let (answer, answered) = oneshot::channel();
        let (side, until) = (&self.side, self.until);
        let waiting = Waiting { uid: side.uid, subject: side.subject, to: To::Here(answer), until };
        let (number, id) = side.questions.put(waiting).ok_or(Unasked::TooMany)?;
        let body = write::request(&id, method, params.unwrap_or_default(), params.map(Span::whole), &[]);
        let _place = Question { questions: side.questions.clone(), number, id, theirs: Bytes::new(), stays: false };
        self.tell(body).await?;
        let answered = tokio::time::timeout_at(until, answered).await.map_err(|_| Unasked::Late)?;
        answered.map_err(|_| Unasked::Over)
    }

    /// Passes a message to the client as it is.
    pub(crate) async fn tell(&self, message: Bytes) -> Result<(), Unasked> {
        self.stream.send(Said::Ready(message)).await.map_err(|_| Unasked::Over)
    }

    /// Passes on what the upstream said in the meantime, as the relay passes on what comes on a stream.
    pub(crate) async fn pass_on(&self, event: mcp::sse::Event) -> Result<(), Unasked> {
        self.stream.send(Said::Upstream(event)).await.map_err(|_| Unasked::Over)
    }
}
