//! `If-Match`: a change names the generation that it was made from.

use axum::extract::FromRequestParts;
use axum::http::header::IF_MATCH;
use axum::http::request::Parts;
use model::Generation;

use crate::App;
use crate::rest::problem::Problem;

/// The generation that a PATCH or DELETE expects; `None` for `*`, which fits any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expected(pub(crate) Option<Generation>);

impl FromRequestParts<App> for Expected {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        let header = parts.headers.get(IF_MATCH).ok_or(Problem::NoPrecondition)?;
        Ok(Self(parse(header.to_str().unwrap_or_default())))
    }
}

/// Reads `"7"` or `*`. A text that is no ETag of ours fits no generation.
fn parse(text: &str) -> Option<Generation> {
    if text.trim() == "*" {
        return None;
    }
    let number = text.trim().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    Some(Generation(number.and_then(|number| number.parse().ok()).unwrap_or(-1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_etags_fit() {
        for (text, expected) in [
            ("\"7\"", Some(Generation(7))),
            ("*", None),
            ("7", Some(Generation(-1))),
            ("W/\"7\"", Some(Generation(-1))),
            ("", Some(Generation(-1))),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
