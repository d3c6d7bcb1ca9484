//! An upstream's answer on its way to the client as events, each as soon as it is whole; as JSON it is [`mod@json`].

mod json;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use egress::EgressError;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method};
use http_body::Body as _;
use http_body_util::BodyExt;
use mcp::{Envelope, Kind, ListKind, Span, sse, write};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

pub(crate) use self::json::{Json, StreamedAnswer, json};
use crate::account::{Account, Ended};
use crate::credentials::Part;
use crate::events::Recorder;
use crate::fault::Fault;
use crate::hub::{Hub, Tie};
use crate::questions::asking::{asked_in, withdrawn};
use crate::questions::words;
use crate::questions::{Answer as ClientsAnswer, Asking, ClientSide, Question};
use crate::relay::give_up;
use crate::shape::{Shape, Shaped};
use crate::table::Mount;
use crate::timers::scaled;
use crate::upstream::http::{Answer, HttpSession, LEAST, judge, send};
use crate::upstream::legacy::Exchange;
use crate::upstream::{Connected, Failure, answers, progress_token};
use crate::upstream_sessions::settle;

/// Largest event.
const EVENT: usize = 4 << 20;
/// Messages between two rounds that may wait for a slow client.
const SAID: usize = 16;
/// Questions of one call after which those that were answered are let go.
const ASKED: usize = 64;
/// Most bytes of one event stream that answers a call.
const STREAM: usize = 64 << 20;
/// How often a silent stream is looked after.
const TICK: Duration = Duration::from_secs(15);
/// How often the rest of an answer is fetched after the upstream hung up before its end.
const RESUMES: u32 = 10;
/// For how long an answer goes on when the key or token that asked for it has expired. It is looked for when
/// nothing comes, at the next tick.
pub(crate) const OVERTIME: Duration = Duration::from_secs(15);

