//! The body of a server's create and change, read field by field.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use model::{ServerName, Transport, TransportError, UpstreamUrl};
use serde_json::Value;
use store::ServerPatch;

use crate::rest::fields::{Change, Fields, Wrong, flag, number, text, texts};
use crate::servers::AddServer;

/// Milliseconds that connecting may take.
const CONNECT: std::ops::RangeInclusive<u64> = 100..=60_000;
/// Milliseconds that the first byte of an answer may take.
const READ: std::ops::RangeInclusive<u64> = 1_000..=600_000;
const CONNECT_DEFAULT: Duration = Duration::from_secs(10);
const READ_DEFAULT: Duration = Duration::from_secs(30);
/// Public headers of one server, and characters of one value.
const MAX_HEADERS: usize = 32;
const MAX_VALUE: usize = 4096;
/// Entries of `disabled_tools`, and characters of one.
const MAX_TOOLS: usize = 2000;
const MAX_TOOL: usize = 256;
const MAX_TITLE: usize = 200;

/// Reads a create; `None` when something is wrong, which `fields` then knows.
pub(crate) fn add_server(fields: &mut Fields) -> Option<AddServer> {
    let name = fields.optional("name", name);
    let title = fields.optional("title", title);
    let url = fields.required("url", url);
    let transport = fields.optional("transport", transport).unwrap_or(Transport::Auto);
    Some(AddServer {
        name,
        title,
        transport,
        headers: headers(fields).or_default(Vec::new).unwrap_or_default(),
        connect_timeout: timeout(fields, "connect_timeout_ms", CONNECT)
            .or_default(|| CONNECT_DEFAULT)
            .unwrap_or(CONNECT_DEFAULT),
        read_timeout: timeout(fields, "read_timeout_ms", READ).or_default(|| READ_DEFAULT).unwrap_or(READ_DEFAULT),
        disabled_tools: fields.optional("disabled_tools", texts(MAX_TOOLS, MAX_TOOL)).unwrap_or_default(),
        trust_hints: fields.optional("trust_hints", flag).unwrap_or(false),
        enabled: fields.optional("enabled", flag).unwrap_or(true),
        skip_validation: fields.optional("skip_validation", flag).unwrap_or(false),
        url: url?,
    })
}

/// What the seed's surface adds: a URL under a title, everything else by default.
pub(crate) fn plain(url: UpstreamUrl, title: Option<String>) -> AddServer {
    AddServer {
        name: None,
        title,
        url,
        transport: Transport::Auto,
        headers: Vec::new(),
        connect_timeout: CONNECT_DEFAULT,
        read_timeout: READ_DEFAULT,
        disabled_tools: Vec::new(),
        trust_hints: false,
        enabled: true,
        skip_validation: false,
    }
}

/// Reads a PATCH: absent keeps, null goes back to the default where there is one.
pub(crate) fn server_patch(fields: &mut Fields) -> ServerPatch {
    for name in ["id", "tenant", "tenant_id", "generation", "created_at", "updated_at"] {
        fields.immutable(name);
    }
    ServerPatch {
        name: fields.replace("name", name),
        title: fields.replace("title", title),
        transport: fields.change("transport", transport).or_default(|| Transport::Auto),
        url: fields.replace("url", url),
        headers: headers(fields).or_default(Vec::new),
        connect_timeout: timeout(fields, "connect_timeout_ms", CONNECT).or_default(|| CONNECT_DEFAULT),
        read_timeout: timeout(fields, "read_timeout_ms", READ).or_default(|| READ_DEFAULT),
        disabled_tools: fields.change("disabled_tools", texts(MAX_TOOLS, MAX_TOOL)).or_default(Vec::new),
        trust_hints: fields.change("trust_hints", flag).or_default(|| false),
        enabled: fields.replace("enabled", flag),
    }
}

fn name(value: Value) -> Result<ServerName, Wrong> {
    let text = text(256)(value)?;
    text.parse().map_err(|error: model::NameError| ("slug", error.to_string()))
}

fn title(value: Value) -> Result<String, Wrong> {
    let title = text(MAX_TITLE)(value)?;
    if title.trim().is_empty() { Err(("required", "must not be empty".to_owned())) } else { Ok(title) }
}

