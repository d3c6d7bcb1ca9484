//! The bodies of a server's create and change.

use serde_json::{Map, Value};

use super::auth::with_auth;
use crate::args::{Add, Change, Header, ServerLimits};
use crate::failure::Failure;
use crate::verbs::body::Body;

/// A new server.
pub(super) fn create_body(add: &Add) -> Result<Value, Failure> {
    let body = Body::default()
        .with("name", Some(add.name.as_str()))
        .with("url", Some(add.upstream.as_str()))
        .with("transport", Some(add.transport.as_str()))
        .with("title", add.title.as_deref())
        .with("description", add.description.as_deref())
        .with_all("tags", &add.tags)
        .with("icon", add.icon.as_deref())
        .with("headers", headers(&add.headers)?)
        .with("connect_timeout_ms", add.connect_timeout)
        .with("read_timeout_ms", add.read_timeout)
        .with("retry_count", add.retry_count)
        .with("retry_delay_ms", add.retry_delay)
        .inside("limits", limits(&add.limits))
        .with_all("disabled_tools", &add.disabled_tools)
        .with("trust_hints", add.trust_hints.then_some(true))
        .with("enabled", add.disabled.then_some(false))
        .with("skip_validation", add.skip_validation.then_some(true));
    Ok(with_auth(body, &add.auth)?.value())
}

/// What changes of a server; what isn't named stays.
pub(super) fn change_body(change: &Change) -> Result<Value, Failure> {
    let limits = limits(&change.limits)
        .cleared("concurrent", change.no_concurrent)
        .cleared("response_bytes", change.no_response_bytes)
        .cleared("call_secs", change.no_call_secs);
    let body = Body::default()
        .with("name", change.name.as_deref())
        .with("url", change.upstream.as_deref())
        .with("transport", change.transport.map(|transport| transport.as_str()))
        .with("title", change.title.as_deref())
        .with("description", change.description.as_deref())
        .cleared("description", change.no_description)
        .anew("tags", &change.tags, change.no_tags)
        .with("icon", change.icon.as_deref())
        .cleared("icon", change.no_icon)
        .with("headers", headers(&change.headers)?)
        .with("headers", change.no_headers.then(Map::new))
        .with("connect_timeout_ms", change.connect_timeout)
        .with("read_timeout_ms", change.read_timeout)
        .with("retry_count", change.retry_count)
        .with("retry_delay_ms", change.retry_delay)
        .inside("limits", limits)
        .anew("disabled_tools", &change.disabled_tools, change.no_disabled_tools)
        .with("trust_hints", change.trust_hints)
        .cleared("credential", change.no_credential);
    with_auth(body, &change.auth)?.change()
}

fn limits(limits: &ServerLimits) -> Body {
    Body::default()
        .with("concurrent", limits.concurrent)
        .with("response_bytes", limits.response_bytes)
        .with("call_secs", limits.call_secs)
}

fn headers(headers: &[Header]) -> Result<Option<Map<String, Value>>, Failure> {
    let mut members = Map::new();
    for (at, Header { name, value }) in headers.iter().enumerate() {
        if headers.iter().take(at).any(|before| before.name.eq_ignore_ascii_case(name)) {
            return Err(Failure::Usage(format!("the header `{name}` is there twice")));
        }
        members.insert(name.clone(), value.clone().into());
    }
    Ok(Some(members).filter(|members| !members.is_empty()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::args::{Cli, ServerVerb, Verb};

    fn typed(line: &str) -> ServerVerb {
        match Cli::try_parse_from(line.split_whitespace()).unwrap().verb {
            Verb::Server(verb) => verb,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_was_said_is_sent() {
        for (line, expected) in [
            ("g server add n http://h/mcp", json!({"name": "n", "url": "http://h/mcp", "transport": "auto"})),
            (
                "g server add n http://h --transport http --title T --header A:b --connect-timeout 100 --read-timeout 2000 \
                 --disable-tool x --disable-tool y --trust-hints --disabled --skip-validation",
                json!({"name": "n", "url": "http://h", "transport": "streamable_http", "title": "T", "headers": {"A": "b"},
                    "connect_timeout_ms": 100, "read_timeout_ms": 2000, "disabled_tools": ["x", "y"],
                    "trust_hints": true, "enabled": false, "skip_validation": true}),
            ),
        ] {
            let ServerVerb::Add(add) = typed(line) else { panic!("{line}") };
            assert_eq!(create_body(&add).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn a_change_names_only_what_changes() {
        for (line, expected) in [
            ("g server set n --to http://h/2", json!({"url": "http://h/2"})),
            ("g server set n --name m --trust-hints false", json!({"name": "m", "trust_hints": false})),
            ("g server set n --no-headers --no-disabled-tools", json!({"headers": {}, "disabled_tools": []})),
            (
                "g server set n --no-description --no-tags --no-icon --call-secs 9 --no-concurrent --retry-count 0",
                json!({"description": null, "tags": [], "icon": null, "retry_count": 0,
                    "limits": {"call_secs": 9, "concurrent": null}}),
            ),
        ] {
            let ServerVerb::Set(change) = typed(line) else { panic!("{line}") };
            assert_eq!(change_body(&change).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn a_header_that_is_there_twice_is_wrong_usage() {
        let ServerVerb::Add(add) = typed("g server add n http://h --header X-A:b --header x-a:c") else { panic!() };
        assert_eq!(create_body(&add).unwrap_err().exit_code(), 2);
    }
}
