//! Header lines, ready to be sent.
//!
//! Their bytes are wiped when the last request that bears them is over. What stays elsewhere for a while is beyond our
//! reach: hyper's and rustls's write buffers until they are reused, the message that control sent, and of query
//! parameters and client certificates the copies that a request's URI and a TLS configuration make.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use egress::Upstream;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use model::{Secret, ServerId, TenantId};
use tokio::time::Instant;
use wire::HeaderLines;
use zeroize::Zeroizing;

use super::Part;
use super::cache::Key;
use crate::timers::scaled;

/// Most bytes of all header lines and query parameters of one request.
const BYTES: usize = 32 << 10;
/// What one takes beside its texts.
const APIECE: usize = 512;

/// What a connection becomes for requests.
pub(crate) struct Lines {
    pub(crate) tenant: TenantId,
    pub(crate) server: ServerId,
    pub(crate) part: Part,
    /// SHA-256 of the caller's token that they were made of, if they were.
    pub(super) token: Option<[u8; 32]>,
    /// Of the connection; 0 without one.
    pub(crate) token_generation: i64,
    /// Sensitive values.
    headers: HeaderMap,
    /// Encoded, without the question mark.
    query: Option<Zeroizing<String>>,
    /// Where a client certificate is shown.
    pub(super) upstream: Option<Arc<Upstream>>,
    /// When to ask again in the background.
    pub(super) fresh: Instant,
    /// Until when they may be used while control answers.
    pub(super) good: Instant,
    /// Until when they may be used while control does not answer.
    pub(super) stale: Instant,
    /// An upstream has taken them.
    accepted: AtomicBool,
    /// The connection, or the server, is gone or begins anew: no request may bear them any more.
    withdrawn: AtomicBool,
}

/// Lines that no request can bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unusable(pub(crate) &'static str);

/// Owns bytes that are wiped when nobody looks at them any more.
struct Wiped(Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Lines {
    /// Lines that have just come for `key`. `upstream` shows their certificate, if they have one.
    pub(super) fn new(lines: &HeaderLines, key: &Key, upstream: Option<Arc<Upstream>>) -> Result<Self, Unusable> {
        let texts = lines.headers.iter().chain(&lines.query);
        if texts.map(|(name, value)| name.len() + value.expose().len()).sum::<usize>() > BYTES {
            return Err(Unusable("they are larger than 32 KiB"));
        }
        let mut headers = HeaderMap::with_capacity(lines.headers.len());
        for (name, secret) in &lines.headers {
            let name: HeaderName = name.parse().map_err(|_| Unusable("a header's name is malformed"))?;
            if !may_be_borne(name.as_str()) {
                return Err(Unusable("a header belongs to the gateway or to HTTP itself"));
            }
            headers.append(name, value(secret)?);
        }
        let now = Instant::now();
        let until = |span| now.checked_add(span).unwrap_or(now);
        Ok(Self {
            tenant: key.tenant,
            server: key.server,
            part: key.part,
            token: key.token,
            token_generation: lines.token_generation,
            headers,
            query: query(&lines.query),
            upstream,
            fresh: until(scaled(lines.fresh)),
            good: until(lines.good),
            stale: until(lines.stale),
            accepted: AtomicBool::new(false),
            withdrawn: AtomicBool::new(false),
        })
    }

    /// Puts them into the head of a request, before whatever stands there under the same names.
    pub(crate) fn put(&self, headers: &mut HeaderMap) {
        for name in self.headers.keys() {
            headers.remove(name);
        }
        for (name, value) in &self.headers {
            headers.append(name.clone(), value.clone());
        }
    }

    /// The same path with their query parameters.
    pub(crate) fn path(&self, path: Uri) -> Uri {
        let Some(query) = &self.query else { return path };
        let joint = if path.query().is_some() { '&' } else { '?' };
        let whole = Zeroizing::new(format!("{path}{joint}{}", query.as_str()));
        whole.as_str().parse().unwrap_or(path)
    }

    /// Where requests that bear them go out, if not where all others do.
    pub(crate) fn upstream(&self) -> Option<&Upstream> {
        self.upstream.as_deref()
    }

    /// Whether an upstream that refused `failed` may take these.
    pub(super) fn differ_from(&self, failed: &Self) -> bool {
        match self.part.connection {
            Some(_) if self.token.is_none() => self.token_generation > failed.token_generation,
            // Nothing counts these: another content is another token.
            _ => {
                let query =
                    |lines: &Self| lines.query.as_ref().map(|query| query.as_str().to_owned()).map(Zeroizing::new);
                self.headers != failed.headers || query(self) != query(failed)
            }
        }
    }

    /// From now on no request may bear them.
    pub(super) fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::Release);
    }

    /// Whether no request may bear them any more.
    pub(crate) fn are_withdrawn(&self) -> bool {
        self.withdrawn.load(Ordering::Acquire)
    }

    /// Whether this is the first time that an upstream takes them.
    pub(super) fn is_first_success(&self) -> bool {
        !self.accepted.load(Ordering::Relaxed) && !self.accepted.swap(true, Ordering::Relaxed)
    }

    /// An upstream refused them: the next that takes them is news.
    pub(super) fn was_refused(&self) {
        self.accepted.store(false, Ordering::Relaxed);
    }

    /// How much memory they take, more or less.
    pub(super) fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        APIECE + headers + self.query.as_ref().map_or(0, |query| query.len())
    }
}