fn url(value: Value) -> Result<UpstreamUrl, Wrong> {
    let Value::String(text) = value else { return Err(("type", "must be a text".to_owned())) };
    upstream_url(&text)
}

/// Parses a URL; a text without a scheme, or an empty one, has the wrong scheme.
pub(crate) fn upstream_url(text: &str) -> Result<UpstreamUrl, Wrong> {
    UpstreamUrl::parse(text).map_err(|error| {
        let schemeless = error == model::UrlError::Invalid && !text.contains("://");
        let error = if schemeless { model::UrlError::Scheme } else { error };
        (error.code(), error.to_string())
    })
}

fn transport(value: Value) -> Result<Transport, Wrong> {
    Transport::parse(&text(64)(value)?).map_err(|error| match error {
        TransportError::Stdio => ("stdio_disabled", error.to_string()),
        TransportError::Unknown => ("transport", error.to_string()),
    })
}

fn timeout(fields: &mut Fields, name: &str, range: std::ops::RangeInclusive<u64>) -> Change<Duration> {
    fields.change(name, |value| number(range)(value).map(Duration::from_millis))
}

/// The public headers, each mistake with the header's path.
fn headers(fields: &mut Fields) -> Change<Vec<(String, String)>> {
    let object = fields.change("headers", |value| match value {
        Value::Object(members) if members.len() > MAX_HEADERS => {
            Err(("too_many", format!("at most {MAX_HEADERS} headers")))
        }
        Value::Object(members) => Ok(members),
        _ => Err(("type", "must be an object of names and texts".to_owned())),
    });
    let members = match object {
        Change::Keep => return Change::Keep,
        Change::Clear => return Change::Clear,
        Change::Set(members) => members,
    };
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in members {
        let twice = headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(&name));
        let read = if twice {
            Err(("header_not_allowed", "stands twice".to_owned()))
        } else {
            header_name(&name).and_then(|()| header_value(value))
        };
        match read {
            Ok(value) => headers.push((name, value)),
            Err(wrong) => {
                let shown: String = name.chars().filter(|ch| !ch.is_control()).take(64).collect();
                fields.wrong(format!("headers.{shown}"), wrong);
            }
        }
    }
    Change::Set(headers)
}

/// Refuses what the gateway itself sets, and what carries a secret: secrets are connections.
fn header_name(name: &str) -> Result<(), Wrong> {
    const OURS: [&str; 15] = [
        "host",
        "content-length",
        "content-type",
        "content-encoding",
        "accept",
        "accept-encoding",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "expect",
        "last-event-id",
        "traceparent",
    ];
    const SECRET: [&str; 7] = ["authorization", "cookie", "x-api-key", "api-key", "apikey", "secret", "token"];
    let not_allowed = |why: &str| Err(("header_not_allowed", why.to_owned()));
    let Ok(parsed) = HeaderName::try_from(name) else { return not_allowed("is not a header name") };
    let name = parsed.as_str();
    match name {
        _ if SECRET.contains(&name)
            || name.starts_with("proxy-")
            || name.ends_with("-secret")
            || name.ends_with("-token") =>
        {
            not_allowed("carries a credential: credentials are connections")
        }
        _ if OURS.contains(&name) || name.starts_with("mcp-") => not_allowed("is set by the gateway"),
        _ => Ok(()),
    }
}

fn header_value(value: Value) -> Result<String, Wrong> {
    let Value::String(value) = value else { return Err(("type", "must be a text".to_owned())) };
    let fits = value.len() <= MAX_VALUE && HeaderValue::from_str(&value).is_ok() && value.is_ascii();
    let trimmed = value.trim() == value;
    if is_masked(&value) {
        return Err((
            "masked_value_rejected",
            "looks masked: send the value itself, or leave the header away".to_owned(),
        ));
    }
    if fits && trimmed {
        Ok(value)
    } else {
        Err(("header_value", format!("must be at most {MAX_VALUE} printable ASCII characters without outer spaces")))
    }
}

