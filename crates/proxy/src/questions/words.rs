//! What a question is on the wire: its id, who can take it, and how it and what belongs to it are rewritten.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use mcp::{Envelope, Params, Span, write};
use serde_json::value::RawValue;

use crate::client::Capabilities;
use crate::session::NodeTag;

/// What the id of every question begins with.
const MARK: &str = "ask-";

/// The id of a question, raw JSON: a string that names the node where it waits.
pub(crate) fn id(node: NodeTag, number: u64) -> String {
    let mut place = [0; 16];
    place.iter_mut().zip(node.0.into_iter().chain(number.to_be_bytes())).for_each(|(to, from)| *to = from);
    let mut text = String::with_capacity(28);
    text.push('"');
    text.push_str(MARK);
    URL_SAFE_NO_PAD.encode_string(place, &mut text);
    text.push('"');
    text
}

/// Reads [`id`]; `None` if it is none of a proxy's.
pub(crate) fn parse(raw: &[u8]) -> Option<(NodeTag, u64)> {
    let text = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?.strip_prefix(MARK.as_bytes())?;
    let place: [u8; 16] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    let (node, number) = place.split_first_chunk::<8>()?;
    Some((NodeTag(*node), u64::from_be_bytes(number.try_into().ok()?)))
}

/// The node where what a client says of a question belongs: the id of its answer, or the progress token of its
/// notification, raw JSON.
pub(crate) fn node_in(raw: &[u8]) -> Option<NodeTag> {
    parse(raw).map(|(node, _)| node)
}

/// Whether a client that declared these can be asked this.
pub(crate) fn takes(capabilities: Capabilities, method: &str, params: &[u8]) -> bool {
    let has = |name: &str| mcp::member(params, name).is_some();
    match method {
        "elicitation/create" => match mcp::member(params, "mode").map(|span| span.of(params)) {
            None | Some(b"\"form\"") => capabilities.fills_forms(),
            Some(b"\"url\"") => capabilities.opens_urls(),
            Some(_) => false,
        },
        "sampling/createMessage" => {
            capabilities.samples() && (capabilities.samples_with_tools() || !(has("tools") || has("toolChoice")))
        }
        "roots/list" => capabilities.has_roots(),
        _ => false,
    }
}

/// A question of an upstream under the id that the client knows, which is its progress token too. `several`: the name of
/// the server, where the URL is one of several.
pub(crate) fn question(message: &Bytes, envelope: &Envelope, id: &str, several: Option<&str>) -> Bytes {
    let method = envelope.method(message);
    let Some(params) = &envelope.params else { return write::request(id, method, message, None, &[]) };
    let named = several.and_then(|server| named(message, params, server));
    let mut patches = Vec::with_capacity(2);
    if let Some(span) = params.progress_token {
        patches.push(write::Patch { span, with: id.as_bytes() });
    }
    if let Some((span, with)) = &named {
        patches.push(write::Patch { span: *span, with });
    }
    patches.sort_by_key(|patch| patch.span.start());
    write::request(id, method, message, Some(params.all), &patches)
}

/// The place of an elicitation's id in params, and what stands there for the client: two servers may have the same.
fn named(message: &[u8], params: &Params, server: &str) -> Option<(Span, Vec<u8>)> {
    let all = params.all.of(message);
    let span = mcp::member(all, "elicitationId")?;
    let id = mcp::unescape(span.of(all))?;
    Some((span.within(params.all), named_id(&id, server)))
}

fn named_id(id: &str, server: &str) -> Vec<u8> {
    let mut with = Vec::with_capacity(id.len() + server.len() + 4);
    write::string(&mut with, &format!("{server}__{id}"));
    with
}

/// `notifications/elicitation/complete` for a client of a URL of several servers.
pub(crate) fn completed(message: &Bytes, envelope: &Envelope, server: &str) -> Bytes {
    let named = envelope.params.as_ref().and_then(|params| named(message, params, server));
    let Some((span, with)) = named else { return message.clone() };
    let mut out = Vec::with_capacity(message.len() + server.len() + 2);
    write::patched(&mut out, message, Span::whole(message), &[write::Patch { span, with: &with }]);
    out.into()
}

