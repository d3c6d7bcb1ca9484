//! The members of `_meta` that 2026-07-28 reserves for what a session says once: put into a request for an upstream
//! of that revision, and taken out of one for an upstream that has sessions.

use crate::object::{Change, Object};

/// The revision of a request.
pub const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// What the client can be asked.
pub const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// Who the client is.
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// From which level on log messages are wanted.
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// Which `subscriptions/listen` a notification belongs to.
pub const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";
/// Who answers.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// Those of requests.
const OF_REQUESTS: [&str; 4] = [VERSION, CAPABILITIES, CLIENT_INFO, LOG_LEVEL];
/// Those of the params with which a client answers `input_required`.
const OF_ROUNDS: [&str; 2] = ["inputResponses", "requestState"];

/// What a request says of the client, as raw JSON.
#[derive(Debug, Clone, Copy)]
pub struct Reserved<'a> {
    /// The revision, without quotes.
    pub version: &'a str,
    /// An object.
    pub capabilities: &'a [u8],
    /// An object.
    pub client_info: &'a [u8],
    /// A level, with its quotes.
    pub log_level: Option<&'a [u8]>,
}

/// The params (a raw object; empty if there are none) with these members in `_meta`, in place of whatever stood there
/// under their names. Everything else stays. `None` if the params are no object.
pub fn with_reserved(params: &[u8], reserved: &Reserved<'_>) -> Option<Vec<u8>> {
    let params = Object::read(if params.is_empty() { b"{}" } else { params })?;
    let mut version = Vec::with_capacity(reserved.version.len() + 2);
    crate::write::string(&mut version, reserved.version);
    let mut added: Vec<(&str, &[u8])> =
        vec![(VERSION, &version), (CAPABILITIES, reserved.capabilities), (CLIENT_INFO, reserved.client_info)];
    added.extend(reserved.log_level.map(|level| (LOG_LEVEL, level)));
    let meta = params.get("_meta").and_then(Object::read);
    let meta = meta.unwrap_or(Object::read(b"{}")?).edited(|name, _| dropped(&OF_REQUESTS, name), &added);
    Some(params.edited(|name, _| put(name == "_meta", &meta), &[("_meta", &meta)]))
}

/// The params without these members, and without answers to questions that no session ever asks this way. A `_meta` in
/// which nothing is left goes as well. `None` if the params are no object.
pub fn without_reserved(params: &[u8]) -> Option<Vec<u8>> {
    let params = Object::read(params)?;
    let meta = params.get("_meta").and_then(Object::read);
    let meta = meta.map(|meta| meta.edited(|name, _| dropped(&OF_REQUESTS, name), &[]));
    let change = |name: &str, _: &[u8]| match &meta {
        Some(meta) if name == "_meta" && meta == b"{}" => Change::Drop,
        Some(meta) if name == "_meta" => Change::Put(meta.clone()),
        _ => dropped(&OF_ROUNDS, name),
    };
    Some(params.edited(change, &[]))
}

/// The params of a retry: with the answers to the questions, if there were any, and with the state exactly as it was
/// given, if it was.
pub fn answering(params: &[u8], responses: Option<&[u8]>, state: Option<&[u8]>) -> Option<Vec<u8>> {
    let params = Object::read(params)?;
    let added: Vec<(&str, &[u8])> = [("inputResponses", responses), ("requestState", state)]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect();
    Some(params.edited(|name, _| dropped(&OF_ROUNDS, name), &added))
}

/// The params of a notification of `subscriptions/listen` without what only its stream knows.
pub fn without_subscription(params: &[u8]) -> Option<Vec<u8>> {
    let params = Object::read(params)?;
    let meta = params.get("_meta").and_then(Object::read)?.edited(|name, _| dropped(&[SUBSCRIPTION], name), &[]);
    let change = |name: &str, _: &[u8]| match name {
        "_meta" if meta == b"{}" => Change::Drop,
        "_meta" => Change::Put(meta.clone()),
        _ => Change::Keep,
    };
    Some(params.edited(change, &[]))
}

fn dropped(names: &[&str], name: &str) -> Change {
    if names.contains(&name) { Change::Drop } else { Change::Keep }
}

