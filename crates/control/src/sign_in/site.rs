//! Where a browser believes to be: the origin and the path in front of ours. Cookies, links and the question
//! whether a form came from our own page hang on it.

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Uri};
use url::Url;

use crate::Config;

/// The origin under which a request came, and what stands in front of our paths there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Site {
    origin: String,
    prefix: String,
    public: bool,
}

impl Site {
    /// By the name that the request was sent to, which the host check has let pass: the public one, or loopback.
    pub(crate) fn of(config: &Config, uri: &Uri, headers: &HeaderMap) -> Self {
        let text = headers.get(HOST).and_then(|value| value.to_str().ok());
        let host = uri.authority().map(|authority| authority.as_str()).or(text).unwrap_or_default();
        let named = Url::parse(&format!("http://{host}/")).ok();
        let is_public = |public: &&Url| named.as_ref().is_some_and(|named| named.host_str() == public.host_str());
        match config.public_url.as_ref().filter(is_public) {
            Some(public) => {
                Self { origin: public.origin().ascii_serialization(), prefix: prefix(config).to_owned(), public: true }
            }
            None => {
                let scheme = if config.tls.is_some() { "https" } else { "http" };
                let url = Url::parse(&format!("{scheme}://{host}/")).ok();
                let origin = url.map_or_else(|| "null".to_owned(), |url| url.origin().ascii_serialization());
                Self { origin, prefix: prefix(config).to_owned(), public: config.public_url.is_none() }
            }
        }
    }

    /// Whether cookies can be kept off plain http.
    pub(crate) fn is_secure(&self) -> bool {
        self.origin.starts_with("https:")
    }

    /// Whether issuers and clients know us under this name: else the browser must come in by the public one.
    pub(crate) fn is_public(&self) -> bool {
        self.public
    }

    /// One of our paths as it stands in pages of this site.
    pub(crate) fn href(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// The whole URL of one of our paths.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{}{path}", self.origin, self.prefix)
    }

    /// Whether a page of this site sent the request. A browser that says nothing of it is not believed, unless
    /// `Sec-Fetch-Site` is enough, as it is for what no form can send.
    pub(crate) fn sent(&self, headers: &HeaderMap, origin_needed: bool) -> bool {
        let mut origins = headers.get_all(ORIGIN).iter();
        let origin = origins.next();
        let origin_fits = origin.map(|origin| origin.to_str().is_ok_and(|origin| *origin == self.origin));
        let fetch = headers.get("sec-fetch-site").map(|site| site.as_bytes() == b"same-origin");
        let one = origins.next().is_none();
        let known = if origin_needed { origin_fits.is_some() } else { origin_fits.or(fetch).is_some() };
        one && known && origin_fits.unwrap_or(true) && fetch.unwrap_or(true)
    }
}

/// What stands in front of our paths: the path of the public URL.
pub(crate) fn prefix(config: &Config) -> &str {
    config.public_url.as_ref().map_or("", |url| url.path().trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: &str) -> Config {
        Config::parse(&format!("database = \"sqlite:///x.db\"\nkek_file = \"kek\"\npki_dir = \"pki\"\n{more}")).unwrap()
    }

    fn site(more: &str, host: &str) -> Site {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        Site::of(&config(more), &Uri::from_static("/signin"), &headers)
    }

    #[test]
    fn the_site_is_the_public_one_or_the_loopback_name() {
        let public = "public_url = \"https://gate.example/base/\"\n";
        for (more, host, url, secure, public) in [
            ("", "127.0.0.1:5010", "http://127.0.0.1:5010/signin", false, true),
            ("", "localhost:5010", "http://localhost:5010/signin", false, true),
            ("tls_cert = \"c\"\ntls_key = \"k\"\n", "[::1]:5010", "https://[::1]:5010/signin", true, true),
            (public, "gate.example", "https://gate.example/base/signin", true, true),
            (public, "GATE.example:443", "https://gate.example/base/signin", true, true),
            (public, "127.0.0.1:5010", "http://127.0.0.1:5010/base/signin", false, false),
        ] {
            let site = site(more, host);
            assert_eq!((site.url("/signin").as_str(), site.is_secure(), site.is_public()), (url, secure, public));
        }
    }

    #[test]
    fn only_a_page_of_this_very_site_may_send_a_form() {
        let site = site("", "127.0.0.1:5010");
        let own = "http://127.0.0.1:5010";
        for (origin, fetch, by_form, by_script) in [
            (Some(own), None, true, true),
            (Some(own), Some("same-origin"), true, true),
            (Some(own), Some("cross-site"), false, false),
            (Some(own), Some("same-site"), false, false),
            (Some(own), Some("none"), false, false),
            (None, None, false, false),
            (None, Some("same-origin"), false, true),
            (None, Some("cross-site"), false, false),
            (Some("null"), None, false, false),
            (Some("null"), Some("same-origin"), false, false),
            (Some("https://evil.example"), None, false, false),
            (Some("http://localhost:5010"), None, false, false),
            (Some("http://127.0.0.1:5011"), None, false, false),
            (Some("https://127.0.0.1:5010"), None, false, false),
        ] {
            let mut headers = HeaderMap::new();
            origin.map(|origin| headers.insert(ORIGIN, origin.parse().unwrap()));
            fetch.map(|fetch| headers.insert("sec-fetch-site", fetch.parse().unwrap()));
            assert_eq!(site.sent(&headers, true), by_form, "{origin:?} {fetch:?}");
            assert_eq!(site.sent(&headers, false), by_script, "{origin:?} {fetch:?}");
        }
        let mut twice = HeaderMap::new();
        twice.append(ORIGIN, own.parse().unwrap());
        twice.append(ORIGIN, "https://evil.example".parse().unwrap());
        assert!(!site.sent(&twice, true));
    }
}
