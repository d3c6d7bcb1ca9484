//! A request body as the write routes accept it: declared as JSON, at most 256 KiB, one strict
//! object.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method};
use hyper::body::Body as _;

use crate::App;
use crate::rest::arrival::{Cut, is_declared, whole};
use crate::rest::fields::Fields;
use crate::rest::idempotency::Slot;
use crate::rest::json;
use crate::rest::problem::Problem;

/// Bytes that a body may have.
const MAX_BODY: usize = 256 * 1024;

/// A body that is one JSON object, with what makes its request repeatable.
pub(crate) struct Body {
    /// The members, to be taken one by one.
    pub(crate) fields: Fields,
    /// The body as it came: for members that are passed on as they are.
    pub(crate) bytes: Bytes,
    /// The request's `Idempotency-Key` with the fingerprint of the request, if it has one.
    pub(crate) slot: Option<Slot>,
}

impl FromRequest<App> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &App) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::MediaType);
        }
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let headers = request.headers().clone();
        let bytes = read(request).await?;
        let slot = slot(&headers, &method, &path, &bytes)?;
        let fields = Fields::of(json::parse(&bytes).map_err(Problem::Json)?)?;
        Ok(Self { fields, bytes, slot })
    }
}

/// The same for a route where everything has a default: no body at all is an empty object.
pub(crate) struct OptionalBody(pub(crate) Body);

impl FromRequest<App> for OptionalBody {
    type Rejection = Problem;

    async fn from_request(mut request: Request, app: &App) -> Result<Self, Problem> {
        if request.body().is_end_stream() && !request.headers().contains_key(CONTENT_TYPE) {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = "{}".into();
        }
        Body::from_request(request, app).await.map(Self)
    }
}

fn slot(headers: &HeaderMap, method: &Method, path: &str, bytes: &[u8]) -> Result<Option<Slot>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=255).contains(&key.len())).ok_or(Problem::IdempotencyKey)?;
    Ok(Some(Slot::new(key, method, path, bytes)))
}

/// Whether the body is declared as `application/json`, with or without parameters.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    is_declared("application/json", headers)
}

/// Reads a body of at most 256 KiB within 30 s.
pub(crate) async fn read(request: Request) -> Result<Bytes, Problem> {
    let declared = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > MAX_BODY) {
        return Err(Problem::TooLarge);
    }
    let (parts, body) = request.into_parts();
    whole(&parts, body, MAX_BODY).await.map_err(|cut| match cut {
        Cut::TooLarge => Problem::TooLarge,
        Cut::Broken => Problem::Truncated,
        Cut::Slow => Problem::SlowBody,
    })
}