/// Where events come from.
pub(crate) enum Source {
    /// The body of an answer.
    Http(egress::Body, sse::Decoder),
    /// The stream of a 2024-11-05 session.
    Legacy(Exchange),
    /// The upstream hung up and wants to be asked for the rest.
    Resuming(BoxFuture<'static, Result<egress::Body, Failure>>),
    /// The gateway itself, which asks the client and the upstream in turn.
    Rounds(mpsc::Receiver<Said>, BoxFuture<'static, Result<ClientsAnswer, Failure>>),
    /// Nothing more.
    Over,
}

impl Source {
    /// What `answer` says on the way and in the end: the raw result, or the raw error object. It is made with what asks
    /// the client of this call.
    pub(crate) fn rounds<A>(call: &Call, answer: impl FnOnce(Asking) -> A) -> Self
    where
        A: Future<Output = Result<ClientsAnswer, Failure>> + Send + 'static,
    {
        let (stream, said) = mpsc::channel(SAID);
        Self::Rounds(said, Box::pin(answer(Asking::new(call.side.clone(), stream, call.deadline))))
    }

    /// The events of a body, each of at most `largest` bytes.
    pub(crate) fn http(body: egress::Body, largest: usize) -> Self {
        Self::Http(body, sse::Decoder::new(EVENT.min(largest)))
    }
}

/// What is said on the stream of a call that is answered in rounds.
pub(crate) enum Said {
    /// A message as the client is to have it.
    Ready(Bytes),
    /// What an upstream said.
    Upstream(sse::Event),
}

/// What an event relay must know of the call it answers.
pub(crate) struct Call {
    /// Who gets the answer.
    pub(crate) side: ClientSide,
    /// What becomes of it on the way.
    pub(crate) shape: Shape,
    pub(crate) mount: Arc<Mount>,
    pub(crate) connected: Connected,
    /// As whom the caller uses the mount.
    pub(crate) part: Part,
    pub(crate) hub: Arc<Hub>,
    /// The id that went upstream.
    pub(crate) id: u64,
    /// The client's id and progress token, raw JSON.
    pub(crate) client_id: Bytes,
    pub(crate) client_token: Option<Bytes>,
    /// Executing the call twice could do harm.
    pub(crate) unsafe_call: bool,
    /// Bytes that the answer may have.
    pub(crate) largest: usize,
    pub(crate) deadline: Instant,
    /// Fires when the client cancels the call.
    pub(crate) cancelled: CancellationToken,
}

/// Passes the events of one call on: ids and tokens put back, junk dropped, and always an answer at
/// the end, if need be an error.
pub(crate) struct EventRelay {
    call: Call,
    source: Source,
    events: VecDeque<Said>,
    last_id: Option<Bytes>,
    retry: Duration,
    resumes: u32,
    seen: usize,
    /// Bytes since the last tick or event; a part of an event must grow at a pace.
    growing: usize,
    tick: Pin<Box<Sleep>>,
    slow_ticks: u32,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    /// What lets the client have the rest, and until when.
    tie: Option<(Tie, Pin<Box<WaitForCancellationFutureOwned>>, Option<Instant>)>,
    answered: bool,
    account: Option<Account>,
    /// Keeps the events for who comes back.
    recorder: Option<Recorder>,
    /// What the stream begins with.
    primer: Option<Bytes>,
    /// What the upstream has asked and nobody has answered yet, and some that was.
    questions: Vec<Question>,
}

impl EventRelay {
    pub(crate) fn boxed(call: Call, source: Source) -> Box<Self> {
        let mut recorder = call.side.recorder(call.mount.name());
        Box::new(Self {
            primer: recorder.as_mut().and_then(Recorder::primer),
            recorder,
            questions: Vec::new(),
            cancelled: Box::pin(call.cancelled.clone().cancelled_owned()),
            call,
            source,
            events: VecDeque::new(),
            last_id: None,
            retry: Duration::from_millis(500),
            resumes: 0,
            seen: 0,
            growing: 0,
            tick: Box::pin(tokio::time::sleep(scaled(TICK))),
            slow_ticks: 0,
            tie: None,
            answered: false,
            account: None,
        })
    }

    /// Who is told of the outcome.
    pub(crate) fn told_to(&mut self, account: Account) {
        self.account = Some(account);
    }

    /// The answer ends early with the right of whoever asked.
    pub(crate) fn ends_with(&mut self, tie: Tie, until: Option<Instant>) {
        let ended = Box::pin(tie.ended().clone().cancelled_owned());
        self.tie = Some((tie, ended, until.map(|until| until + scaled(OVERTIME))));
    }

    /// Whether the client may not have the rest any more.
    fn has_lost_its_right(&mut self, cx: &mut Context<'_>) -> bool {
        self.tie.as_mut().is_some_and(|(_, ended, _)| ended.as_mut().poll(cx).is_ready())
    }

    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(primer) = self.primer.take() {
            return Poll::Ready(Some(primer));
        }
        // Before anything else: of an upstream that always has more to say, nobody would ever come to wait.
        if !self.answered && self.tie.as_ref().is_some_and(|(tie, ..)| tie.ended().is_cancelled()) {
            return self.cut_off();
        }
        if !self.answered && self.call.cancelled.is_cancelled() {
            self.over(Ended::Cancelled);
            (self.source, self.events) = (Source::Over, VecDeque::new());
            return Poll::Ready(None);
        }
        loop {
            while let Some(said) = self.events.pop_front() {
                let out = match said {
                    Said::Upstream(event) => self.take(event),
                    Said::Ready(message) => Some(self.framed(&message)),
                };
                if let Some(out) = out {
                    return Poll::Ready(Some(out));
                }
            }
            if self.answered {
                self.leave(cx);
                return Poll::Ready(None);
            }
            if Instant::now() >= self.call.deadline {
                give_up(self.call.mount.clone(), self.call.connected.clone(), self.call.id);
                return Poll::Ready(Some(self.failed(Failure::Deadline)));
            }
            match self.poll_source(cx) {
                Poll::Ready(Ok(())) => (),
                Poll::Ready(Err(failure)) => return Poll::Ready(Some(self.failed(failure))),
                Poll::Pending => {
                    if self.cancelled.as_mut().poll(cx).is_ready() {
                        self.over(Ended::Cancelled);
                        self.source = Source::Over;
                        return Poll::Ready(None);
                    }
                    if self.has_lost_its_right(cx) {
                        return self.cut_off();
                    }
                    ready!(self.tick.as_mut().poll(cx));
                    let now = Instant::now();
                    self.tick.as_mut().reset(now + scaled(TICK));
                    if self.tie.as_ref().is_some_and(|(_, _, until)| until.is_some_and(|until| now >= until)) {
                        return self.cut_off();
                    }
                    if now >= self.call.deadline || self.crawls() {
                        give_up(self.call.mount.clone(), self.call.connected.clone(), self.call.id);
                        return Poll::Ready(Some(self.failed(Failure::Deadline)));
                    }
                    return Poll::Ready(Some(sse::KEEP_ALIVE));
                }
            }
        }
    }

    /// The client may have nothing more, not even an error: its next request says what is wrong.
    fn cut_off(&mut self) -> Poll<Option<Bytes>> {
        give_up(self.call.mount.clone(), self.call.connected.clone(), self.call.id);
        self.over(Ended::Cancelled);
        self.source = Source::Over;
        self.events.clear();
        if let Some(recorder) = &self.recorder {
            recorder.clear();
        }
        Poll::Ready(None)
    }

    /// Whether somebody came back for this answer and gets the rest of it elsewhere.
    pub(crate) fn is_taken(&self, cx: &Context<'_>) -> bool {
        self.recorder.as_ref().is_some_and(|recorder| recorder.is_taken(cx))
    }

    /// The client's connection is gone. What becomes of the rest of the answer: somebody may come back for it, or nobody,
    /// and of the stateless era the upstream hears so.
    pub(crate) fn is_awaited(&self) -> bool {
        if self.answered {
            return false;
        }
        if self.call.side.client.is_stateless() {
            give_up(self.call.mount.clone(), self.call.connected.clone(), self.call.id);
        }
        self.recorder.is_some()
    }

    /// Goes on alone, and keeps what comes for who comes back: up to the answer, the deadline of the call, or the end of
    /// the client's session.
    pub(crate) async fn drained(mut self: Box<Self>) {
        std::future::poll_fn(|cx| {
            loop {
                if self.recorder.as_ref().is_none_or(|recorder| recorder.is_forgotten(cx)) {
                    return Poll::Ready(());
                }
                if ready!(self.poll_event(cx)).is_none() {
                    return Poll::Ready(());
                }
            }
        })
        .await;
    }

    /// A message as an event for the client.
    fn framed(&self, message: &[u8]) -> Bytes {
        match &self.recorder {
            Some(recorder) => recorder.frame(message),
            None => sse::frame(message),
        }
    }

    /// The event that answers in the upstream's stead.
    fn failed(&mut self, failure: Failure) -> Bytes {
        settle::<()>(&self.call.mount, &Err(failure.clone()));
        self.over(Ended::Failed(&failure));
        self.source = Source::Over;
        let fault = Fault::of(&failure, self.call.unsafe_call);
        self.framed(&fault.body(Some(&self.call.client_id), Some(self.call.mount.name())))
    }

    /// Nothing more comes; the outcome is known.
    fn over(&mut self, ended: Ended<'_>) {
        self.answered = true;
        // Over HTTP+SSE nothing says to which of the calls under way a question belongs.
        if let Source::Legacy(exchange) = &self.source
            && exchange.has_company()
        {
            self.questions.drain(..).for_each(Question::stay);
        }
        self.questions.clear();
        if let Some(account) = self.account.take() {
            account.end(ended);
        }
    }

    /// Two ticks in a row in which an event was begun and grew by less than 1 KiB.
    fn crawls(&mut self) -> bool {
        let crawled = self.growing > 0 && self.growing < LEAST;
        self.slow_ticks = if crawled { self.slow_ticks + 1 } else { 0 };
        self.growing = 0;
        self.slow_ticks >= 2
    }

    /// Gets more events, or the failure that ends them.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        match &mut self.source {
            Source::Over => Poll::Ready(Err(Failure::BadResponse("the stream ended without an answer"))),
            Source::Legacy(exchange) => {
                if let Poll::Ready(Some(data)) = exchange.poll_message(cx) {
                    self.events.push_back(Said::Upstream(sse::Event { data, ..sse::Event::default() }));
                    return Poll::Ready(Ok(()));
                }
                let answer = ready!(Pin::new(&mut exchange.answer).poll(cx));
                let data = answer.map_err(|_| Failure::Egress(Arc::new(EgressError::Truncated)))?;
                if data.len() > self.call.largest {
                    return Poll::Ready(Err(Failure::TooLarge));
                }
                self.events.push_back(Said::Upstream(sse::Event { data, ..sse::Event::default() }));
                Poll::Ready(Ok(()))
            }
            Source::Rounds(said, answer) => {
                let (answer, before) = (answer.as_mut().poll(cx), self.events.len());
                // What was said on the way stands before the answer.
                while let Poll::Ready(Some(said)) = said.poll_recv(cx) {
                    self.events.push_back(said);
                }
                let id = self.call.id.to_string();
                let data = match answer {
                    Poll::Ready(Ok(Ok(result))) => write::result(id.as_bytes(), &result),
                    Poll::Ready(Ok(Err(error))) => write::raw_error(id.as_bytes(), &error),
                    Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                    Poll::Pending if self.events.len() > before => return Poll::Ready(Ok(())),
                    Poll::Pending => return Poll::Pending,
                };
                self.source = Source::Over;
                self.events.push_back(Said::Upstream(sse::Event { data, ..sse::Event::default() }));
                Poll::Ready(Ok(()))
            }
            Source::Resuming(resume) => {
                let body = ready!(resume.as_mut().poll(cx))?;
                self.source = Source::http(body, self.call.largest);
                Poll::Ready(Ok(()))
            }
            Source::Http(body, decoder) => {
                let data = match ready!(Pin::new(body).poll_frame(cx)) {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => data,
                        Err(_) => return Poll::Ready(Ok(())),
                    },
                    Some(Err(error)) => return Poll::Ready(self.resume(error.into())),
                    None => return Poll::Ready(self.resume(Failure::Egress(Arc::new(EgressError::Truncated)))),
                };
                self.seen += data.len();
                self.growing += data.len();
                if self.seen > STREAM {
                    return Poll::Ready(Err(Failure::TooLarge));
                }
                let mut events = Vec::new();
                decoder.push(&data, &mut events).map_err(|_| Failure::TooLarge)?;
                // Comments are no event that grows: heartbeats may go on as long as the call may take.
                if !events.is_empty() || !decoder.pending() {
                    self.growing = 0;
                }
                self.events.extend(events.into_iter().map(Said::Upstream));
                Poll::Ready(Ok(()))
            }
        }
    }

    /// A stream with event ids may be closed before its end and fetched again from there (2025-11-25).
    fn resume(&mut self, failure: Failure) -> Result<(), Failure> {
        let (Some(last), Connected::Http(session)) = (self.last_id.clone(), &self.call.connected) else {
            return Err(failure);
        };
        if self.resumes >= RESUMES {
            return Err(failure);
        }
        self.resumes += 1;
        self.source = Source::Resuming(Box::pin(resumed(self.call.mount.clone(), session.clone(), last, self.retry)));
        Ok(())
    }

    /// What one event becomes for the client.
    fn take(&mut self, event: sse::Event) -> Option<Bytes> {
        if let Some(id) = event.id {
            // Whoever makes progress may hang up as often as it likes.
            if self.last_id.as_ref() != Some(&id) {
                self.resumes = 0;
            }
            self.last_id = Some(id);
        }
        if let Some(retry) = event.retry {
            self.retry = Duration::from_millis(retry.min(30_000));
        }
        let data = event.data;
        if data.is_empty() {
            return None;
        }
        // Junk is dropped and the stream goes on.
        let envelope = Envelope::scan(&data).ok()?;
        match envelope.kind {
            Kind::Response => {
                if !answers(&envelope, &data, self.call.id) || self.answered {
                    return None;
                }
                self.call.mount.cooldown.succeeded();
                let failed = self.account.is_some() && tool_failed(&data, &envelope);
                self.over(Ended::answered(envelope.error.is_some(), failed));
                Some(self.framed(&match self.call.shape.whole(&data, &envelope, &self.call.client_id) {
                    Shaped::Answer(answer) => answer,
                    // Asked before it comes here, up to the bound of rounds.
                    Shaped::AsksBack(_) => write::error(Some(&self.call.client_id), -32603, "it asks back", None),
                }))
            }
            Kind::Notification => self.notification(&data, &envelope),
            Kind::Request => {
                let (question, out) = asked_in(&self.call, &data, &envelope)?;
                if self.questions.len() >= ASKED {
                    self.questions.retain(Question::waits);
                }
                self.questions.push(question);
                Some(self.framed(&out))
            }
        }
    }

    fn notification(&mut self, data: &Bytes, envelope: &Envelope) -> Option<Bytes> {
        note_change(&self.call.mount, self.call.part, &self.call.hub, data, envelope);
        if !self.call.shape.passes(data, envelope) {
            return None;
        }
        match envelope.method(data) {
            "notifications/cancelled" => {
                let out = withdrawn(&mut self.questions, data, envelope)?;
                return Some(self.framed(&out));
            }
            "notifications/elicitation/complete" if self.call.side.several => {
                return Some(self.framed(&words::completed(data, envelope, self.call.mount.name())));
            }
            _ => (),
        }
        let token = envelope
            .params
            .as_ref()
            .and_then(|params| Some((params.progress_token_here?, progress_token(params, data))));
        let Some((span, token)) = token else {
            return Some(match self.call.shape.exposed().map(|exposed| exposed.notification(data, envelope)) {
                Some(out) => self.framed(&out),
                None => self.framed(data),
            });
        };
        let client_token = self.call.client_token.as_ref().filter(|_| token == Some(self.call.id))?;
        let mut out = Vec::with_capacity(data.len() + client_token.len());
        write::patched(&mut out, data, Span::whole(data), &[write::Patch { span, with: client_token }]);
        Some(self.framed(&out))
    }

    /// The answer is out. An upstream that has ended its stream gets its connection back into the
    /// pool at once, another one a moment to do so.
    fn leave(&mut self, cx: &mut Context<'_>) {
        if let Source::Http(mut body, _) = std::mem::replace(&mut self.source, Source::Over)
            && Pin::new(&mut body).poll_frame(cx).is_pending()
        {
            tokio::spawn(tokio::time::timeout(Duration::from_secs(1), async move {
                while let Some(Ok(_)) = body.frame().await {}
            }));
        }
    }
}

