//! `Idempotency-Key`: a create that is sent twice happens once.
//!
//! Answers are kept in memory for 24 h, 10,000 and 64 MiB of them at most, a quarter of each for one
//! tenant; only successes are kept, since a create that failed has saved nothing and may be tried
//! again. The work runs in a task of its own, so a client that goes away doesn't cut it.
//!
//! A deviation: a restart forgets the book, so a create that is sent again after one may happen twice.
//! A given name or title stops that with 409; without either a second record is made.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method};
use axum::response::{IntoResponse as _, Response};
use model::{Clock, KeyId, TenantId};

use crate::rest::admin::Admin;
use crate::rest::answer::Answer;
use crate::rest::problem::Problem;
use crate::rest::trace;
use crate::timers::scaled;

/// How long an answer can be replayed, microseconds.
const KEPT_MICROS: i64 = 24 * 3600 * 1_000_000;
/// How long a secret that is shown once can be replayed, microseconds.
const SECRET_MICROS: i64 = 600 * 1_000_000;
/// Answers that are kept at most, and bytes of them; the oldest goes first.
const MAX_KEPT: Weight = Weight { count: 10_000, bytes: 64 << 20 };
/// What one tenant has of that at most; its own oldest goes first.
const MAX_SHARE: Weight = Weight { count: MAX_KEPT.count / 4, bytes: MAX_KEPT.bytes / 4 };
/// Bytes of an answer that is kept with an upstream's tools in it.
const MAX_WHOLE: usize = 64 << 10;
/// How often the book is looked through for what has to be forgotten.
const FORGET_INTERVAL: Duration = Duration::from_secs(60);

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
    Done { fingerprint: [u8; 32], at: i64, size: usize, answer: Box<Answer> },
}

/// How many answers, and how many bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Weight {
    count: usize,
    bytes: usize,
}

impl Weight {
    fn add(&mut self, bytes: usize) {
        self.count += 1;
        self.bytes += bytes;
    }

    fn take(&mut self, bytes: usize) {
        self.count -= 1;
        self.bytes -= bytes;
    }

    fn exceeds(self, most: Self) -> bool {
        self.count > most.count || self.bytes > most.bytes
    }
}

/// The answers that can be replayed. Each map entry is written by the request that owns the key.
#[derive(Default)]
struct Book {
    kept: HashMap<Place, Kept>,
    /// Finished places with the time of the answer, oldest first.
    order: VecDeque<(i64, Place)>,
    /// Those of them whose answers still hold a secret.
    secrets: VecDeque<(i64, Place)>,
    whole: Weight,
    shares: HashMap<TenantId, Weight>,
}

impl Book {
    /// Forgets the secrets and the answers that can't be replayed any more.
    fn forget(&mut self, now: i64) {
        let over = |at: i64, span: i64| now.saturating_sub(at) >= span;
        while let Some((since, place)) = self.secrets.pop_front_if(|(at, _)| over(*at, SECRET_MICROS)) {
            // Another answer may stand at the same place by now.
            if let Some(Kept::Done { at, answer, .. }) = self.kept.get_mut(&place)
                && *at == since
            {
                answer.forget_secret();
            }
        }
        while let Some((_, place)) = self.order.pop_front_if(|(at, _)| over(*at, KEPT_MICROS)) {
            self.remove(&place);
        }
    }

    fn keep(&mut self, place: Place, fingerprint: [u8; 32], at: i64, mut answer: Answer) {
        if answer.size() > MAX_WHOLE {
            answer.forget_tools();
        }
        let (tenant, size) = (place.0, answer.size());
        if answer.holds_secret() {
            self.secrets.push_back((at, place.clone()));
        }
        self.kept.insert(place.clone(), Kept::Done { fingerprint, at, size, answer: Box::new(answer) });
        self.order.push_back((at, place));
        self.whole.add(size);
        self.shares.entry(tenant).or_default().add(size);
        while self.shares.get(&tenant).is_some_and(|share| share.exceeds(MAX_SHARE)) {
            let oldest = self.order.iter().position(|(_, place)| place.0 == tenant);
            let Some((_, place)) = oldest.and_then(|oldest| self.order.remove(oldest)) else { break };
            self.remove(&place);
        }
        while self.whole.exceeds(MAX_KEPT) {
            let Some((_, place)) = self.order.pop_front() else { break };
            self.remove(&place);
        }
    }

