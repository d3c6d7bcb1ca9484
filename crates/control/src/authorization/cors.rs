//! Which routes pages of other origins may call. MCP clients that run in a browser fetch the metadata, register,
//! and exchange codes themselves; none of that goes by cookie, and a page learns nothing that its server could not
//! ask as well. So these four answer every origin, never with credentials; all other routes refuse foreign origins
//! in `rest/hosts.rs`. `Host` must be ours on each of them.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

pub(crate) const METADATA: &str = "/.well-known/oauth-authorization-server/oauth/{tenant}";
pub(crate) const TOKEN: &str = "/oauth/{tenant}/token";
pub(crate) const REGISTER: &str = "/oauth/{tenant}/register";
pub(crate) const REVOKE: &str = "/oauth/{tenant}/revoke";

/// Whether pages of every origin may call this route.
pub(crate) fn is_open(route: &str) -> bool {
    [METADATA, TOKEN, REGISTER, REVOKE].contains(&route)
}

/// What a browser asks before it sends what a form could not. `*` stands for every header but `Authorization`,
/// which clients without a secret do not send.
pub(crate) async fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// Lets pages of every origin read the answer. Added by the layer that lets them ask, so that refusals have it too.
pub(crate) fn open(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after, www-authenticate"));
}
