//! The files that pages need, from within the program.

use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use crate::pages::Refusal;

/// Name, type and content of each.
const FILES: [(&str, &str, &str); 2] = [
    ("gatehouse.css", "text/css; charset=utf-8", include_str!("../../assets/gatehouse.css")),
    ("gatehouse.svg", "image/svg+xml", include_str!("../../assets/gatehouse.svg")),
];

/// One of the files. Browsers keep it and ask whether it is still the same: it changes with the program only.
pub(super) async fn file(
    name: Result<Path<String>, axum::extract::rejection::PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let Path(name) = name.map_err(|_| Refusal::NotFound)?;
    let found = FILES.into_iter().find(|(other, ..)| *other == name);
    let (_, kind, content) = found.ok_or(Refusal::NotFound)?;
    let digest = ring::digest::digest(&ring::digest::SHA256, content.as_bytes());
    let tag: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let tag = HeaderValue::from_str(&format!("\"{tag}\"")).map_err(|_| Refusal::Internal)?;
    let known = headers.get(IF_NONE_MATCH) == Some(&tag);
    let mut response = if known { StatusCode::NOT_MODIFIED.into_response() } else { content.into_response() };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(ETAG, tag);
    Ok(response)
}