/// What may carry a credential: what an admin may set, and the two that carry nothing else.
fn may_be_borne(name: &str) -> bool {
    matches!(name, "authorization" | "cookie") || mcp::headers::may_be_configured(name)
}

fn value(secret: &Secret) -> Result<HeaderValue, Unusable> {
    let wiped = Bytes::from_owner(Wiped(Zeroizing::new(secret.expose().as_bytes().to_vec())));
    let mut value = HeaderValue::from_maybe_shared(wiped).map_err(|_| Unusable("a header's value can't be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn query(pairs: &[(String, Secret)]) -> Option<Zeroizing<String>> {
    if pairs.is_empty() {
        return None;
    }
    // Room for all of it encoded: what grows leaves copies behind.
    let room: usize = pairs.iter().map(|(name, value)| 3 * (name.len() + value.expose().len()) + 2).sum();
    let mut query = url::form_urlencoded::Serializer::new(String::with_capacity(room));
    for (name, value) in pairs {
        query.append_pair(name, value.expose());
    }
    Some(Zeroizing::new(query.finish()))
}

#[cfg(test)]
impl Lines {
    /// Lines with one header, of a connection's generation.
    pub(crate) fn for_test(part: Part, token_generation: i64, value: &str) -> Self {
        let lines = HeaderLines {
            credential_version: part.credential_version,
            token_generation,
            headers: vec![("Authorization".to_owned(), Secret::new(value.to_owned()))],
            query: vec![],
            certificate: None,
            fresh: std::time::Duration::from_secs(60),
            good: std::time::Duration::from_secs(900),
            stale: std::time::Duration::from_secs(3600),
        };
        Self::new(&lines, &Key::for_test(part), None).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn lines(headers: &[(&str, &str)], query: &[(&str, &str)]) -> Result<Lines, Unusable> {
        let pairs = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), Secret::new((*value).to_owned()))).collect()
        };
        let lines = HeaderLines {
            credential_version: 1,
            token_generation: 1,
            headers: pairs(headers),
            query: pairs(query),
            certificate: None,
            fresh: Duration::ZERO,
            good: Duration::MAX,
            stale: Duration::ZERO,
        };
        Lines::new(&lines, &Key::for_test(Part::default()), None)
    }

    #[test]
    fn lines_take_the_place_of_what_stands_under_their_names() {
        let lines = lines(&[("X-Key", "one"), ("x-key", "two"), ("Authorization", "Bearer t")], &[]).unwrap();
        let mut headers = HeaderMap::new();
        headers.append("x-key", "passed".parse().unwrap());
        headers.append("x-team", "public".parse().unwrap());
        lines.put(&mut headers);
        let keys: Vec<_> = headers.get_all("x-key").iter().collect();
        assert_eq!(keys, ["one", "two"]);
        assert_eq!(
            (&headers["authorization"], &headers["x-team"]),
            (&"Bearer t".parse().unwrap(), &"public".parse().unwrap())
        );
        assert!(headers["authorization"].is_sensitive());
        assert!(!format!("{headers:?}").contains("Bearer t"));
    }

    #[test]
    fn query_parameters_are_added_to_what_is_there() {
        let lines = lines(&[], &[("key", "a b&c"), ("x", "é")]).unwrap();
        for (path, whole) in [("/mcp", "/mcp?key=a+b%26c&x=%C3%A9"), ("/mcp?a=1", "/mcp?a=1&key=a+b%26c&x=%C3%A9")] {
            assert_eq!(lines.path(path.parse().unwrap()), whole);
        }
    }

    #[test]
    fn lines_that_belong_to_somebody_else_are_refused() {
        for (name, value) in [
            ("host", "x"),
            ("Content-Length", "1"),
            ("Mcp-Session-Id", "x"),
            ("Proxy-Authorization", "x"),
            ("a b", "x"),
            ("x", "a\r\nb"),
            ("x", "a\nb"),
        ] {
            assert!(lines(&[(name, value)], &[]).is_err(), "{name}: {value:?}");
        }
        assert!(lines(&[("x", &"v".repeat(BYTES))], &[]).is_err());
    }
}
