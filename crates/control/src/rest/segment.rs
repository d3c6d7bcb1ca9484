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
        read.map(|path| Self(path.0)).map_err(|_| Problem::NotFound)
    }
}

impl FromRequestParts<App> for Segments {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let read = Path::<(String, String)>::from_request_parts(parts, app).await;
        read.map(|Path((first, second))| Self(first, second)).map_err(|_| Problem::NotFound)
    }
}
