//! Which header fields may cross the gateway, in either direction.

/// Whether a field of a client's request may be passed to an upstream. Everything that names the
/// caller, the connection or the gateway's own session stays here; trace context and the language
/// wish go on. What is not listed is dropped: a header that nobody thought of leaks nothing.
pub fn passes_upstream(name: &str) -> bool {
    matches!(name, "accept-language" | "traceparent" | "tracestate" | "baggage")
}

/// Whether an admin may set this header on a server's public headers: not those that the gateway
/// or HTTP itself owns, and not those that carry credentials (they are connections).
pub fn may_be_configured(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !matches!(
        name.as_str(),
        "host"
            | "content-length"
            | "content-type"
            | "content-encoding"
            | "transfer-encoding"
            | "connection"
            | "keep-alive"
            | "upgrade"
            | "te"
            | "trailer"
            | "expect"
            | "accept"
            | "accept-encoding"
            | "authorization"
            | "cookie"
            | "last-event-id"
            | "via"
            | "forwarded"
            | "traceparent"
            | "tracestate"
            | "baggage"
    ) && !["mcp-", "proxy-", "x-forwarded-", "gatehouse-"].iter().any(|prefix| name.starts_with(prefix))
        && !name.starts_with(':')
}

/// Whether a text is a header value: visible ASCII, spaces and tabs, no more than 8 KiB.
pub fn is_value(value: &str) -> bool {
    value.len() <= 8192 && value.bytes().all(|byte| byte == b'\t' || (0x20..0x7f).contains(&byte))
}

/// Whether a text is a header name: 1 to 64 token characters.
pub fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_the_caller_stays_here() {
        for name in
            ["authorization", "cookie", "mcp-session-id", "proxy-authorization", "x-forwarded-for", "host", "x-api-key"]
        {
            assert!(!passes_upstream(name), "{name}");
        }
        assert!(passes_upstream("traceparent"));
    }

    #[test]
    fn admins_set_what_is_theirs() {
        for name in
            ["Host", "Authorization", "Mcp-Session-Id", "content-length", "Proxy-Authorization", "Connection", "Cookie"]
        {
            assert!(!may_be_configured(name), "{name}");
        }
        assert!(may_be_configured("X-Team"));
        assert!(!is_value("a\r\nb") && is_value("a b") && !is_name("a b") && is_name("X-Team"));
    }
}
