//! The public headers of a server: never a secret, never one that the gateway itself sets.

use axum::http::{HeaderName, HeaderValue};
use serde_json::Value;

use crate::auth::is_masked;
use crate::rest::code::Code;
use crate::rest::fields::{Change, Fields, Wrong};

/// Public headers of one server, and characters of one value.
const MAX_HEADERS: usize = 32;
const MAX_VALUE: usize = 4096;

/// The public headers, each mistake with the header's path.
pub(super) fn headers(fields: &mut Fields) -> Change<Vec<(String, String)>> {
    let object = fields.change("headers", |value| match value {
        Value::Object(members) if members.len() > MAX_HEADERS => {
            Err((Code::TooMany, format!("at most {MAX_HEADERS} headers")))
        }
        Value::Object(members) => Ok(members),
        _ => Err((Code::Type, "must be an object of names and texts".to_owned())),
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
            Err((Code::HeaderNotAllowed, "stands twice".to_owned()))
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
    let not_allowed = |why: &str| Err((Code::HeaderNotAllowed, why.to_owned()));
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
    let Value::String(value) = value else { return Err((Code::Type, "must be a text".to_owned())) };
    let fits = value.len() <= MAX_VALUE && HeaderValue::from_str(&value).is_ok() && value.is_ascii();
    let trimmed = value.trim() == value;
    if is_masked(&value) {
        return Err((
            Code::MaskedValueRejected,
            "looks masked: send the value itself, or leave the header away".to_owned(),
        ));
    }
    if fits && trimmed {
        Ok(value)
    } else {
        Err((Code::HeaderValue, format!("must be at most {MAX_VALUE} printable ASCII characters without outer spaces")))
    }
}
