//! Successful answers of the native routes.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::Generation;
use serde::Serialize;
use serde_json::Value;
use store::StoredAnswer;

/// Bytes of an answer that is kept with an upstream's tools in it.
const MAX_WHOLE: usize = 64 << 10;

/// A status, a JSON body, and the headers that say where the record is and which one it is.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: StatusCode,
    etag: Option<String>,
    location: Option<String>,
    body: String,
    /// The member of the body that is shown once.
    once: Option<&'static str>,
}

impl Answer {
    /// 200 with a body.
    pub(crate) fn ok(body: &impl Serialize) -> Self {
        // Views are structs of texts and numbers: they always are JSON.
        let body = serde_json::to_string(body).unwrap_or_else(|_| "null".to_owned());
        Self { status: StatusCode::OK, etag: None, location: None, body, once: None }
    }

    /// 201 with a body and where the object can be read.
    pub(crate) fn created(location: String, body: &impl Serialize) -> Self {
        Self { status: StatusCode::CREATED, location: Some(location), ..Self::ok(body) }
    }

    /// 201 with what is shown once and can be read nowhere.
    pub(crate) fn made(body: &impl Serialize) -> Self {
        Self { status: StatusCode::CREATED, ..Self::ok(body) }
    }

    /// 200 with JSON of an upstream, passed on as it came.
    pub(crate) fn raw(body: String) -> Self {
        Self { status: StatusCode::OK, etag: None, location: None, body, once: None }
    }

    /// Adds the ETag.
    pub(crate) fn at(self, generation: Generation) -> Self {
        Self { etag: Some(format!("\"{}\"", generation.0)), ..self }
    }

    /// Marks a member of the body as one that is shown once.
    pub(crate) fn shown_once(self, member: &'static str) -> Self {
        Self { once: Some(member), ..self }
    }

    /// What is kept of it: without what is shown once, and without an upstream's tools where they are
    /// large, which can be read again elsewhere.
    pub(crate) fn to_store(&self) -> StoredAnswer {
        let mut body = self.body.clone();
        if (self.once.is_some() || body.len() > MAX_WHOLE)
            && let Ok(mut value) = serde_json::from_str::<Value>(&body)
        {
            if let (Some(member), Some(members)) = (self.once, value.as_object_mut()) {
                members.insert(member.to_owned(), Value::Null);
            }
            if let Some(tools) = value.pointer_mut("/probe/tools").filter(|_| body.len() > MAX_WHOLE) {
                *tools = Value::Null;
            }
            body = value.to_string();
        }
        let headers = [("etag", &self.etag), ("location", &self.location)].into_iter();
        StoredAnswer {
            status: self.status.as_u16(),
            headers: headers.filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))).collect(),
            body: Some(body),
        }
    }

    /// An answer that was kept.
    pub(crate) fn stored(kept: StoredAnswer) -> Self {
        let header = |name: &str| kept.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone());
        Self {
            status: StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK),
            etag: header("etag"),
            location: header("location"),
            body: kept.body.unwrap_or_default(),
            once: None,
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let mut put = |name: HeaderName, value: Option<String>| {
            if let Some(value) = value.and_then(|value| value.parse().ok()) {
                headers.insert(name, value);
            }
        };
        put(header::ETAG, self.etag);
        put(header::LOCATION, self.location);
        response
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_shown_once_is_kept_as_null() {
        let made = Answer::created("/x".to_owned(), &json!({"id": "a", "key": "secret"})).shown_once("key");
        let kept = made.at(Generation(3)).to_store();
        assert_eq!(kept.body.as_deref(), Some(r#"{"id":"a","key":null}"#));
        let again = Answer::stored(kept);
        assert_eq!((again.etag.as_deref(), again.location.as_deref()), (Some("\"3\""), Some("/x")));
        assert_eq!(again.status, StatusCode::CREATED);
    }

    #[test]
    fn a_large_answer_is_kept_without_the_upstreams_tools() {
        let tools = json!(["x".repeat(MAX_WHOLE)]);
        let kept = Answer::ok(&json!({"id": "a", "probe": {"tools": tools, "revision": "r"}})).to_store();
        assert!(kept.body.unwrap().len() < 100);
    }
}