fn put(wanted: bool, value: &[u8]) -> Change {
    if wanted { Change::Put(value.to_vec()) } else { Change::Keep }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(params: &str, log_level: Option<&[u8]>) -> Option<String> {
        let reserved = Reserved {
            version: "2026-07-28",
            capabilities: b"{\"roots\":{}}",
            client_info: b"{\"name\":\"g\"}",
            log_level,
        };
        with_reserved(params.as_bytes(), &reserved).map(|out| String::from_utf8(out).unwrap())
    }

    const OWN: &str = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"roots":{}},"io.modelcontextprotocol/clientInfo":{"name":"g"}"#;

    #[test]
    fn a_request_says_what_its_session_said() {
        for (params, expected) in [
            ("", format!(r#"{{"_meta":{{{OWN}}}}}"#)),
            ("{}", format!(r#"{{"_meta":{{{OWN}}}}}"#)),
            (r#"{"name":"a"}"#, format!(r#"{{"name":"a","_meta":{{{OWN}}}}}"#)),
            (
                r#"{"_meta":{"progressToken": 7,"vendor/x":[1]},"name":"a"}"#,
                format!(r#"{{"_meta":{{"progressToken": 7,"vendor/x":[1],{OWN}}},"name":"a"}}"#),
            ),
            (
                r#"{"_meta":{"io.modelcontextprotocol/clientInfo":{"name":"liar"},"io.modelcontextprotocol/logLevel":"debug"}}"#,
                format!(r#"{{"_meta":{{{OWN}}}}}"#),
            ),
            // What is no object can't be kept.
            (r#"{"_meta":null}"#, format!(r#"{{"_meta":{{{OWN}}}}}"#)),
        ] {
            assert_eq!(with(params, None).as_deref(), Some(&*expected), "{params}");
        }
        let level = format!(r#"{{"_meta":{{{OWN},"io.modelcontextprotocol/logLevel":"info"}}}}"#);
        assert_eq!(with("{}", Some(b"\"info\"")), Some(level));
        assert_eq!(with("[]", None), None);
    }

    #[test]
    fn a_session_is_told_nothing_that_it_knows() {
        for (params, expected) in [
            ("{}", "{}"),
            (r#"{"name":"a","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#, r#"{"name":"a"}"#),
            (
                r#"{"_meta":{"io.modelcontextprotocol/clientCapabilities":{},"progressToken":"t","io.modelcontextprotocol/related-task":{"taskId":"x"}},"x":{"_meta":1}}"#,
                r#"{"_meta":{"progressToken":"t","io.modelcontextprotocol/related-task":{"taskId":"x"}},"x":{"_meta":1}}"#,
            ),
            (r#"{"name":"a","inputResponses":{"k":{}},"requestState":"s"}"#, r#"{"name":"a"}"#),
        ] {
            let out = without_reserved(params.as_bytes()).map(|out| String::from_utf8(out).unwrap());
            assert_eq!(out.as_deref(), Some(expected), "{params}");
        }
    }

    #[test]
    fn a_retry_carries_the_state_as_it_was_given() {
        let state = br#""a\u0062\/ ""#;
        let out = answering(br#"{"name":"a","requestState":"old"}"#, Some(b"{\"k\":{}}"), Some(state)).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"name":"a","inputResponses":{"k":{}},"requestState":"a\u0062\/ "}"#
        );
        let out = answering(br#"{"name":"a","inputResponses":{"old":1}}"#, None, Some(b"\"s\"")).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"name":"a","requestState":"s"}"#);
    }

    #[test]
    fn a_notification_loses_its_subscription_alone() {
        for (params, expected) in [
            (r#"{"uri":"a","_meta":{"io.modelcontextprotocol/subscriptionId":1}}"#, Some(r#"{"uri":"a"}"#)),
            (r#"{"_meta":{"io.modelcontextprotocol/subscriptionId":"1","x":2}}"#, Some(r#"{"_meta":{"x":2}}"#)),
            (r#"{"uri":"a"}"#, None),
        ] {
            let out = without_subscription(params.as_bytes()).map(|out| String::from_utf8(out).unwrap());
            assert_eq!(out.as_deref(), expected, "{params}");
        }
    }
}
