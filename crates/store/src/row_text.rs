//! Structured values as JSON text in columns; every reader gives `None` for what it can't read.

use model::Limits;
use serde_json::{Value, json};

pub(crate) fn pairs(pairs: &[(String, String)]) -> String {
    json!(pairs).to_string()
}

pub(crate) fn read_pairs(text: &str) -> Option<Vec<(String, String)>> {
    serde_json::from_str(text).ok()
}

pub(crate) fn list(list: &[String]) -> String {
    json!(list).to_string()
}

pub(crate) fn read_list(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

pub(crate) fn limits(limits: &Limits) -> Value {
    // Destructured, so that a new limit can't be forgotten here.
    let Limits {
        key_rate,
        tenant_rate,
        concurrent,
        streams,
        upstream_concurrent,
        servers,
        request_bytes,
        response_bytes,
        call_secs,
    } = *limits;
    json!({
        "key_rate": key_rate,
        "tenant_rate": tenant_rate,
        "concurrent": concurrent,
        "streams": streams,
        "upstream_concurrent": upstream_concurrent,
        "servers": servers,
        "request_bytes": request_bytes,
        "response_bytes": response_bytes,
        "call_secs": call_secs,
    })
}

/// A limit that an older program didn't know has its default.
pub(crate) fn read_limits(text: &str) -> Option<Limits> {
    let Ok(Value::Object(map)) = serde_json::from_str(text) else { return None };
    let read = |name: &str, default: u32| match map.get(name) {
        None => Some(default),
        Some(value) => value.as_u64().and_then(|number| u32::try_from(number).ok()),
    };
    let default = Limits::default();
    Some(Limits {
        key_rate: read("key_rate", default.key_rate)?,
        tenant_rate: read("tenant_rate", default.tenant_rate)?,
        concurrent: read("concurrent", default.concurrent)?,
        streams: read("streams", default.streams)?,
        upstream_concurrent: read("upstream_concurrent", default.upstream_concurrent)?,
        servers: read("servers", default.servers)?,
        request_bytes: read("request_bytes", default.request_bytes)?,
        response_bytes: read("response_bytes", default.response_bytes)?,
        call_secs: read("call_secs", default.call_secs)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_read_back_and_unknown_ones_have_their_default() {
        let generous = Limits::generous();
        assert_eq!(read_limits(&limits(&generous).to_string()), Some(generous));
        assert_eq!(read_limits("{}"), Some(Limits::default()));
        assert_eq!(read_limits(r#"{"servers":3,"new":true}"#).map(|limits| limits.servers), Some(3));
        for bad in ["", "[]", "1", r#"{"servers":-1}"#, r#"{"servers":4294967296}"#, r#"{"servers":"3"}"#] {
            assert_eq!(read_limits(bad), None, "{bad}");
        }
    }

    #[test]
    fn headers_keep_order_repetition_and_every_character() {
        let headers: Vec<(String, String)> = [("b", "1"), ("a", "2"), ("b", "\"\\\u{0}é☃")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        assert_eq!(read_pairs(&pairs(&headers)), Some(headers));
        assert_eq!(read_pairs("{}"), None);
        assert_eq!(read_list("null"), None);
    }
}
