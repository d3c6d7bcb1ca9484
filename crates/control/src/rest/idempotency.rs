//! `Idempotency-Key`: a create that is sent twice happens once, on whichever replica, whatever dies.
//!
//! The book of answers is the store's. Only successes are kept, for 24 h, since a create that failed has
//! saved nothing and may be tried again; what is shown once is kept as null. The work runs in a task of
//! its own, so a client that goes away doesn't cut it.

use axum::http::{HeaderName, HeaderValue, Method};
use axum::response::{IntoResponse as _, Response};
use store::{Actor, Claim, Place, Seen};

use crate::App;
use crate::rest::answer::Answer;
use crate::rest::caller::Caller;
use crate::rest::problem::Problem;
use crate::rest::retell::retell;
use crate::rest::trace::carried;

/// A key with the fingerprint of the request that it came with.
pub(crate) struct Slot {
    word: String,
    pub(crate) fingerprint: [u8; 32],
}

impl Slot {
    /// Fingerprints a request.
    pub(crate) fn new(word: &str, method: &Method, path: &str, body: &[u8]) -> Self {
        let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
        for part in [method.as_str().as_bytes(), path.as_bytes(), body] {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(hash.finish().as_ref());
        Self { word: word.to_owned(), fingerprint }
    }
}

/// Runs the work once for its key, or answers as the first time. The work changes things in the name of
/// the actor that it is given.
pub(crate) async fn once<F>(
    app: &App,
    caller: &Caller,
    slot: Option<Slot>,
    work: impl FnOnce(Actor) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = Result<Answer, Problem>> + Send + 'static,
{
    let Some(slot) = slot else {
        return detached(work(caller.actor())).await.into_response();
    };
    let place = Place { tenant: caller.tenant(), key: caller.book(), word: slot.word };
    let claim = match app.store.platform().claim(place, slot.fingerprint).await {
        Ok(Seen::Fresh(claim)) => claim,
        Ok(Seen::Running) => return Problem::IdempotencyRunning.into_response(),
        Ok(Seen::OtherRequest) => return Problem::IdempotencyReused.into_response(),
        Ok(Seen::Done(answer)) => return replayed(Answer::stored(answer)),
        Ok(Seen::Made { object, claim }) => return made(app.clone(), caller.clone(), object, claim).await,
        Err(error) => return Problem::from(error).into_response(),
    };
    let (app, actor) = (app.clone(), caller.claiming(Some(claim.clone())));
    let work = work(actor);
    detached(async move {
        let outcome = work.await;
        match &outcome {
            Ok(answer) => keep(&app, &claim, answer).await,
            // It may have been made after all: the claim stands until it is known or has grown old.
            Err(Problem::Uncertain) => (),
            Err(_) => {
                if let Err(error) = app.store.platform().release(&claim).await {
                    tracing::warn!(error = %telemetry::chain(&error), "a claim of a request that failed could not be given back");
                }
            }
        }
        outcome
    })
    .await
    .into_response()
}

/// The work was done by a process that died before it answered: the answer is told from the record.
async fn made(app: App, caller: Caller, object: String, claim: Claim) -> Response {
    let told = detached(async move {
        let answer = retell(&app, &caller, &object).await?;
        keep(&app, &claim, &answer).await;
        Ok(answer)
    });
    match told.await {
        Ok(answer) => replayed(answer),
        Err(problem) => problem.into_response(),
    }
}

/// Keeps an answer. Without it the next request is answered from the record.
async fn keep(app: &App, claim: &Claim, answer: &Answer) {
    if let Err(error) = app.store.platform().keep_answer(claim, answer.to_store()).await {
        tracing::warn!(error = %telemetry::chain(&error), "the answer of a create was not kept");
    }
}

async fn detached(work: impl Future<Output = Result<Answer, Problem>> + Send + 'static) -> Result<Answer, Problem> {
    tokio::spawn(carried(work)).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a request's task ended early");
        Err(Problem::Internal)
    })
}

fn replayed(answer: Answer) -> Response {
    let mut response = answer.into_response();
    response.headers_mut().insert(HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true"));
    response
}
