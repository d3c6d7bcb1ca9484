//! Gives every request a trace id, which its errors, its log line and its audit row carry.

use std::time::Instant;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

tokio::task_local! {
    static TRACE: String;
}

/// The trace id of the request that is being answered; empty outside of one.
pub(crate) fn trace_id() -> String {
    TRACE.try_with(Clone::clone).unwrap_or_default()
}

/// Runs a future of another task under the same trace id.
pub(crate) async fn under<F: Future>(trace_id: String, future: F) -> F::Output {
    TRACE.scope(trace_id, future).await
}

/// The outermost layer: takes the trace id of a `traceparent` header, or makes one, and logs the answer.
pub(crate) async fn layer(request: Request, next: Next) -> Response {
    let id = given(request.headers()).unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
    let span = tracing::info_span!("request", trace_id = %id);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let begun = Instant::now();
    TRACE
        .scope(id, async move {
            let response = next.run(request).await;
            let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            tracing::debug!(%method, path, status = response.status().as_u16(), micros, "answered");
            response
        })
        .instrument(span)
        .await
}

/// The trace id of a W3C `traceparent`: `00-<32 hex>-<16 hex>-<2 hex>`, not all zeros.
fn given(headers: &HeaderMap) -> Option<String> {
    let parent = headers.get("traceparent")?.to_str().ok()?;
    let mut parts = parent.split('-');
    let (Some(_), Some(id), Some(_), Some(_)) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    let hex = id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (hex && id.bytes().any(|byte| byte != b'0')).then(|| id.to_owned())
}
