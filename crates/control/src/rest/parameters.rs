//! Query parameters, decoded. The native routes take known ones only, each once; the seed's surface
//! ignores what it doesn't know and takes the last of several, as it did.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::App;
use crate::rest::code::Code;
use crate::rest::problem::Problem;

/// Items of a page when nobody says, and at most.
const PAGE: u32 = 50;
const MAX_PAGE: u32 = 200;

/// The decoded parameters of a request.
#[derive(Debug, Default)]
pub(crate) struct Parameters(Vec<(String, String)>);

impl FromRequestParts<App> for Parameters {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Self::Rejection> {
        Ok(Self::of(parts.uri.query().unwrap_or_default()))
    }
}

impl Parameters {
    pub(crate) fn of(query: &str) -> Self {
        Self(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// Refuses parameters that are not among `known`, one that stands twice, and control characters.
    pub(crate) fn only(self, known: &[&str]) -> Result<Self, Problem> {
        for (at, (name, text)) in self.0.iter().enumerate() {
            // Names come back to the sender only if they are ours.
            let Some(name) = known.iter().find(|one| *one == name) else {
                return Err(bad(Code::UnknownParameter, format!("known parameters are: {}", known.join(", "))));
            };
            if self.0.iter().take(at).any(|(other, _)| other == name) {
                return Err(bad(Code::DuplicateParameter, format!("`{name}` stands twice")));
            }
            if text.chars().any(char::is_control) {
                return Err(bad(Code::ControlCharacter, format!("`{name}` must not hold control characters")));
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
            Some(_) => Err(bad(Code::Flag, format!("`{name}` must be true or false"))),
        }
    }

    /// An RFC 3339 instant, as microseconds since 1970.
    pub(crate) fn instant(&self, name: &'static str) -> Result<Option<i64>, Problem> {
        let Some(text) = self.last(name) else { return Ok(None) };
        micros(text).map(Some).ok_or_else(|| bad(Code::Instant, format!("`{name}` must be an RFC 3339 instant")))
    }

    /// How many items a page has: 1 or more, cut to 200; 50 when absent.
    pub(crate) fn page_size(&self) -> Result<u32, Problem> {
        self.page_size_within(PAGE, MAX_PAGE)
    }

    /// The same with other bounds.
    pub(crate) fn page_size_within(&self, absent: u32, most: u32) -> Result<u32, Problem> {
        let Some(text) = self.text("page_size").or_else(|| self.text("limit")) else { return Ok(absent) };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u32>() {
            Ok(1..) => Ok(text.parse().unwrap_or(most).min(most)),
            // Beyond 32 bits is just very many.
            Err(_) if digits => Ok(most),
            Ok(0) | Err(_) => Err(bad(Code::Range, "`page_size` must be 1 or more".to_owned())),
        }
    }
}

/// An RFC 3339 text as microseconds since 1970.
pub(crate) fn micros(text: &str) -> Option<i64> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(at.unix_timestamp_nanos() / 1000).ok()
}

/// A parameter that doesn't fit.
pub(crate) fn bad(code: Code, detail: String) -> Problem {
    Problem::Query { code, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_one_to_200_items() {
        for (query, size) in [
            ("", Some(50)),
            ("page_size=1", Some(1)),
            ("page_size=10000", Some(200)),
            ("page_size=99999999999999", Some(200)),
            ("limit=7", Some(7)),
            ("page_size=0", None),
            ("page_size=-1", None),
            ("page_size=x", None),
        ] {
            assert_eq!(Parameters::of(query).page_size().ok(), size, "{query}");
        }
    }

    #[test]
    fn instants_are_rfc_3339() {
        assert_eq!(micros("1970-01-01T00:00:01.5+00:00"), Some(1_500_000));
        assert_eq!(micros("1970-01-01"), None);
    }
}
