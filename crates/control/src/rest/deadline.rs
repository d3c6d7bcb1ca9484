//! How long a request may take that asks nobody but the database: slow statements add up to a clear answer,
//! never to a wait without end.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hyper::body::Body as _;
use tokio::time::{Instant, sleep_until};

use crate::rest::arrival::{Arrived, PATIENCE};
use crate::rest::problem::Problem;
use crate::timers::scaled;

/// How long a read may take.
const READ: Duration = Duration::from_secs(5);
/// How long a change may take: as long, and the 2 s for which it waits for proxies, with some room.
const CHANGE: Duration = Duration::from_secs(8);

/// Ends a request that takes too long. A change that is cut may still be made by its own task.
pub(crate) async fn layer(mut request: Request, next: Next) -> Response {
    let reads = *request.method() == Method::GET || *request.method() == Method::HEAD;
    let (most, problem) = if reads { (READ, Problem::Unavailable) } else { (CHANGE, Problem::Uncertain) };
    let body = if request.body().is_end_stream() { Duration::ZERO } else { PATIENCE };
    let arrived = Arrived(Arc::default());
    request.extensions_mut().insert(arrived.clone());
    let deadline = sleep_until(Instant::now() + scaled(body + most));
    let answering = next.run(request);
    tokio::pin!(deadline, answering);
    loop {
        tokio::select! {
            biased;
            response = &mut answering => return response,
            () = arrived.0.notified() => deadline.as_mut().reset(Instant::now() + scaled(most)),
            () = &mut deadline => {
                tracing::warn!("a request took too long at the database");
                return problem.into_response();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::StatusCode;
    use axum::middleware::from_fn;
    use axum::routing::{get, post};
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_answered() {
        let slow = |seconds| async move || tokio::time::sleep(Duration::from_secs(seconds)).await;
        let late_body = async |request: Request| {
            tokio::time::sleep(Duration::from_secs(20)).await;
            request.extensions().get::<Arrived>().unwrap().0.notify_one();
            tokio::time::sleep(Duration::from_secs(7)).await;
        };
        let router = Router::new()
            .route("/read", get(slow(4)).post(slow(7)))
            .route("/slow", get(slow(6)).post(slow(9)))
            .route("/body", post(late_body))
            .layer(from_fn(layer));
        for (method, path, body, expected) in [
            ("GET", "/read", "", StatusCode::OK),
            ("POST", "/read", "", StatusCode::OK),
            ("GET", "/slow", "", StatusCode::SERVICE_UNAVAILABLE),
            ("POST", "/slow", "", StatusCode::SERVICE_UNAVAILABLE),
            ("POST", "/body", "{}", StatusCode::OK),
        ] {
            let request = Request::builder().method(method).uri(path).body(Body::from(body)).unwrap();
            assert_eq!(router.clone().oneshot(request).await.unwrap().status(), expected, "{method} {path}");
        }
    }
}
