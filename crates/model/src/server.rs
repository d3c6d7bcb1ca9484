//! A server as it is pushed to proxies and mounted there.

use std::fmt;
use std::time::Duration;

use url::Url;

use crate::digest::Canonical;
use crate::{Binding, Digest, Generation, ServerId, ServerName, TenantId};

/// How an upstream is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Streamable HTTP of 2025-03-26 and later.
    StreamableHttp,
    /// HTTP+SSE of 2024-11-05.
    Sse,
    /// Find out: POST `initialize` first; on 400, 404 or 405 fall back to [`Transport::Sse`].
    Auto,
}

/// An unknown transport word, or one that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No child process of a tenant is ever started.
    #[error("stdio upstreams are not supported: run the server behind HTTP")]
    Stdio,
    /// Not a transport.
    #[error("must be streamable_http, sse or auto")]
    Unknown,
}

impl Transport {
    /// The word for REST, rows and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StreamableHttp => "streamable_http",
            Self::Sse => "sse",
            Self::Auto => "auto",
        }
    }

    /// Reads a transport word and its aliases: `streamable-http`, `streamablehttp`, `http`, `http-streamable`.
    pub fn parse(word: &str) -> Result<Self, TransportError> {
        match word.to_ascii_lowercase().replace('-', "_").as_str() {
            "streamable_http" | "streamablehttp" | "http" | "http_streamable" => Ok(Self::StreamableHttp),
            "sse" => Ok(Self::Sse),
            "auto" => Ok(Self::Auto),
            "stdio" => Err(TransportError::Stdio),
            _ => Err(TransportError::Unknown),
        }
    }
}

/// Why a text is no upstream URL. The `code` of the REST answer stands beside each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// `url_invalid`
    #[error("not a URL")]
    Invalid,
    /// `url_too_long`
    #[error("longer than 2048 bytes")]
    TooLong,
    /// `url_scheme`
    #[error("the scheme must be http or https")]
    Scheme,
    /// `url_userinfo`
    #[error("must not hold a user name or password")]
    UserInfo,
    /// `url_fragment`
    #[error("must not hold a fragment")]
    Fragment,
}

impl UrlError {
    /// The stable code of REST answers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid => "url_invalid",
            Self::TooLong => "url_too_long",
            Self::Scheme => "url_scheme",
            Self::UserInfo => "url_userinfo",
            Self::Fragment => "url_fragment",
        }
    }
}

/// A parsed URL of an upstream: http or https, with a host, no user info, no fragment, at most
/// 2048 bytes. Which addresses may be dialled is decided by `egress`, at the time of dialling.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UpstreamUrl(Url);

impl UpstreamUrl {
    /// Parses and checks the text.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > 2048 {
            return Err(UrlError::TooLong);
        }
        let url = Url::parse(text).map_err(|_| UrlError::Invalid)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(UrlError::Scheme);
        }
        if !url.has_host() {
            return Err(UrlError::Invalid);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(UrlError::Fragment);
        }
        Ok(Self(url))
    }

    /// The parsed URL.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The URL as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Debug for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// What one server may use of its tenant's limits; `None` and anything above is the tenant's limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ServerLimits {
    /// Requests under way at once to the upstream.
    pub concurrent: Option<u32>,
    /// Bytes of one JSON answer.
    pub response_bytes: Option<u32>,
    /// Seconds that one call may take in all.
    pub call_secs: Option<u32>,
}

