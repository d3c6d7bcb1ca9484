//! `/livez`, `/readyz` and the one-page status: open to anyone, saying little.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use crate::App;

/// Says that the process runs.
#[utoipa::path(get, path = "/livez", tag = "health", operation_id = "livez",
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(crate) async fn livez() -> &'static str {
    "ok\n"
}

/// Says whether the database answers and the process isn't draining.
#[utoipa::path(get, path = "/readyz", tag = "health", operation_id = "readyz",
    responses((status = 200, body = String, content_type = "text/plain"),
        (status = 503, body = String, content_type = "text/plain")))]
pub(crate) async fn readyz(State(app): State<App>) -> Response {
    if app.draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    match app.store.platform().revision().await {
        Ok(_) => "ok\n".into_response(),
        Err(error) => {
            tracing::warn!(error = %telemetry::chain(&error), "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer\n").into_response()
        }
    }
}

/// A page for the person who opens the URL in a browser. No names, no counts of tenants' things.
#[utoipa::path(get, path = "/", tag = "health", operation_id = "page",
    responses((status = 200, body = String, content_type = "text/html")))]
pub(crate) async fn page(State(app): State<App>) -> Response {
    let proxies = match app.proxies.attached().len() {
        0 => "No proxy is attached.".to_owned(),
        1 => "One proxy is attached.".to_owned(),
        count => format!("{count} proxies are attached."),
    };
    let mounts = match app.reconciler.last() {
        Some(report) if report.is_complete() => "Mounts are as intended.",
        Some(_) => "Mounts differ from what is intended: run <code>gatehouse recover</code>.",
        None => "Mounts have not been compared yet.",
    };
    let version = env!("CARGO_PKG_VERSION");
    let page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Gatehouse</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <link rel=\"icon\" href=\"assets/gatehouse.svg\"><link rel=\"stylesheet\" href=\"assets/gatehouse.css\"></head>\n\
         <body><main><section class=\"card\"><h1>Gatehouse</h1>\n\
         <p>Control {version} is running. {proxies} {mounts}</p>\n\
         <p><a href=\"account\">Sign in</a> to see your account and the apps that are connected to it.</p>\n\
         <p class=\"quiet\">Administrators use the <code>gatehouse</code> command, or REST under <code>/api/v1</code>: \
         <a href=\"docs\">its documentation</a>.</p></section></main></body></html>\n"
    );
    let policy = "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'; \
                  form-action 'none'";
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Html(page)).into_response()
}
