//! A body as it arrives: declared as what it is, small, and in time. Every reader of one is here for its rules and
//! has its own words for who breaks them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::sync::Notify;

use crate::timers::scaled;

/// How long a body may take to arrive, before what it asks for begins.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Told when a body is whole: from then on the deadline of its route counts.
#[derive(Clone)]
pub(crate) struct Arrived(pub(crate) Arc<Notify>);

/// Why a body is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// It has more bytes than it may.
    TooLarge,
    /// The connection ended first.
    Broken,
    /// It took longer than [`PATIENCE`].
    Slow,
}

/// Reads a body of at most `most` bytes.
pub(crate) async fn whole(parts: &Parts, body: Body, most: usize) -> Result<Bytes, Cut> {
    let arriving = Limited::new(body, most).collect();
    let bytes = match tokio::time::timeout(scaled(PATIENCE), arriving).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(Cut::TooLarge),
        Ok(Err(_)) => return Err(Cut::Broken),
        Err(_) => return Err(Cut::Slow),
    };
    if let Some(Arrived(arrived)) = parts.extensions.get::<Arrived>() {
        arrived.notify_one();
    }
    Ok(bytes)
}

/// Whether a body is declared to be of this media type, with or without parameters.
pub(crate) fn is_declared(kind: &str, headers: &HeaderMap) -> bool {
    let declared = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    declared.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(kind)
}
