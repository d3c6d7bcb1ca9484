//! Under which names this process may be spoken to: what keeps a browser from being led here.

use http::HeaderMap;
use http::header::{HOST, ORIGIN};

use crate::fault::Fault;

/// Most bytes of all header fields together.
const HEAD: usize = 32 << 10;

/// The host names that are served; loopback names always are.
#[derive(Debug, Clone, Default)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// Loopback names and these.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().map(|name| name.to_ascii_lowercase()).collect())
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
        match headers.get(ORIGIN) {
            None => Ok(()),
            Some(origin) => {
                let authority =
                    origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
                if authority.is_some_and(|authority| self.serves(authority)) { Ok(()) } else { Err(Fault::Foreign) }
            }
        }
    }

    fn serves(&self, authority: &str) -> bool {
        let name = match authority.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => authority.split(':').next().unwrap_or_default(),
        };
        ["localhost", "127.0.0.1", "::1"].iter().any(|own| name.eq_ignore_ascii_case(own))
            || self.0.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(hosts.check(&headers).is_ok(), good, "{host} {origin:?}");
        }
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
