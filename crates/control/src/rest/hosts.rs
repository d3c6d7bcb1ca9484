//! Which `Host` and `Origin` a request may carry: loopback names and the public URL's host, so that
//! a page on the web can't reach us through a rebound name. What MCP clients call that run in a browser
//! (`authorization/cors.rs` says which routes, and why they may) takes every origin, and no cookie.

use std::net::IpAddr;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use url::Url;

use crate::App;
use crate::authorization::{is_open, open};
use crate::rest::problem::Problem;

/// Refuses foreign hosts and origins; health checks come by address and say nothing.
pub(crate) async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    let health = matches!(request.uri().path(), "/livez" | "/readyz");
    let public = app.config.public_url.as_ref();
    if request.extensions().get::<MatchedPath>().is_some_and(|path| is_open(path.as_str())) {
        if !host_fits(public, request.uri(), request.headers()) {
            return Problem::ForeignHost.into_response();
        }
        let mut response = next.run(request).await;
        open(response.headers_mut());
        response
    } else if health || allowed(public, request.uri(), request.headers()) {
        next.run(request).await
    } else {
        Problem::ForeignHost.into_response()
    }
}

fn allowed(public: Option<&Url>, uri: &Uri, headers: &HeaderMap) -> bool {
    let origin_fits = match text(headers, ORIGIN) {
        None => true,
        Some(origin) => Url::parse(origin).is_ok_and(|origin| is_ours(public, &origin)),
    };
    host_fits(public, uri, headers) && origin_fits
}

fn host_fits(public: Option<&Url>, uri: &Uri, headers: &HeaderMap) -> bool {
    // Of two nobody can say which one counts; who stands in front of us may have read the other.
    if headers.get_all(HOST).iter().count() > 1 {
        return false;
    }
    let host = uri.authority().map(|authority| authority.as_str()).or_else(|| text(headers, HOST));
    let host = host.and_then(|host| Url::parse(&format!("http://{host}/")).ok());
    host.is_some_and(|host| is_ours(public, &host))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

fn is_ours(public: Option<&Url>, named: &Url) -> bool {
    let Some(host) = named.host_str() else { return false };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        || public.and_then(Url::host_str) == Some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_names_are_hosts_and_origins() {
        let public = Url::parse("https://gate.example/base").unwrap();
        for (host, origin, fits) in [
            ("localhost:5010", None, true),
            ("127.0.0.1:1", None, true),
            ("[::1]:5010", None, true),
            ("gate.example", None, true),
            ("gate.example:443", Some("https://gate.example"), true),
            ("127.0.0.1", Some("http://localhost:3000"), true),
            ("evil.example", None, false),
            ("localhost.evil.example", None, false),
            ("127.0.0.1", Some("https://evil.example"), false),
            ("127.0.0.1", Some("null"), false),
            ("10.0.0.1", None, false),
            ("", None, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            let uri = Uri::from_static("/api/v1/servers");
            assert_eq!(allowed(Some(&public), &uri, &headers), fits, "{host} {origin:?}");
        }
        assert!(!allowed(None, &Uri::from_static("/"), &HeaderMap::new()));
        let mut two = HeaderMap::new();
        two.append(HOST, "localhost:5010".parse().unwrap());
        two.append(HOST, "localhost:5010".parse().unwrap());
        assert!(!allowed(None, &Uri::from_static("/"), &two));
    }
}
