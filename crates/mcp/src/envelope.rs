//! The strict envelope scan: what a gateway must read of a JSON-RPC message, as places in its bytes.

use std::borrow::Cow;

use crate::json::{JsonError, Scanner, Value, unescape};
use crate::span::Span;

/// Why a message is refused before anything is done with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not JSON (JSON-RPC -32700).
    #[error("not valid JSON")]
    Json(#[from] JsonError),
    /// An array: batches are not accepted (-32600).
    #[error("batches are not accepted")]
    Batch,
    /// JSON, but no JSON-RPC 2.0 message (-32600).
    #[error("not a JSON-RPC message: {0}")]
    Shape(&'static str),
    /// A member twice, or beside a variant of it in other letters (-32600, `ambiguous_member`).
    #[error("a member stands twice, or in other letters")]
    Ambiguous,
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Has a method and an id.
    Request,
    /// Has a method and no id.
    Notification,
    /// Has a result or an error.
    Response,
}

/// What was read of one message.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// What it is.
    pub kind: Kind,
    /// The id as it stands: a string (with quotes) or an integer. A response to nothing known may have none.
    pub id: Option<Span>,
    /// The method, without quotes; empty for responses.
    pub method: Span,
    /// The params, if any.
    pub params: Option<Params>,
    /// The result of a response.
    pub result: Option<Span>,
    /// The error of a response.
    pub error: Option<Span>,
}

/// What was read of an object of params. Each span covers the whole value, quotes included.
#[derive(Debug, Clone, Default)]
pub struct Params {
    /// The whole object.
    pub all: Span,
    /// `name` of tools/call and prompts/get.
    pub name: Option<Span>,
    /// `uri` of resources/read and subscribe.
    pub uri: Option<Span>,
    /// `arguments`.
    pub arguments: Option<Span>,
    /// `cursor` of lists, unless it is null.
    pub cursor: Option<Span>,
    /// `requestId` of notifications/cancelled.
    pub request_id: Option<Span>,
    /// `progressToken` of notifications/progress.
    pub progress_token_here: Option<Span>,
    /// `protocolVersion` of initialize.
    pub protocol_version: Option<Span>,
    /// `capabilities` of initialize.
    pub capabilities: Option<Span>,
    /// `clientInfo` of initialize.
    pub client_info: Option<Span>,
    /// `level` of logging/setLevel.
    pub level: Option<Span>,
    /// `ref` of completion/complete: its `name` or `uri`.
    pub reference: Option<Span>,
    /// `_meta.progressToken`.
    pub progress_token: Option<Span>,
    /// `taskId` of the methods of tasks.
    pub task_id: Option<Span>,
    /// `task` of a tools/call of 2025-11-25 that asks for a task.
    pub task: Option<Span>,
    /// `notifications` of subscriptions/listen.
    pub notifications: Option<Span>,
    /// `inputResponses` of a retry.
    pub input_responses: Option<Span>,
    /// The whole `_meta`, if it is an object.
    pub meta: Option<Span>,
    /// `_meta["io.modelcontextprotocol/protocolVersion"]`: present means the stateless era.
    pub meta_version: Option<Span>,
    /// `_meta["io.modelcontextprotocol/clientCapabilities"]`.
    pub meta_capabilities: Option<Span>,
    /// `_meta["io.modelcontextprotocol/clientInfo"]`.
    pub meta_client_info: Option<Span>,
    /// `_meta["io.modelcontextprotocol/logLevel"]`.
    pub meta_log_level: Option<Span>,
}

const TOP: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];
const PARAMS: &[&str] = &[
    "name",
    "uri",
    "arguments",
    "cursor",
    "requestId",
    "progressToken",
    "protocolVersion",
    "capabilities",
    "clientInfo",
    "level",
    "ref",
    "taskId",
    "task",
    "notifications",
    "inputResponses",
    "_meta",
];
const META: &[&str] = &[
    "progressToken",
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/logLevel",
];
const REFERENCE: &[&str] = &["type", "name", "uri"];

/// Most members of one object on the levels that the gateway reads.
const MAX_MEMBERS: usize = 128;
/// Longest id in bytes.
const MAX_ID: usize = 256;

