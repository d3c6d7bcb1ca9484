//! The body of a client's request: small, declared as what it is, and whole.

use std::time::Duration;

use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::authorization::parameters::Parameters;
use crate::authorization::refusal::{Reason, Refusal};
use crate::rest::Arrived;
use crate::timers::scaled;

/// Bytes that a body may have.
const MAX_BODY: usize = 64 << 10;
/// How long it may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// A form.
pub(crate) async fn form(request: Request) -> Result<(Parts, Parameters), Refusal> {
    let (parts, bytes) = read(request, "application/x-www-form-urlencoded", Reason::InvalidRequest).await?;
    let parameters = Parameters::parse(&bytes)?;
    Ok((parts, parameters))
}

/// A JSON text.
pub(crate) async fn json(request: Request) -> Result<(Parts, Bytes), Refusal> {
    read(request, "application/json", Reason::InvalidClientMetadata).await
}

async fn read(request: Request, kind: &'static str, reason: Reason) -> Result<(Parts, Bytes), Refusal> {
    let (parts, body) = request.into_parts();
    if !is(kind, &parts.headers) {
        let refusal = Refusal::new(reason, "the body must have the content type").about(kind);
        return Err(refusal.with(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let arriving = Limited::new(body, MAX_BODY).collect();
    let bytes = match tokio::time::timeout(scaled(PATIENCE), arriving).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            return Err(Refusal::new(reason, "a body may have 64 KiB").with(StatusCode::PAYLOAD_TOO_LARGE));
        }
        Ok(Err(_)) => return Err(Refusal::new(reason, "the body did not arrive whole")),
        Err(_) => {
            return Err(Refusal::new(reason, "the body must arrive within 30 s").with(StatusCode::REQUEST_TIMEOUT));
        }
    };
    if let Some(Arrived(arrived)) = parts.extensions.get::<Arrived>() {
        arrived.notify_one();
    }
    Ok((parts, bytes))
}

fn is(kind: &str, headers: &HeaderMap) -> bool {
    let mut declared = headers.get_all(CONTENT_TYPE).iter();
    let first = declared.next().and_then(|value| value.to_str().ok()).unwrap_or_default();
    let first = first.split(';').next().unwrap_or_default().trim();
    first.eq_ignore_ascii_case(kind) && declared.next().is_none()
}
