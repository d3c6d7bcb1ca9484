//! Query parameters, decoded. The native routes take known ones only, each once; the seed's surface
//! ignores what it doesn't know and takes the last of several, as it did.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::App;
use crate::rest::problem::Problem;

/// The decoded parameters of a request.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

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

    /// Refuses parameters that are not among `known`, and one that stands twice.
    pub(crate) fn only(self, known: &[&str]) -> Result<Self, Problem> {
        for (at, (name, _)) in self.0.iter().enumerate() {
            // Names come back to the sender only if they are ours.
            let Some(name) = known.iter().find(|one| *one == name) else {
                return Err(bad("unknown_parameter", format!("known parameters are: {}", known.join(", "))));
            };
            if self.0.iter().take(at).any(|(other, _)| other == name) {
                return Err(bad("duplicate_parameter", format!("`{name}` stands twice")));
            }
        }
        Ok(self)
    }

    /// A parameter that is there and not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.last(name).filter(|text| !text.is_empty())
    }

    fn last(&self, name: &str) -> Option<&str> {
        self.0.iter().rfind(|(other, _)| other == name).map(|(_, text)| text.as_str())
    }

    /// `true` or `false`; absent is `None`, `?name` alone is `true`.
    pub(crate) fn flag(&self, name: &'static str) -> Result<Option<bool>, Problem> {
        match self.last(name) {
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