/// A server as a proxy mounts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSpec {
    /// The record's id.
    pub id: ServerId,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// The slug: unique among the tenant's live servers.
    pub name: ServerName,
    /// Free text for people; on the seed's surface the service name.
    pub title: String,
    /// Raised by every change of the record.
    pub generation: Generation,
    /// How the upstream is spoken to.
    pub transport: Transport,
    /// Where the upstream is.
    pub url: UpstreamUrl,
    /// Public headers sent with every request, in this order; never a secret.
    pub headers: Vec<(String, String)>,
    /// Limit for connecting, 100 ms to 60 s; default 10 s.
    pub connect_timeout: Duration,
    /// Limit for the first byte of an answer, 1 s to 600 s; default 30 s.
    pub read_timeout: Duration,
    /// Tools that are absent from lists and refused by name; the upstream's own names.
    pub disabled_tools: Vec<String>,
    /// Whether read-only and idempotent hints of the upstream's tools are believed (retries only).
    pub trust_hints: bool,
    /// How often a request that is safe to repeat is tried again, 0 to 10; default 0.
    pub retry_count: u32,
    /// The pause before each further try, 0 to 60 s; default 1 s.
    pub retry_delay: Duration,
    /// Its share of the tenant's limits.
    pub limits: ServerLimits,
    /// How it is authenticated to; `None`: it is called without a credential.
    pub binding: Option<Binding>,
    /// Which eras the upstream spoke when it was looked at. A hint: who speaks with it finds out when it is wrong, so it is
    /// no part of the digest.
    pub eras: Eras,
}

/// Which eras of the protocol an upstream speaks; `None` where nobody has found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Eras {
    /// `initialize` opens a session (2024-11-05 to 2025-11-25).
    pub session: Option<bool>,
    /// Each request says everything itself (2026-07-28).
    pub stateless: Option<bool>,
}

impl Eras {
    /// One small number, 0 to 10: two bits for each era.
    pub fn code(self) -> u8 {
        let bits = |spoken| match spoken {
            None => 0,
            Some(true) => 1,
            Some(false) => 2,
        };
        bits(self.session) | bits(self.stateless) << 2
    }

    /// Reads [`Eras::code`]; what is none says nothing.
    pub fn from_code(code: u32) -> Self {
        let spoken = |bits| match bits & 3 {
            1 => Some(true),
            2 => Some(false),
            _ => None,
        };
        Self { session: spoken(code), stateless: spoken(code >> 2) }
    }

    /// The words for the eras that it is known to speak.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        let words = [("session", self.session), ("stateless", self.stateless)];
        words.into_iter().filter(|(_, spoken)| *spoken == Some(true)).map(|(word, _)| word)
    }
}

impl ServerSpec {
    /// The digest under which proxies report this mount.
    pub fn digest(&self) -> Digest {
        let mut canonical = Canonical::new("server");
        canonical.text(&self.id.to_string());
        canonical.text(&self.tenant.to_string());
        canonical.text(self.name.as_str());
        canonical.text(&self.title);
        canonical.number(self.generation.0 as u64);
        canonical.text(self.transport.as_str());
        canonical.text(self.url.as_str());
        canonical.number(self.headers.len() as u64);
        for (name, value) in &self.headers {
            canonical.text(name);
            canonical.text(value);
        }
        canonical.number(self.connect_timeout.as_millis() as u64);
        canonical.number(self.read_timeout.as_millis() as u64);
        canonical.number(self.disabled_tools.len() as u64);
        for tool in &self.disabled_tools {
            canonical.text(tool);
        }
        canonical.number(u64::from(self.trust_hints));
        canonical.number(u64::from(self.retry_count));
        canonical.number(self.retry_delay.as_millis() as u64);
        for limit in [self.limits.concurrent, self.limits.response_bytes, self.limits.call_secs] {
            canonical.number(limit.map_or(u64::MAX, u64::from));
        }
        if let Some(binding) = &self.binding {
            canonical.text("binding");
            binding.write(&mut canonical);
        }
        canonical.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eras_are_one_small_number() {
        for session in [None, Some(true), Some(false)] {
            for stateless in [None, Some(true), Some(false)] {
                let eras = Eras { session, stateless };
                assert_eq!(Eras::from_code(eras.code().into()), eras);
            }
        }
        assert_eq!(Eras::from_code(u32::MAX), Eras::default(), "what is none says nothing");
        let eras = Eras { session: Some(false), stateless: Some(true) };
        assert_eq!(eras.words().collect::<Vec<_>>(), ["stateless"]);
    }
}
