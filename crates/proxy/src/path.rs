//! What the path of a URL means.

use model::BUILT_IN;

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path<'a> {
    /// `/livez`, or `/readyz` if true.
    Health(bool),
    /// MCP; `tenant` if the path names one.
    Mcp { tenant: Option<&'a str>, target: Target<'a> },
    /// The stream of HTTP+SSE (2024-11-05) at an endpoint.
    Stream { tenant: Option<&'a str>, target: Target<'a> },
    /// Where the clients of such a stream post.
    Posts { tenant: Option<&'a str>, target: Target<'a> },
    /// What a client must know to sign in at the MCP endpoint after it (RFC 9728).
    Metadata { tenant: Option<&'a str>, target: Target<'a> },
    /// One of the seed's four internal calls.
    Internal(Internal),
    /// Nothing.
    Other,
}

/// Which MCP endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// Everything that the principal may use.
    Aggregate,
    /// One server.
    Server(&'a str),
    /// The built-in service.
    BuiltIn,
    /// One toolset.
    Toolset(&'a str),
}

/// The seed's internal calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Internal {
    /// Is a URL reachable?
    Healthcheck,
    /// What is mounted?
    List,
    /// Mount in memory.
    Add,
    /// Unmount what was mounted in memory.
    Remove,
}

/// Stands before the path of an endpoint whose metadata is asked for.
pub(crate) const METADATA: &str = "/.well-known/oauth-protected-resource";

impl<'a> Path<'a> {
    /// A trailing slash makes no difference.
    pub(crate) fn parse(path: &'a str) -> Self {
        let path = path.strip_suffix('/').unwrap_or(path);
        match path {
            "/mcp" => return Self::Mcp { tenant: None, target: Target::Aggregate },
            "/livez" => return Self::Health(false),
            "/readyz" => return Self::Health(true),
            "/healthcheck" => return Self::Internal(Internal::Healthcheck),
            "/list-remote-proxies" => return Self::Internal(Internal::List),
            "/add-remote-proxies" => return Self::Internal(Internal::Add),
            "/remote-proxies" => return Self::Internal(Internal::Remove),
            _ => (),
        }
        if let Some(rest) = path.strip_prefix(METADATA) {
            return match rest.starts_with('/').then(|| Self::mcp(rest)) {
                Some(Self::Mcp { tenant, target }) => Self::Metadata { tenant, target },
                _ => Self::Other,
            };
        }
        Self::mcp(path)
    }

    fn mcp(path: &'a str) -> Self {
        let (tenant, rest) = match path.strip_prefix("/t/").and_then(|path| path.split_once('/')) {
            Some((tenant, rest)) => (Some(tenant), rest),
            None => (None, path.strip_prefix('/').unwrap_or(path)),
        };
        let kinds = ["mcp", "sse", "message"];
        let Some((kind, place)) = kinds.into_iter().find_map(|kind| Some((kind, rest.strip_suffix(kind)?))) else {
            return Self::Other;
        };
        let target = match place.strip_suffix('/').map(|place| place.split_once('/')) {
            None if place.is_empty() => Target::Aggregate,
            Some(Some(("servers", BUILT_IN))) => Target::BuiltIn,
            Some(Some(("servers", name))) if !name.contains('/') => Target::Server(name),
            Some(Some(("toolsets", name))) if !name.contains('/') => Target::Toolset(name),
            _ => return Self::Other,
        };
        match kind {
            "sse" => Self::Stream { tenant, target },
            "message" => Self::Posts { tenant, target },
            _ => Self::Mcp { tenant, target },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_mean_what_the_table_says() {
        let mcp = |tenant, target| Path::Mcp { tenant, target };
        let metadata = |tenant, target| Path::Metadata { tenant, target };
        for (path, meaning) in [
            ("/mcp", mcp(None, Target::Aggregate)),
            ("/mcp/", mcp(None, Target::Aggregate)),
            ("/servers/notes/mcp", mcp(None, Target::Server("notes"))),
            ("/servers/notes/mcp/", mcp(None, Target::Server("notes"))),
            ("/servers/gatehouse/mcp", mcp(None, Target::BuiltIn)),
            ("/toolsets/support/mcp", mcp(None, Target::Toolset("support"))),
            ("/t/acme/toolsets/support/mcp", mcp(Some("acme"), Target::Toolset("support"))),
            ("/sse", Path::Stream { tenant: None, target: Target::Aggregate }),
            ("/t/acme/sse", Path::Stream { tenant: Some("acme"), target: Target::Aggregate }),
            ("/servers/notes/sse/", Path::Stream { tenant: None, target: Target::Server("notes") }),
            ("/servers/gatehouse/sse", Path::Stream { tenant: None, target: Target::BuiltIn }),
            ("/message", Path::Posts { tenant: None, target: Target::Aggregate }),
            ("/toolsets/support/message", Path::Posts { tenant: None, target: Target::Toolset("support") }),
            ("/.well-known/oauth-protected-resource/sse", Path::Other),
            ("/xsse", Path::Other),
            ("/messages", Path::Other),
            ("/xmcp", Path::Other),
            ("/servers/mcp", Path::Other),
            ("/elsewhere/notes/mcp", Path::Other),
            ("/t/acme/mcp", mcp(Some("acme"), Target::Aggregate)),
            ("/t/acme/servers/notes/mcp", mcp(Some("acme"), Target::Server("notes"))),
            ("/livez", Path::Health(false)),
            ("/readyz/", Path::Health(true)),
            ("/remote-proxies", Path::Internal(Internal::Remove)),
            ("/.well-known/oauth-protected-resource/mcp", metadata(None, Target::Aggregate)),
            ("/.well-known/oauth-protected-resource/servers/notes/mcp", metadata(None, Target::Server("notes"))),
            ("/.well-known/oauth-protected-resource/t/acme/mcp", metadata(Some("acme"), Target::Aggregate)),
            ("/.well-known/oauth-protected-resource", Path::Other),
            ("/.well-known/oauth-protected-resourcemcp", Path::Other),
            ("/.well-known/oauth-protected-resource/livez", Path::Other),
            ("/.well-known/oauth-protected-resource/healthcheck", Path::Other),
            ("/.well-known/oauth-authorization-server", Path::Other),
            ("/t/acme/.well-known/oauth-protected-resource/mcp", Path::Other),
            ("/", Path::Other),
            ("", Path::Other),
            ("/t/acme", Path::Other),
            ("/t//mcp", mcp(Some(""), Target::Aggregate)),
            ("/servers//mcp", mcp(None, Target::Server(""))),
            ("/servers/a/b/mcp", Path::Other),
            ("/mcp/x", Path::Other),
        ] {
            assert_eq!(Path::parse(path), meaning, "{path}");
        }
    }
}
