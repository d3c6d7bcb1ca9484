//! Query parameters: known ones only, each once.

use std::collections::HashMap;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::App;
use crate::rest::problem::Problem;

/// The decoded parameters of a request.
#[derive(Debug, Default)]
pub(crate) struct Query(HashMap<String, String>);

impl FromRequestParts<App> for Query {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Self::Rejection> {
        Ok(Self::of(parts.uri.query().unwrap_or_default()))
    }
}

impl Query {
    pub(crate) fn of(query: &str) -> Self {
        Self(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// A parameter that is there and not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// `true` or `false`; absent is `None`, `?name` alone is `true`.
    pub(crate) fn flag(&self, name: &'static str) -> Result<Option<bool>, Problem> {
        match self.0.get(name).map(String::as_str) {
            None => Ok(None),
            Some("" | "true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(_) => Err(bad("flag", format!("`{name}` must be true or false"))),
        }
    }

    /// How many items a page has: 1 or more, cut to 200; 50 when absent.
    pub(crate) fn limit(&self) -> Result<u32, Problem> {
        let Some(text) = self.text("limit").or_else(|| self.text("page_size")) else { return Ok(50) };
        match text.parse::<u32>() {
            Ok(0) | Err(_) => Err(bad("range", "`limit` must be 1 to 200".to_owned())),
            Ok(limit) => Ok(limit.min(200)),
        }
    }
}

/// A parameter that doesn't fit.
pub(crate) fn bad(code: &'static str, detail: String) -> Problem {
    Problem::Query { code, detail }
}