impl Envelope {
    /// Scans one complete message. Everything is validated as JSON; on the levels that the
    /// gateway reads (message, params, `_meta`, `ref`) no member may stand twice, nor beside one
    /// that differs only in the case of its letters from a member that the gateway reads.
    pub fn scan(message: &[u8]) -> Result<Self, EnvelopeError> {
        if let Err(error) = std::str::from_utf8(message) {
            return Err(JsonError::Syntax(error.valid_up_to()).into());
        }
        let mut scanner = Scanner::new(message);
        match scanner.peek()? {
            b'{' => (),
            b'[' => {
                scanner.value(1)?;
                scanner.end()?;
                return Err(EnvelopeError::Batch);
            }
            _ => {
                scanner.value(1)?;
                scanner.end()?;
                return Err(EnvelopeError::Shape("not an object"));
            }
        }
        let mut version = false;
        let (mut id, mut null_id, mut method, mut params, mut result, mut error) =
            (None, false, None, None, None, None);
        walk(&mut scanner, message, 1, TOP, |scanner, name| {
            if name == Some("params") && scanner.peek()? == b'{' {
                params = Some(scan_params(scanner, message)?);
                return Ok(());
            }
            let (value, span) = scanner.value(2)?;
            match name {
                Some("jsonrpc") => version = value == Value::String && span.of(message) == b"\"2.0\"",
                Some("id") => match value {
                    Value::String if span.of(message).len() <= MAX_ID + 2 => id = Some(span),
                    Value::Number { integer: true } if span.of(message).len() <= MAX_ID => id = Some(span),
                    Value::Null => null_id = true,
                    _ => {
                        return Err(EnvelopeError::Shape(
                            "the id must be a string or an integer of at most 256 characters",
                        ));
                    }
                },
                Some("method") => {
                    let text = span.of(message);
                    if value != Value::String || text.contains(&b'\\') || text.len() > MAX_ID {
                        return Err(EnvelopeError::Shape("the method must be a plain string"));
                    }
                    method = Some(Span::new(span.start() + 1, span.end() - 1));
                }
                Some("params") => return Err(EnvelopeError::Shape("the params must be an object")),
                Some("result") => result = Some(span),
                Some("error") => error = Some(span),
                _ => (),
            }
            Ok(())
        })?;
        scanner.end()?;
        if !version {
            return Err(EnvelopeError::Shape("`jsonrpc` must be \"2.0\""));
        }
        let kind = match (method, result.is_some(), error.is_some()) {
            (Some(_), false, false) if null_id => return Err(EnvelopeError::Shape("the id must not be null")),
            (Some(_), false, false) if id.is_some() => Kind::Request,
            (Some(_), false, false) => Kind::Notification,
            (None, true, false) if id.is_some() => Kind::Response,
            (None, false, true) => Kind::Response,
            _ => return Err(EnvelopeError::Shape("it must have a method, a result or an error")),
        };
        Ok(Self { kind, id, method: method.unwrap_or_default(), params, result, error })
    }

    /// The method as text.
    pub fn method<'m>(&self, message: &'m [u8]) -> &'m str {
        std::str::from_utf8(self.method.of(message)).unwrap_or_default()
    }
}

impl Params {
    /// The text of a string member; `None` if it is absent or no string.
    pub fn text<'m>(span: Option<Span>, message: &'m [u8]) -> Option<Cow<'m, str>> {
        unescape(span?.of(message))
    }
}

fn scan_params<'a>(scanner: &mut Scanner<'a>, message: &'a [u8]) -> Result<Params, EnvelopeError> {
    let mut params = Params::default();
    let start = scanner.position();
    walk(scanner, message, 2, PARAMS, |scanner, name| {
        let object = scanner.peek()? == b'{';
        match name {
            Some("_meta") if object => {
                let start = scanner.position();
                walk(scanner, message, 3, META, |scanner, name| {
                    let (_, span) = scanner.value(4)?;
                    match name {
                        Some("progressToken") => params.progress_token = Some(span),
                        Some("io.modelcontextprotocol/protocolVersion") => params.meta_version = Some(span),
                        Some("io.modelcontextprotocol/clientCapabilities") => params.meta_capabilities = Some(span),
                        Some("io.modelcontextprotocol/clientInfo") => params.meta_client_info = Some(span),
                        Some("io.modelcontextprotocol/logLevel") => params.meta_log_level = Some(span),
                        _ => (),
                    }
                    Ok(())
                })?;
                params.meta = Some(Span::new(start, scanner.position()));
                return Ok(());
            }
            Some("ref") if object => {
                return walk(scanner, message, 3, REFERENCE, |scanner, name| {
                    let (_, span) = scanner.value(4)?;
                    if matches!(name, Some("name" | "uri")) {
                        params.reference = Some(span);
                    }
                    Ok(())
                });
            }
            _ => (),
        }
        let (value, span) = scanner.value(3)?;
        match name {
            Some("name") => params.name = Some(span),
            Some("uri") => params.uri = Some(span),
            Some("arguments") => params.arguments = Some(span),
            // Null means the first page, as absence does.
            Some("cursor") => params.cursor = Some(span).filter(|_| value != Value::Null),
            Some("requestId") => params.request_id = Some(span),
            Some("progressToken") => params.progress_token_here = Some(span),
            Some("protocolVersion") => params.protocol_version = Some(span),
            Some("capabilities") => params.capabilities = Some(span),
            Some("clientInfo") => params.client_info = Some(span),
            Some("level") => params.level = Some(span),
            Some("taskId") => params.task_id = Some(span),
            Some("task") => params.task = Some(span),
            Some("notifications") => params.notifications = Some(span),
            Some("inputResponses") => params.input_responses = Some(span),
            _ => (),
        }
        Ok(())
    })?;
    params.all = Span::new(start, scanner.position());
    Ok(params)
}

