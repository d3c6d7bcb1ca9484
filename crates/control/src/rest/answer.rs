//! Successful answers of the native routes.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::Generation;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A status, a JSON body and the record's generation as ETag.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: StatusCode,
    generation: Option<Generation>,
    location: Option<String>,
    body: Option<Value>,
    /// The member of the body that is shown once, and replayed for ten minutes at most.
    once: Option<&'static str>,
}

impl Answer {
    /// 200 with a body.
    pub(crate) fn ok(body: Value) -> Self {
        Self { status: StatusCode::OK, generation: None, location: None, body: Some(body), once: None }
    }

    /// 201 with a body and where the object can be read.
    pub(crate) fn created(location: String, body: Value) -> Self {
        Self { status: StatusCode::CREATED, location: Some(location), ..Self::ok(body) }
    }

    /// 200 with one page of a list.
    pub(crate) fn page(items: Vec<Value>, next: Option<String>) -> Self {
        Self::ok(json!({"items": items, "next": next}))
    }

    /// Adds the ETag.
    pub(crate) fn at(self, generation: Generation) -> Self {
        Self { generation: Some(generation), ..self }
    }

    /// Marks a member of the body as one that is shown once.
    pub(crate) fn shown_once(self, member: &'static str) -> Self {
        Self { once: Some(member), ..self }
    }

    /// Whether a member of it is shown once.
    pub(crate) fn holds_secret(&self) -> bool {
        self.once.is_some()
    }

    /// How much memory it takes, about: the bytes of its body as text.
    pub(crate) fn size(&self) -> usize {
        self.body.as_ref().map_or(0, |body| body.to_string().len())
    }

    /// Takes out the upstream's tools, which may be large and can be read again elsewhere.
    pub(crate) fn forget_tools(&mut self) {
        if let Some(tools) = self.body.as_mut().and_then(|body| body.pointer_mut("/probe/tools")) {
            *tools = Value::Null;
        }
    }

    /// Takes out the member that is shown once.
    pub(crate) fn forget_secret(&mut self) {
        if let (Some(member), Some(body)) = (self.once, self.body.as_mut().and_then(Value::as_object_mut)) {
            body.insert(member.to_owned(), Value::Null);
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = match self.body {
            Some(body) => (self.status, body.to_string()).into_response(),
            None => self.status.into_response(),
        };
        let headers = response.headers_mut();
        if headers.contains_key(header::CONTENT_TYPE) {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(value) = self.generation.and_then(|generation| etag(generation).parse().ok()) {
            headers.insert(header::ETAG, value);
        }
        if let Some(value) = self.location.and_then(|location| location.parse().ok()) {
            headers.insert(header::LOCATION, value);
        }
        response
    }
}

/// A generation as ETag.
pub(crate) fn etag(generation: Generation) -> String {
    format!("\"{}\"", generation.0)
}

/// Microseconds since 1970 as RFC 3339 text.
pub(crate) fn instant(micros: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).ok();
    at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}