    /// Forgets a finished place that is no longer in `order`.
    fn remove(&mut self, place: &Place) {
        let Some(Kept::Done { size, .. }) = self.kept.remove(place) else { return };
        self.whole.take(size);
        if let Some(share) = self.shares.get_mut(&place.0) {
            share.take(size);
            if share.count == 0 {
                self.shares.remove(&place.0);
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

    /// Forgets in time, whether or not somebody asks; never ends.
    pub(crate) async fn forget_forever(&self) {
        loop {
            tokio::time::sleep(scaled(FORGET_INTERVAL)).await;
            self.book().forget(self.clock.now_micros());
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, place: &Place, fingerprint: [u8; 32]) -> Option<Seen> {
        let mut book = self.book();
        book.forget(self.clock.now_micros());
        let seen = match book.kept.get(place) {
            Some(Kept::Running(same)) if *same == fingerprint => Some(Seen::Refuse(Problem::IdempotencyRunning)),
            Some(Kept::Done { fingerprint: same, answer, .. }) if *same == fingerprint => {
                Some(Seen::Replay(answer.clone()))
            }
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
        self.book.book().keep(place, fingerprint, at, answer);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.book.book().kept.remove(&place);
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn place(tenant: TenantId, number: usize) -> Place {
        (tenant, "keykeykeykeykey0".parse().unwrap(), number.to_string())
    }

    fn answer(bytes: usize) -> Answer {
        Answer::ok(json!({"id": "x".repeat(bytes), "key": "secret"}))
    }

    #[test]
    fn the_book_has_a_bound_in_bytes_and_a_share_for_each_tenant() {
        let (loud, calm) = (TenantId::fresh(), TenantId::fresh());
        let mut book = Book::default();
        book.keep(place(calm, 0), [0; 32], 0, answer(9));
        for number in 0..100 {
            book.keep(place(loud, number), [0; 32], 1, answer(1 << 20));
        }
        assert!(!book.whole.exceeds(MAX_KEPT) && !book.shares[&loud].exceeds(MAX_SHARE));
        assert!(book.shares[&loud].count < 16 && book.shares[&calm].count == 1);
        assert!(book.kept.contains_key(&place(loud, 99)) && book.kept.contains_key(&place(calm, 0)));
        for tenant in std::iter::repeat_with(TenantId::fresh).take(6) {
            for number in 0..15 {
                book.keep(place(tenant, number), [0; 32], 1, answer(1 << 20));
            }
        }
        assert!(!book.whole.exceeds(MAX_KEPT) && !book.kept.contains_key(&place(calm, 0)));
        assert_eq!((book.order.len(), book.kept.len()), (book.whole.count, book.whole.count));
        book.forget(KEPT_MICROS + 1);
        assert!(book.kept.is_empty() && book.order.is_empty() && book.shares.is_empty());
        assert_eq!(book.whole, Weight::default());
    }

    #[test]
    fn a_large_answer_is_kept_without_the_upstreams_tools() {
        let mut book = Book::default();
        let tools = json!(["x".repeat(MAX_WHOLE)]);
        let place = place(TenantId::fresh(), 0);
        book.keep(place, [0; 32], 0, Answer::ok(json!({"id": "a", "probe": {"tools": tools, "revision": "r"}})));
        assert!(book.whole.bytes < 100);
    }

    #[test]
    fn a_place_that_is_used_again_keeps_its_new_secret() {
        let mut book = Book::default();
        let place = place(TenantId::fresh(), 0);
        book.keep(place.clone(), [0; 32], 0, answer(1).shown_once("key"));
        let (_, first) = book.order.pop_front().unwrap();
        book.remove(&first);
        book.keep(place.clone(), [0; 32], SECRET_MICROS - 1, answer(1).shown_once("key"));
        let text = |book: &Book| match &book.kept[&place] {
            Kept::Done { answer, .. } => format!("{answer:?}"),
            Kept::Running(_) => String::new(),
        };
        book.forget(SECRET_MICROS);
        assert!(text(&book).contains("secret"));
        book.forget(2 * SECRET_MICROS);
        assert!(!text(&book).contains("secret"));
    }
}
