//! Under which names this process may be spoken to: what keeps a browser from being led here.

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderValue};
use model::BUILT_IN;
use url::Url;

use crate::fault::Fault;
use crate::path::{METADATA, Target};

/// Most bytes of all header fields together.
const HEAD: usize = 32 << 10;

/// The host names that are served; loopback names always are.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    names: Vec<String>,
    /// Scheme and authority under which everybody reaches us, and what stands before our paths there.
    public: Option<(String, String)>,
    /// Whether our own listener speaks TLS.
    secure: bool,
}

/// Where the client of one request reached us, as far as URLs of ours are made of it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Base<'a> {
    /// As is configured.
    Public(&'a str, &'a str),
    /// Scheme and `Host`.
    Asked(&'static str, &'a str),
}

impl Hosts {
    /// Loopback names and these.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let names = names.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { names, ..Self::default() }
    }

    /// Loopback names and the host of `public_url`, if there is one. `secure`: the listener speaks TLS.
    pub fn of(public_url: Option<&Url>, secure: bool) -> Self {
        let public =
            public_url.map(|url| (url.origin().ascii_serialization(), url.path().trim_end_matches('/').to_owned()));
        let names = public_url.and_then(Url::host_str).map(str::to_ascii_lowercase).into_iter().collect();
        Self { names, public, secure }
    }

    /// What URLs of ours begin with, for the client of this request. [`Hosts::check`] has been passed.
    pub(crate) fn base<'a>(&'a self, headers: &'a HeaderMap) -> Base<'a> {
        match &self.public {
            Some((origin, prefix)) => Base::Public(origin, prefix),
            None => {
                let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
                Base::Asked(if self.secure { "https" } else { "http" }, host)
            }
        }
    }

    /// One Host is needed, an Origin is not; each must name us. No head is larger than 32 KiB.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Fault> {
        if headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>() > HEAD {
            return Err(Fault::HeadTooLarge);
        }
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return Err(Fault::HostCount) };
        if !host.to_str().is_ok_and(|host| self.serves(host)) {
            return Err(Fault::Foreign);
        }
        let served = |origin: &HeaderValue| {
            let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
            authority.is_some_and(|(_, authority)| self.serves(authority))
        };
        if headers.get_all(ORIGIN).iter().all(served) { Ok(()) } else { Err(Fault::Foreign) }
    }

    fn serves(&self, authority: &str) -> bool {
        name_of(authority).is_some_and(|name| {
            ["localhost", "127.0.0.1", "[::1]"].iter().any(|own| name.eq_ignore_ascii_case(own))
                || self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
        })
    }
}

/// The name of an authority, an IPv6 address with its brackets; `None` if what follows it is no port. URLs of ours
/// are made of what passes here.
fn name_of(authority: &str) -> Option<&str> {
    let end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (name, port) = authority.split_at_checked(end)?;
    let digits = |port: &str| port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    (port.is_empty() || port.strip_prefix(':').is_some_and(digits)).then_some(name)
}

impl Base<'_> {
    /// The one spelling of an MCP endpoint's URL (RFC 8707): small letters, no usual port, no slash at the end.
    /// `None` for a path that can be no endpoint's.
    pub(crate) fn url(&self, tenant: Option<&str>, target: Target<'_>) -> Option<String> {
        self.spelled("", tenant, target)
    }

    /// Where the metadata of an endpoint is.
    pub(crate) fn metadata_url(&self, tenant: Option<&str>, target: Target<'_>) -> Option<String> {
        self.spelled(METADATA, tenant, target)
    }

    fn spelled(&self, before: &str, tenant: Option<&str>, target: Target<'_>) -> Option<String> {
        let mut url = String::with_capacity(96);
        match self {
            Self::Public(origin, prefix) => url.extend([*origin, *prefix]),
            Self::Asked(scheme, host) => {
                url.extend([scheme, "://", without_usual_port(scheme, host)?]);
                url.make_ascii_lowercase();
            }
        }
        url.push_str(before);
        if let Some(tenant) = tenant {
            url.extend(["/t/", slug(tenant)?]);
        }
        match target {
            Target::Aggregate => (),
            Target::Server(name) => url.extend(["/servers/", slug(name)?]),
            Target::BuiltIn => url.extend(["/servers/", BUILT_IN]),
            Target::Toolset(name) => url.extend(["/toolsets/", slug(name)?]),
        }
        url.push_str("/mcp");
        Some(url)
    }
}

