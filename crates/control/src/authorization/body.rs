//! The body of a client's request: small, declared as what it is, and whole.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use bytes::Bytes;

use crate::authorization::parameters::Parameters;
use crate::authorization::refusal::{Reason, Refusal};
use crate::rest::{Cut, is_declared, whole};

/// Bytes that a body may have.
const MAX_BODY: usize = 64 << 10;

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
    let once = parts.headers.get_all(CONTENT_TYPE).iter().count() == 1;
    if !once || !is_declared(kind, &parts.headers) {
        let refusal = Refusal::new(reason, "the body must have the content type").about(kind);
        return Err(refusal.with(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let bytes = whole(&parts, body, MAX_BODY).await.map_err(|cut| match cut {
        Cut::TooLarge => Refusal::new(reason, "a body may have 64 KiB").with(StatusCode::PAYLOAD_TOO_LARGE),
        Cut::Broken => Refusal::new(reason, "the body did not arrive whole"),
        Cut::Slow => Refusal::new(reason, "the body must arrive within 30 s").with(StatusCode::REQUEST_TIMEOUT),
    })?;
    Ok((parts, bytes))
}