/// An error that says which URLs must be opened first (-32042), raw, for a client of a URL of several servers; `None` if it
/// is another.
pub(crate) fn elicited(error: &[u8], server: &str) -> Option<Vec<u8>> {
    #[derive(serde::Deserialize)]
    struct Error<'a> {
        code: i64,
        #[serde(borrow)]
        data: Data<'a>,
    }
    #[derive(serde::Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        elicitations: Vec<&'a RawValue>,
    }
    let Error { data: Data { elicitations }, .. } =
        serde_json::from_slice::<Error<'_>>(error).ok().filter(|error| error.code == -32042)?;
    let base = error.as_ptr() as usize;
    let mut out = Vec::with_capacity(error.len() + elicitations.len() * (server.len() + 2));
    let mut at = 0;
    for one in elicitations {
        let one = one.get().as_bytes();
        let Some(span) = mcp::member(one, "elicitationId") else { continue };
        let Some(id) = mcp::unescape(span.of(one)) else { continue };
        // What was read without a copy lies in the text that it was read from.
        let start = one.as_ptr() as usize - base;
        out.extend_from_slice(error.get(at..start + span.start())?);
        out.extend_from_slice(&named_id(&id, server));
        at = start + span.end();
    }
    out.extend_from_slice(error.get(at..)?);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_node_and_nothing_else_is_one() {
        let text = id(NodeTag::of("gate-1"), 7);
        assert_eq!(parse(text.as_bytes()), Some((NodeTag::of("gate-1"), 7)));
        assert_eq!(node_in(text.as_bytes()), Some(NodeTag::of("gate-1")));
        for bad in
            ["7", "\"7\"", "", "\"", "\"ask-\"", &text[1..], &text.replace("ask-", "ask"), "\"ask-AAAA\"", "null"]
        {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_client_takes_what_it_declared() {
        let all = r#"{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}},"roots":{}}"#;
        for (declared, method, params, taken) in [
            ("{}", "elicitation/create", "{}", false),
            (r#"{"elicitation":{}}"#, "elicitation/create", r#"{"message":"x"}"#, true),
            (r#"{"elicitation":{}}"#, "elicitation/create", r#"{"mode":"form"}"#, true),
            (r#"{"elicitation":{}}"#, "elicitation/create", r#"{"mode":"url"}"#, false),
            (r#"{"elicitation":{"url":{}}}"#, "elicitation/create", r#"{"mode":"url"}"#, true),
            (r#"{"elicitation":{"url":{}}}"#, "elicitation/create", "{}", false),
            (all, "elicitation/create", r#"{"mode":"other"}"#, false),
            (r#"{"sampling":{}}"#, "sampling/createMessage", r#"{"messages":[]}"#, true),
            (r#"{"sampling":{}}"#, "sampling/createMessage", r#"{"tools":[]}"#, false),
            (r#"{"sampling":{"tools":{}}}"#, "sampling/createMessage", r#"{"tools":[]}"#, true),
            (r#"{"roots":{}}"#, "sampling/createMessage", "{}", false),
            (r#"{"roots":{}}"#, "roots/list", "", true),
            (r#"{"sampling":{}}"#, "roots/list", "", false),
            (all, "tasks/get", "{}", false),
            (all, "tools/list", "{}", false),
        ] {
            let capabilities = Capabilities::declared(declared.as_bytes());
            assert_eq!(takes(capabilities, method, params.as_bytes()), taken, "{declared} {method} {params}");
        }
    }

    fn asked(message: &str, several: Option<&str>) -> String {
        let message = Bytes::copy_from_slice(message.as_bytes());
        let envelope = Envelope::scan(&message).unwrap();
        String::from_utf8(question(&message, &envelope, "\"g\"", several).to_vec()).unwrap()
    }

    #[test]
    fn a_question_goes_on_with_its_params_untouched_but_for_ids() {
        for (message, several, expected) in [
            (
                r#"{"jsonrpc":"2.0","id":3,"method":"roots/list"}"#,
                None,
                r#"{"jsonrpc":"2.0","id":"g","method":"roots/list"}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":3,"method":"elicitation/create","params":{"elicitationId":"e\"1","x": 1e400,"_meta":{"progressToken":3}}}"#,
                Some("notes"),
                r#"{"jsonrpc":"2.0","id":"g","method":"elicitation/create","params":{"elicitationId":"notes__e\"1","x": 1e400,"_meta":{"progressToken":"g"}}}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":3,"method":"elicitation/create","params":{"_meta":{"progressToken":3},"elicitationId":"e"}}"#,
                Some("notes"),
                r#"{"jsonrpc":"2.0","id":"g","method":"elicitation/create","params":{"_meta":{"progressToken":"g"},"elicitationId":"notes__e"}}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":3,"method":"elicitation/create","params":{"elicitationId":"e"}}"#,
                None,
                r#"{"jsonrpc":"2.0","id":"g","method":"elicitation/create","params":{"elicitationId":"e"}}"#,
            ),
        ] {
            assert_eq!(asked(message, several), expected);
        }
    }

    #[test]
    fn an_elicitation_has_the_same_id_wherever_it_is_named() {
        let message = Bytes::from_static(
            br#"{"jsonrpc":"2.0","method":"notifications/elicitation/complete","params":{"elicitationId":"e","x":1}}"#,
        );
        let envelope = Envelope::scan(&message).unwrap();
        assert!(completed(&message, &envelope, "notes").ends_with(br#""params":{"elicitationId":"notes__e","x":1}}"#));
        let error = br#"{"code":-32042,"message":"m","data":{"elicitations":[{"elicitationId":"e","n":12345678901234567890123},{"no":1},{"url":"u","elicitationId":"f"}]}}"#;
        let rewritten = elicited(error, "notes").unwrap();
        assert_eq!(
            std::str::from_utf8(&rewritten).unwrap(),
            r#"{"code":-32042,"message":"m","data":{"elicitations":[{"elicitationId":"notes__e","n":12345678901234567890123},{"no":1},{"url":"u","elicitationId":"notes__f"}]}}"#
        );
        for other in [
            &br#"{"code":-32602,"message":"m","data":{"elicitations":[]}}"#[..],
            br#"{"code":-32042,"message":"m"}"#,
            b"7",
        ] {
            assert_eq!(elicited(other, "notes"), None);
        }
    }
}
