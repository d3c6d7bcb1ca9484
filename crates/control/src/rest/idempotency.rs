//! `Idempotency-Key`: a create that is sent twice happens once.
//!
//! Answers are kept in memory for 24 h, 10,000 at most; only successes are kept, since a create that
//! failed has saved nothing and may be tried again. The work runs in a task of its own, so a client
//! that goes away doesn't cut it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::{HeaderName, HeaderValue, Method};
use axum::response::{IntoResponse as _, Response};
use model::{Clock, KeyId, TenantId};

use crate::rest::admin::Admin;
use crate::rest::answer::Answer;
use crate::rest::problem::Problem;
use crate::rest::trace;

/// How long an answer can be replayed, microseconds.
const KEPT_MICROS: i64 = 24 * 3600 * 1_000_000;
/// How long a secret that is shown once can be replayed, microseconds.
const SECRET_MICROS: i64 = 600 * 1_000_000;
/// Answers that are kept at most; the oldest goes first.
const MAX_KEPT: usize = 10_000;

/// A key with the fingerprint of the request that it came with.
pub(crate) struct Slot {
    key: String,
    fingerprint: [u8; 32],
}

impl Slot {
    /// Fingerprints a request.
    pub(crate) fn new(key: &str, method: &Method, path: &str, body: &[u8]) -> Self {
        let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
        for part in [method.as_str().as_bytes(), path.as_bytes(), body] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(hash.finish().as_ref());
        Self { key: key.to_owned(), fingerprint }
    }
}

type Place = (TenantId, KeyId, String);

/// What became of a key.
enum Kept {
    Running([u8; 32]),
    Done { fingerprint: [u8; 32], at: i64, answer: Box<Answer> },
}

/// The answers that can be replayed. Each map entry is written by the request that owns the key.
#[derive(Default)]
struct Book {
    kept: HashMap<Place, Kept>,
    /// Finished places, oldest first.
    order: VecDeque<Place>,
    /// Those of them whose answers still hold a secret, with the time of the answer, oldest first.
    secrets: VecDeque<(i64, Place)>,
}

impl Book {
    /// Forgets the secrets that can't be replayed any more.
    fn forget_secrets(&mut self, now: i64) {
        while let Some((_, place)) = self.secrets.pop_front_if(|(at, _)| now.saturating_sub(*at) >= SECRET_MICROS) {
            if let Some(Kept::Done { answer, .. }) = self.kept.get_mut(&place) {
                answer.forget_secret();
            }
        }
    }
}

/// The book of keys of this process.
#[derive(Clone)]
pub(crate) struct Idempotency {
    book: Arc<Mutex<Book>>,
    clock: Arc<dyn Clock>,
}

/// What a key that was seen says about a request.
enum Seen {
    Replay(Box<Answer>),
    Refuse(Problem),
}

impl Idempotency {
    /// An empty book.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { book: Arc::default(), clock }
    }

    /// Runs the work once for its key, or answers as the first time.
    pub(crate) async fn once(
        &self,
        admin: &Admin,
        slot: Option<Slot>,
        work: impl Future<Output = Result<Answer, Problem>> + Send + 'static,
    ) -> Response {
        let work = trace::under(trace::trace_id(), work);
        let Some(slot) = slot else { return finished(tokio::spawn(work).await).into_response() };
        let place = (admin.tenant(), admin.principal().key, slot.key);
        match self.begin(&place, slot.fingerprint) {
            Some(Seen::Replay(answer)) => return replayed(*answer),
            Some(Seen::Refuse(problem)) => return problem.into_response(),
            None => (),
        }
        let mut running = Running { book: self.clone(), place: Some(place) };
        let task = tokio::spawn(async move {
            let outcome = work.await;
            if let Ok(answer) = &outcome {
                running.done(slot.fingerprint, answer.clone());
            }
            outcome
        });
        finished(task.await).into_response()
    }

    fn begin(&self, place: &Place, fingerprint: [u8; 32]) -> Option<Seen> {
        let now = self.clock.now_micros();
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.forget_secrets(now);
        let age = |at: i64| now.saturating_sub(at);
        let seen = match book.kept.get(place) {
            Some(Kept::Running(same)) if *same == fingerprint => Some(Seen::Refuse(Problem::IdempotencyRunning)),
            Some(Kept::Done { fingerprint: same, at, answer }) if *same == fingerprint && age(*at) < KEPT_MICROS => {
                Some(Seen::Replay(answer.clone()))
            }
            Some(Kept::Done { at, .. }) if age(*at) >= KEPT_MICROS => None,
            Some(_) => Some(Seen::Refuse(Problem::IdempotencyReused)),
            None => None,
        };
        if seen.is_none() {
            book.kept.insert(place.clone(), Kept::Running(fingerprint));
        }
        seen
    }
}

/// A key whose first request runs; forgets it on drop, unless it is done.
struct Running {
    book: Idempotency,
    place: Option<Place>,
}

impl Running {
    fn done(&mut self, fingerprint: [u8; 32], answer: Answer) {
        let Some(place) = self.place.take() else { return };
        let at = self.book.clock.now_micros();
        let mut book = self.book.book.lock().unwrap_or_else(PoisonError::into_inner);
        if answer.holds_secret() {
            book.secrets.push_back((at, place.clone()));
        }
        book.kept.insert(place.clone(), Kept::Done { fingerprint, at, answer: Box::new(answer) });
        book.order.push_back(place);
        if book.order.len() > MAX_KEPT
            && let Some(oldest) = book.order.pop_front()
        {
            book.kept.remove(&oldest);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.book.book.lock().unwrap_or_else(PoisonError::into_inner).kept.remove(&place);
        }
    }
}

fn finished(outcome: Result<Result<Answer, Problem>, tokio::task::JoinError>) -> Result<Answer, Problem> {
    outcome.unwrap_or_else(|error| {
        tracing::error!(%error, "a request's task ended early");
        Err(Problem::Internal)
    })
}

fn replayed(answer: Answer) -> Response {
    let mut response = answer.into_response();
    response.headers_mut().insert(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));
    response
}
