//! The one parameter of a path. A text that can't be one names nothing.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::App;
use crate::rest::problem::Problem;

/// The decoded parameter of the route.
pub(crate) struct Path(pub(crate) String);

impl FromRequestParts<App> for Path {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let read = axum::extract::Path::<String>::from_request_parts(parts, app).await;
        read.map(|path| Self(path.0)).map_err(|_| Problem::NotFound)
    }
}
