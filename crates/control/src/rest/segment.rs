//! The parameters of a path. A text that can't be one names nothing.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use crate::App;
use crate::rest::problem::Problem;

/// The decoded parameter of a route with one.
pub(crate) struct Segment(pub(crate) String);

/// The decoded parameters of a route with two.
pub(crate) struct Segments(pub(crate) String, pub(crate) String);

impl FromRequestParts<App> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let read = Path::<String>::from_request_parts(parts, app).await;
        let Path(text) = read.map_err(|_| Problem::NotFound)?;
        name(text).map(Self)
    }
}

impl FromRequestParts<App> for Segments {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let read = Path::<(String, String)>::from_request_parts(parts, app).await;
        let Path((first, second)) = read.map_err(|_| Problem::NotFound)?;
        Ok(Self(name(first)?, name(second)?))
    }
}

/// Nothing has a control character in its name; PostgreSQL does not even take each of them in a question.
fn name(text: String) -> Result<String, Problem> {
    if text.chars().any(char::is_control) { Err(Problem::NotFound) } else { Ok(text) }
}
