//! `/docs`: the OpenAPI document as a page. Everything that it needs comes from this program, so that it
//! works where nothing else can be reached.

use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use utoipa_swagger_ui::Config;

use crate::rest::openapi;
use crate::rest::problem::Problem;
use crate::rest::segment::Segment;

const PAGE: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Gatehouse REST</title>\n\
    <link rel=\"icon\" href=\"docs/favicon-32x32.png\"><link rel=\"stylesheet\" href=\"docs/swagger-ui.css\"></head>\n\
    <body><div id=\"page\"></div>\n\
    <script src=\"docs/swagger-ui-bundle.js\"></script><script src=\"docs/start.js\"></script></body></html>\n";

const START: &str = "window.ui = SwaggerUIBundle({ url: 'openapi.json', dom_id: '#page', deepLinking: true });\n";

/// Scripts and styles of this origin only. Swagger UI styles its elements itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Shows the document as a page.
#[utoipa::path(get, path = "/docs", tag = "document", operation_id = "docs",
    responses((status = 200, body = String, content_type = "text/html")))]
pub(crate) async fn page() -> Response {
    file("text/html; charset=utf-8", PAGE)
}

/// A file of that page.
#[utoipa::path(get, path = "/docs/{file}", tag = "document", operation_id = "docsFile",
    responses((status = 200, body = String, content_type = "text/javascript")))]
pub(crate) async fn asset(Segment(name): Segment) -> Response {
    if name == "start.js" {
        return file("text/javascript", START);
    }
    // The original's own page and script point elsewhere.
    let known = ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"].contains(&name.as_str());
    match utoipa_swagger_ui::serve(&name, Arc::new(Config::default())) {
        Ok(Some(found)) if known => file(&found.content_type, found.bytes.into_owned()),
        _ => Problem::NotFound.into_response(),
    }
}

/// The OpenAPI 3.1 document of this program.
#[utoipa::path(get, path = "/openapi.json", tag = "document", operation_id = "openapi",
    responses((status = 200, body = Object)))]
pub(crate) async fn document() -> Response {
    file("application/json", openapi::text())
}

/// The same below the path of the API.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "document", operation_id = "openapiOfV1",
    responses((status = 200, body = Object)))]
pub(crate) async fn document_v1() -> Response {
    document().await
}

fn file(content_type: &str, bytes: impl IntoResponse) -> Response {
    let mut response = (StatusCode::OK, bytes).into_response();
    let headers = response.headers_mut();
    if let Ok(content_type) = content_type.parse() {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