/// Walks one object that the gateway reads: `member` gets the name if it is one of `known`.
fn walk<'a>(
    scanner: &mut Scanner<'a>,
    message: &'a [u8],
    depth: u32,
    known: &'static [&'static str],
    mut member: impl FnMut(&mut Scanner<'a>, Option<&'static str>) -> Result<(), EnvelopeError>,
) -> Result<(), EnvelopeError> {
    let mut seen_known = 0u32;
    let mut seen_other: Vec<Cow<'a, str>> = Vec::new();
    scanner.object(depth, |scanner, key| {
        let key = unescape(key.of(message)).ok_or(EnvelopeError::Ambiguous)?;
        let name = match known.iter().position(|name| key.eq_ignore_ascii_case(name)) {
            Some(index) => {
                let exact = known.get(index).copied().filter(|name| *name == key);
                if exact.is_none() || seen_known & (1 << index) != 0 {
                    return Err(EnvelopeError::Ambiguous);
                }
                seen_known |= 1 << index;
                exact
            }
            None => {
                if seen_other.contains(&key) {
                    return Err(EnvelopeError::Ambiguous);
                }
                if seen_other.len() >= MAX_MEMBERS {
                    return Err(EnvelopeError::Shape("too many members"));
                }
                seen_other.push(key);
                None
            }
        };
        member(scanner, name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tools_call_is_read() {
        let message = br#"{"jsonrpc":"2.0","id":"a-1","method":"tools/call","params":{"name":"notes__list","arguments":{"x":[1,2]},"_meta":{"progressToken":7,"vendor":1},"extra":true}}"#;
        let envelope = Envelope::scan(message).unwrap();
        assert_eq!(envelope.kind, Kind::Request);
        assert_eq!(envelope.id.unwrap().of(message), b"\"a-1\"");
        assert_eq!(envelope.method(message), "tools/call");
        let params = envelope.params.unwrap();
        assert_eq!(Params::text(params.name, message).as_deref(), Some("notes__list"));
        assert_eq!(params.arguments.unwrap().of(message), br#"{"x":[1,2]}"#);
        assert_eq!(params.progress_token.unwrap().of(message), b"7");
        assert!(params.all.of(message).ends_with(br#""extra":true}"#));
    }

    #[test]
    fn a_null_cursor_is_no_cursor() {
        for (cursor, given) in [("null", false), ("\"\"", true), ("7", true)] {
            let message = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"cursor":{cursor}}}}}"#);
            let params = Envelope::scan(message.as_bytes()).unwrap().params.unwrap();
            assert_eq!(params.cursor.is_some(), given, "{cursor}");
        }
    }

    #[test]
    fn too_many_members_are_called_that() {
        let members = |count: usize| (0..count).map(|n| format!("\"m{n}\":1,")).collect::<String>();
        let message = |count| format!(r#"{{{}"jsonrpc":"2.0","id":1,"method":"ping"}}"#, members(count));
        assert!(Envelope::scan(message(128).as_bytes()).is_ok());
        let error = Envelope::scan(message(129).as_bytes()).err();
        assert_eq!(error, Some(EnvelopeError::Shape("too many members")));
    }

    #[test]
    fn kinds_are_told_apart() {
        for (message, kind) in [
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, Kind::Request),
            (r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, Kind::Notification),
            (r#"{"result":{},"jsonrpc":"2.0","id":1}"#, Kind::Response),
            (r#"{"error":{"code":1,"message":""},"jsonrpc":"2.0","id":null}"#, Kind::Response),
        ] {
            assert_eq!(Envelope::scan(message.as_bytes()).unwrap().kind, kind, "{message}");
        }
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        for message in [
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","METHOD":"tools/call"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","Name":"b"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","n\u0061me":"b"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"Name":"b"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"x":1,"x":2}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"progressToken":1,"progresstoken":2}}}"#,
        ] {
            assert_eq!(Envelope::scan(message.as_bytes()).err(), Some(EnvelopeError::Ambiguous), "{message}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for message in [
            r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#,
            r#"{"id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1}"#,
            "7",
        ] {
            assert!(matches!(Envelope::scan(message.as_bytes()), Err(EnvelopeError::Shape(_))), "{message}");
        }
        assert_eq!(Envelope::scan(b"[{}]").err(), Some(EnvelopeError::Batch));
        assert!(matches!(Envelope::scan(b"{} {}").err(), Some(EnvelopeError::Json(JsonError::Trailing(3)))));
        assert!(matches!(Envelope::scan(b"\xff").err(), Some(EnvelopeError::Json(JsonError::Syntax(0)))));
        let long = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "x".repeat(257));
        assert!(matches!(Envelope::scan(long.as_bytes()), Err(EnvelopeError::Shape(_))));
    }
}