/// What may stand in a URL of ours as it is; whether anybody has this name is not asked.
fn slug(name: &str) -> Option<&str> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (!name.is_empty() && name.len() <= 64 && name.bytes().all(fits)).then_some(name)
}

fn without_usual_port<'a>(scheme: &str, host: &'a str) -> Option<&'a str> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port),
        _ => return (!host.is_empty()).then_some(host),
    };
    match (scheme, port) {
        ("http", "80") | ("https", "443") => Some(name),
        _ => {
            let canonical = port.parse::<u16>().is_ok_and(|number| number.to_string() == port);
            canonical.then_some(host)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_one_url() {
        let server = Target::Server("notes");
        for (scheme, host, tenant, target, url) in [
            ("http", "localhost:5011", None, Target::Aggregate, Some("http://localhost:5011/mcp")),
            ("http", "LocalHost", None, server, Some("http://localhost/servers/notes/mcp")),
            ("http", "[::1]:80", Some("acme"), server, Some("http://[::1]/t/acme/servers/notes/mcp")),
            ("http", "[::1]", None, Target::BuiltIn, Some("http://[::1]/servers/gatehouse/mcp")),
            ("https", "localhost:443", None, Target::Aggregate, Some("https://localhost/mcp")),
            ("http", "localhost:443", None, Target::Aggregate, Some("http://localhost:443/mcp")),
            ("http", "localhost:", None, Target::Aggregate, None),
            ("http", "localhost:05011", None, Target::Aggregate, None),
            ("http", "localhost", Some("a\"b"), Target::Aggregate, None),
            ("http", "localhost", None, Target::Server("%2e"), None),
            ("http", "localhost", None, Target::Server(""), None),
        ] {
            assert_eq!(Base::Asked(scheme, host).url(tenant, target).as_deref(), url, "{host} {target:?}");
        }
        let public = Hosts::of(Some(&"https://Gate.example/mcp-gate/".parse().unwrap()), false);
        let headers = HeaderMap::new();
        let base = public.base(&headers);
        assert_eq!(base.url(None, server).unwrap(), "https://gate.example/mcp-gate/servers/notes/mcp");
        assert_eq!(
            base.metadata_url(None, server).unwrap(),
            "https://gate.example/mcp-gate/.well-known/oauth-protected-resource/servers/notes/mcp"
        );
    }

    #[test]
    fn only_our_names_are_served() {
        let hosts = Hosts::new(["gate.example.com".to_owned()]);
        for (host, origin, good) in [
            ("127.0.0.1:5011", None, true),
            ("[::1]:5011", None, true),
            ("LOCALHOST", Some("http://localhost:3000"), true),
            ("gate.example.com", Some("https://gate.example.com"), true),
            ("evil.example.com", None, false),
            ("127.0.0.1.evil.com", None, false),
            ("127.0.0.1", Some("https://evil.example.com"), false),
            ("127.0.0.1", Some("null"), false),
            ("127.0.0.1:", None, true),
            ("[::1]", Some("http://[::1]:3000"), true),
            ("[::1", None, false),
            ("::1", None, false),
            ("[::1]evil.com", None, false),
            ("[::1]\", error=\"]", None, false),
            ("[::1]:5011]", None, false),
            ("localhost:5011@evil.com", None, false),
            ("localhost:\"", None, false),
            ("localhost:123456", None, false),
            ("localhost.", None, false),
            ("localhost/x", None, false),
            ("localhost", Some("http://localhost:1.evil.com"), false),
            ("localhost", Some("http://[::1]evil.com"), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(hosts.check(&headers).is_ok(), good, "{host} {origin:?}");
            headers.append(ORIGIN, "https://evil.example.com".parse().unwrap());
            assert_eq!(hosts.check(&headers), Err(Fault::Foreign), "no second Origin is overlooked");
        }
        let six = Hosts::of(Some(&"https://[2001:db8::1]/".parse().unwrap()), false);
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "[2001:DB8::1]:443".parse().unwrap());
        assert_eq!(six.check(&headers), Ok(()));
    }

    #[test]
    fn there_is_one_host() {
        let hosts = Hosts::default();
        let mut headers = HeaderMap::new();
        for (count, good) in [Err(Fault::HostCount), Ok(()), Err(Fault::HostCount)].into_iter().enumerate() {
            assert_eq!(hosts.check(&headers), good, "{count} of them");
            headers.append(HOST, "localhost".parse().unwrap());
        }
    }
}