/// Whether a value is what somebody shows in the place of a secret, so that a form that was read and
/// sent back doesn't overwrite the real one.
fn is_masked(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    value.contains("***") || value.contains("•••") || value.starts_with("xxxx") || value == "<redacted>"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(body: Value) -> Vec<(String, &'static str)> {
        let mut fields = Fields::of(body).unwrap();
        let _ = add_server(&mut fields);
        fields.finish().err().unwrap_or_default().into_iter().map(|wrong| (wrong.field, wrong.code)).collect()
    }

    #[test]
    fn a_url_alone_is_enough() {
        let mut fields = Fields::of(json!({"url": "https://h.example/mcp"})).unwrap();
        let add = add_server(&mut fields).unwrap();
        assert!(fields.finish().is_ok());
        assert_eq!(add.transport, Transport::Auto);
        assert_eq!((add.connect_timeout, add.read_timeout), (CONNECT_DEFAULT, READ_DEFAULT));
        assert!(add.enabled && !add.skip_validation && !add.trust_hints);
    }

    #[test]
    fn each_bad_field_is_named_with_its_code() {
        let url = "https://h.example/mcp";
        for (body, field, code) in [
            (json!({}), "url", "required"),
            (json!({"url": "file:///etc/passwd"}), "url", "url_scheme"),
            (json!({"url": "gopher://h"}), "url", "url_scheme"),
            (json!({"url": "ws://h"}), "url", "url_scheme"),
            (json!({"url": ""}), "url", "url_scheme"),
            (json!({"url": "https://user:pw@h/"}), "url", "url_userinfo"),
            (json!({"url": "https://h/#f"}), "url", "url_fragment"),
            (json!({"url": format!("https://h/{}", "x".repeat(2048))}), "url", "url_too_long"),
            (json!({"url": url, "transport": "stdio"}), "transport", "stdio_disabled"),
            (json!({"url": url, "transport": "pigeon"}), "transport", "transport"),
            (json!({"url": url, "name": "Upper"}), "name", "slug"),
            (json!({"url": url, "name": "../x"}), "name", "slug"),
            (json!({"url": url, "name": "x".repeat(65)}), "name", "slug"),
            (json!({"url": url, "name": "gatehouse"}), "name", "slug"),
            (json!({"url": url, "headers": {"Host": "x"}}), "headers.Host", "header_not_allowed"),
            (json!({"url": url, "headers": {"Content-Length": "1"}}), "headers.Content-Length", "header_not_allowed"),
            (json!({"url": url, "headers": {"MCP-Session-Id": "1"}}), "headers.MCP-Session-Id", "header_not_allowed"),
            (json!({"url": url, "headers": {":authority": "1"}}), "headers.:authority", "header_not_allowed"),
            (
                json!({"url": url, "headers": {"Authorization": "Bearer x"}}),
                "headers.Authorization",
                "header_not_allowed",
            ),
            (json!({"url": url, "headers": {"Proxy-Foo": "x"}}), "headers.Proxy-Foo", "header_not_allowed"),
            (json!({"url": url, "headers": {"X-A": "1\r\nX-B: 2"}}), "headers.X-A", "header_value"),
            (json!({"url": url, "headers": {"X-A": 1}}), "headers.X-A", "type"),
            (json!({"url": url, "headers": {"X-Api-Key": "1"}}), "headers.X-Api-Key", "header_not_allowed"),
            (json!({"url": url, "headers": {"X-Auth-Token": "1"}}), "headers.X-Auth-Token", "header_not_allowed"),
            (json!({"url": url, "headers": {"X-Our-Secret": "1"}}), "headers.X-Our-Secret", "header_not_allowed"),
            (json!({"url": url, "headers": {"X-A": "abcd***"}}), "headers.X-A", "masked_value_rejected"),
            (json!({"url": url, "headers": {"X-A": "••••9f3a"}}), "headers.X-A", "masked_value_rejected"),
            (json!({"url": url, "headers": {"X-A": "xxxxxxxx"}}), "headers.X-A", "masked_value_rejected"),
            (json!({"url": url, "headers": {"X-A": "<redacted>"}}), "headers.X-A", "masked_value_rejected"),
            (json!({"url": url, "connect_timeout_ms": 99}), "connect_timeout_ms", "range"),
            (json!({"url": url, "read_timeout_ms": 600_001}), "read_timeout_ms", "range"),
            (json!({"url": url, "read_timeout_ms": "1"}), "read_timeout_ms", "type"),
            (json!({"url": url, "tenant_id": "x"}), "tenant_id", "unknown_field"),
        ] {
            assert_eq!(refused(body.clone()), [(field.to_owned(), code)], "{body}");
        }
    }
}
