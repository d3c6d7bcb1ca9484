//! What a token is asked for: one of our MCP URLs, and one of this tenant (RFC 8707).

use model::{BUILT_IN, DEFAULT_TENANT, ServerName, TenantName};
use url::Url;

/// Bytes that one may have.
const MAX: usize = 2048;

/// The URL of an MCP endpoint that a token is for. Which hosts are ours, control does not know: a proxy
/// accepts a token only if this is one of its own URLs, and the consent page shows the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resource(Url);

impl Resource {
    /// Reads the parameter `resource`; `None` unless it is an absolute URL whose path is an MCP path of this tenant.
    /// Paths that name no tenant are those of the tenant `default`: with a token only its tenant could come in
    /// there, so another tenant's server must not ask for one.
    pub(crate) fn parse(text: &str, tenant: &TenantName) -> Option<Self> {
        let fits = text.len() <= MAX && text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains(['#', '\\']);
        let mut url = Url::parse(text).ok().filter(|_| fits)?;
        let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        if !plain || !url.has_host() || !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        // The proxy takes its paths with a slash at the end too; its canonical URL has none.
        let path = url.path().strip_suffix('/').unwrap_or(url.path()).to_owned();
        if !is_of(&path, tenant.as_str()) {
            return None;
        }
        url.set_path(&path);
        Some(Self(url))
    }

    /// In one spelling: the claim `aud` of tokens.
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Scheme, host and port, for a person to look at.
    pub(crate) fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// The one server that it is about; `None` for all of the tenant's.
    pub(crate) fn server(&self) -> Option<&str> {
        self.0.path().strip_suffix("/mcp")?.rsplit_once("servers/").map(|(_, name)| name)
    }
}

fn is_of(path: &str, tenant: &str) -> bool {
    let rest = match path.strip_prefix("/t/").and_then(|rest| rest.split_once('/')) {
        Some((named, rest)) if named == tenant => rest,
        Some(_) => return false,
        None if tenant == DEFAULT_TENANT => path.strip_prefix('/').unwrap_or(path),
        None => return false,
    };
    let server = rest.strip_prefix("servers/").and_then(|rest| rest.strip_suffix("/mcp"));
    rest == "mcp" || server.is_some_and(|name| name == BUILT_IN || name.parse::<ServerName>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str, tenant: &str) -> Option<String> {
        Resource::parse(text, &tenant.parse().unwrap()).map(|resource| resource.as_str().to_owned())
    }

    #[test]
    fn a_resource_is_an_mcp_url_of_the_tenant() {
        for (text, tenant, fits) in [
            ("http://localhost:5011/mcp", "default", true),
            ("http://localhost:5011/servers/notes/mcp", "default", true),
            ("https://mcp.example/servers/gatehouse/mcp", "default", true),
            ("https://mcp.example/t/default/mcp", "default", true),
            ("https://mcp.example/t/acme/mcp", "acme", true),
            ("https://mcp.example/t/acme/servers/notes/mcp", "acme", true),
            ("https://mcp.example/mcp", "acme", false),
            ("https://mcp.example/servers/notes/mcp", "acme", false),
            ("https://mcp.example/t/other/mcp", "acme", false),
            ("https://mcp.example/t/acme/mcp", "default", false),
            ("https://mcp.example/t/acme/../default/mcp", "acme", false),
            ("https://mcp.example/t/acme/%2e%2e/other/mcp", "acme", false),
            ("https://mcp.example/t/acme%2fmcp", "acme", false),
            ("https://mcp.example/T/acme/mcp", "acme", false),
            ("https://mcp.example/", "default", false),
            ("https://mcp.example", "default", false),
            ("https://mcp.example/api/v1/servers", "default", false),
            ("https://mcp.example/servers/UPPER/mcp", "default", false),
            ("https://mcp.example/servers//mcp", "default", false),
            ("https://mcp.example/servers/a/b/mcp", "default", false),
            ("https://mcp.example/mcp#x", "default", false),
            ("https://mcp.example/mcp#", "default", false),
            ("https://mcp.example/mcp?x=1", "default", false),
            ("https://user@mcp.example/mcp", "default", false),
            ("https://mcp.example\\mcp", "default", false),
            ("ftp://mcp.example/mcp", "default", false),
            ("urn:gatehouse:tenant:x", "default", false),
            ("/mcp", "default", false),
            ("", "default", false),
        ] {
            assert_eq!(parsed(text, tenant).is_some(), fits, "{text} {tenant}");
        }
    }

    #[test]
    fn it_has_one_spelling() {
        for (text, canonical) in [
            ("HTTPS://MCP.Example:443/mcp", "https://mcp.example/mcp"),
            ("http://localhost:5011/mcp/", "http://localhost:5011/mcp"),
            ("http://127.1:5011/mcp", "http://127.0.0.1:5011/mcp"),
        ] {
            assert_eq!(parsed(text, "default").as_deref(), Some(canonical));
        }
    }

    proptest::proptest! {
        /// However it is written: what a proxy is shown as `aud` is a path of this tenant, and reads as itself.
        #[test]
        fn no_spelling_leads_to_another_tenant(path in "(/|t|acme|other|\\.\\.|%2e|%2f|servers|notes|mcp|\\\\|;|#|\\?){0,12}") {
            let tenant = "acme".parse().unwrap();
            if let Some(resource) = Resource::parse(&format!("https://mcp.example/{path}"), &tenant) {
                let text = resource.as_str();
                assert!(text.starts_with("https://mcp.example/t/acme/") && text.ends_with("/mcp"), "{path}: {text}");
                assert!(!text.contains("other/mcp") || text.contains("servers/other/mcp"), "{path}: {text}");
                assert_eq!(Resource::parse(text, &tenant), Some(resource));
            }
        }
    }

    #[test]
    fn it_says_what_it_is_about() {
        let resource = |text| Resource::parse(text, &"default".parse().unwrap()).unwrap();
        assert_eq!(resource("http://localhost:5011/servers/notes/mcp").server(), Some("notes"));
        assert_eq!(resource("http://localhost:5011/t/default/servers/notes/mcp").server(), Some("notes"));
        assert_eq!(resource("http://localhost:5011/mcp").server(), None);
        assert_eq!(resource("https://mcp.example/mcp").origin(), "https://mcp.example");
    }
}