async fn resumed(
    mount: Arc<Mount>,
    session: HttpSession,
    last: Bytes,
    retry: Duration,
) -> Result<egress::Body, Failure> {
    tokio::time::sleep(retry).await;
    let mut passed = HeaderMap::new();
    let last =
        HeaderValue::from_maybe_shared(last).map_err(|_| Failure::BadResponse("its event ids are no header values"))?;
    passed.insert("last-event-id", last);
    let response = send(&mount.way, Method::GET, mount.way.path.clone(), &session, &passed, Bytes::new()).await?;
    match judge(response, true).await? {
        (Answer::Events(body), _) => Ok(body),
        _ => Err(Failure::BadResponse("the stream ended without an answer")),
    }
}

/// Whether the result of a response says of itself that the tool failed.
pub(crate) fn tool_failed(message: &[u8], envelope: &Envelope) -> bool {
    let result = envelope.result.map(|span| span.of(message));
    result.is_some_and(|result| mcp::member(result, "isError").is_some_and(|span| span.of(result) == b"true"))
}

/// If the notification says that a list changed: forget the list as this part sees it and wake those who do too.
pub(crate) fn note_change(mount: &Mount, part: Part, hub: &Arc<Hub>, message: &[u8], envelope: &Envelope) {
    let kinds: &[ListKind] = match envelope.method(message) {
        "notifications/tools/list_changed" => &[ListKind::Tools],
        "notifications/prompts/list_changed" => &[ListKind::Prompts],
        "notifications/resources/list_changed" => &[ListKind::Resources, ListKind::Templates],
        _ => return,
    };
    for kind in kinds {
        mount.invalidate(part, *kind);
    }
    hub.lists_changed(kinds.iter().fold(0, |bits, kind| bits | Hub::bit(*kind)), mount, Some(part));
}

/// Answers a request of an upstream that no client can take. Whoever asks faster than it takes the answers gets none.
pub(crate) fn refuse(mount: &Arc<Mount>, connected: &Connected, message: &Bytes, envelope: &Envelope) {
    let (Some(id), Some(place)) = (envelope.id, mount.refusal()) else { return };
    let ping = envelope.method(message) == "ping";
    let id = id.of(message);
    let body = if ping {
        write::result(id, b"{}")
    } else {
        write::error(Some(id), -32601, "the client can't take this request", None)
    };
    let (mount, connected) = (mount.clone(), connected.clone());
    tokio::spawn(async move {
        let _place = place;
        if let Err(failure) = connected.tell(&mount, &HeaderMap::new(), body).await {
            tracing::debug!(
                server = mount.name(),
                class = failure.class(),
                "an upstream's request could not be answered"
            );
        }
    });
}

/// For sessions whose stream nobody listens to.
pub(crate) fn refuse_nothing() -> crate::upstream::legacy::Notify {
    Arc::new(|_, _, _| ())
}
