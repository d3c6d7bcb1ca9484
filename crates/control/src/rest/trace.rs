//! Gives every request a trace id, which its errors, its log line and its audit row carry; its span and its
//! place in the metrics.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use telemetry::trace;
pub(crate) use telemetry::trace::{carried, trace_id};
use tracing::Instrument as _;

use crate::App;

/// The outermost layer: takes the trace of a `traceparent` header, or begins one, and counts and logs the
/// answer.
pub(crate) async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    let span = if is_probe(request.uri().path()) { trace::Span::default() } else { begun(request.headers()) };
    let logged = tracing::info_span!("request", trace_id = span.trace_id());
    let method = request.method().clone();
    // The route and not the path: there are few of them.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let path = shown(request.uri().path(), route).to_owned();
    span.describe(|span| {
        span.name(&format!("{method} {route}"));
        span.text("http.request.method", &method);
        span.text("http.route", route);
        span.text("url.path", &path);
    });
    let begun = Instant::now();
    let answering = async {
        let response = next.run(request).await;
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        tracing::debug!(%method, path, status = response.status().as_u16(), micros, "answered");
        response
    };
    let response = span.scope(answering.instrument(logged)).await;
    let status = response.status();
    app.counters.answered(&method, route, status, begun.elapsed());
    span.describe(|span| {
        span.number("http.response.status_code", i64::from(status.as_u16()));
        if status.is_server_error() {
            span.failed(status.as_str());
        }
    });
    response
}

fn begun(headers: &HeaderMap) -> trace::Span {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    trace::server(header("traceparent"), header("tracestate"))
}

/// The path as logs and spans may have it: of a one-time link it is the link itself.
fn shown<'a>(path: &'a str, route: &'a str) -> &'a str {
    let is_link = path.to_ascii_lowercase().contains("signin/link");
    match (is_link, route) {
        (false, _) => path,
        // A mistyped one may still hold it.
        (true, "none") => "/signin/link",
        (true, route) => route,
    }
}

/// Asked every few seconds, and never of interest.
fn is_probe(path: &str) -> bool {
    matches!(path, "/livez" | "/readyz")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_one_time_link_is_in_no_log_and_no_span() {
        const ROUTE: &str = "/signin/link/{token}";
        for (path, route, seen) in [
            ("/signin/link/SECRET", ROUTE, ROUTE),
            ("/signin/link/SECRET/", "none", "/signin/link"),
            ("//signin/link/SECRET", "none", "/signin/link"),
            ("/base/Signin/Link/SECRET", "none", "/signin/link"),
            ("/signin", "/signin", "/signin"),
            ("/api/v1/servers/notes", "/api/v1/servers/{server}", "/api/v1/servers/notes"),
        ] {
            assert_eq!(shown(path, route), seen);
        }
    }
}
