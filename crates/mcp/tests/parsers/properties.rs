//! Random input that is nearly right: the checks must hold for it too, without fuzzing.

use bytes::Bytes;
use mcp::sse::{Decoder, frame};
use proptest::prelude::*;

use crate::checks;

/// A JSON text of any shape, with names that matter and space in odd places.
fn json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("17".to_owned()),
        Just("\"17\"".to_owned()),
        Just("\"2.0\"".to_owned()),
        Just("\"tools/call\"".to_owned()),
        Just("9007199254740993".to_owned()),
        Just("-0.5E+3".to_owned()),
        Just("\"\\ud83d\\ude00\\u0000\"".to_owned()),
        Just("\"\\ud83d\"".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        "\\PC{0,8}".prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    scalar.prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(" , "))),
            prop::collection::vec((name(), inner), 0..6).prop_map(|members| object(&members)),
        ]
    })
}

fn object(members: &[(String, String)]) -> String {
    let members: Vec<String> = members.iter().map(|(name, value)| format!("{name}:{value}")).collect();
    format!("{{\n{} }}", members.join(","))
}

/// A member's name with its quotes: one that matters, in its own letters or others, escaped or not, or any.
fn name() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "jsonrpc",
        "id",
        "method",
        "params",
        "result",
        "error",
        "name",
        "uri",
        "uriTemplate",
        "cursor",
        "nextCursor",
        "_meta",
        "progressToken",
        "io.modelcontextprotocol/protocolVersion",
        "ref",
        "type",
        "tools",
        "prompts",
        "resources",
        "resourceTemplates",
        "isError",
        "resultType",
        "inputRequests",
        "inputResponses",
        "requestState",
        "taskId",
        "task",
        "content",
        "contents",
        "messages",
        "structuredContent",
        "outputSchema",
        "inputSchema",
        "execution",
        "taskSupport",
        "properties",
        "x-mcp-header",
    ]);
    prop_oneof![
        8 => known.clone().prop_map(|name| format!("\"{name}\"")),
        1 => known.clone().prop_map(|name| format!("\"{}\"", name.to_uppercase())),
        1 => (known, any::<prop::sample::Index>()).prop_map(|(name, at)| {
            let at = at.index(name.len());
            format!("\"{}\\u{:04x}{}\"", &name[..at], name.as_bytes()[at], &name[at + 1..])
        }),
        2 => "\\PC{0,4}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        1 => Just("\"\\udc00\"".to_owned()),
    ]
}

/// A message with the members that belong there and some that may not.
fn message() -> impl Strategy<Value = String> {
    let member = |name: &'static str, values: &'static [&'static str]| {
        (Just(format!("\"{name}\"")), prop::sample::select(values).prop_map(str::to_owned))
    };
    let params =
        prop::collection::vec((name(), json()), 0..5).prop_map(|members| ("\"params\"".to_owned(), object(&members)));
    let result =
        prop::collection::vec((name(), json()), 0..5).prop_map(|members| ("\"result\"".to_owned(), object(&members)));
    let listed = (prop::sample::select(vec!["tools", "prompts", "resources", "resourceTemplates"]), json())
        .prop_map(|(kind, list)| (format!("\"{kind}\""), list));
    let part = prop_oneof![
        member("id", &["17", "\"17\"", "1", "null", "18446744073709551616", "1.0", "[]"]),
        member("method", &["\"ping\"", "\"tools/call\"", "\"a\\u0062\"", "7"]),
        member("error", &["{\"code\":-32603,\"message\":\"no\"}"]),
        params,
        result,
        listed,
        (name(), json()),
    ];
    prop::collection::vec(part, 0..5).prop_map(|mut members| {
        members.push(("\"jsonrpc\"".to_owned(), "\"2.0\"".to_owned()));
        object(&members)
    })
}

/// A list of one of the kinds, some items of which are none.
fn list() -> impl Strategy<Value = String> {
    let item = prop::collection::vec((name(), json()), 0..4).prop_map(|members| object(&members));
    let items = prop::collection::vec(item, 0..7).prop_map(|items| format!("[{}]", items.join(",")));
    let rest = prop::collection::vec((name(), json()), 0..3);
    (name(), items, rest).prop_map(|(name, items, mut members)| {
        members.insert(members.len() / 2, (name, items));
        object(&members)
    })
}

/// An object as they are rewritten: results with content, tools with schemas.
fn rewritten() -> impl Strategy<Value = String> {
    let text =
        prop::sample::select(vec!["\"a:1\"", "\"resource_link\"", "\"audio\"", "\"string\"", "\"X\"", "7", "{}", "[]"]);
    let pairs = |names: &'static [&'static str]| {
        let text = text.clone();
        prop::collection::vec((prop::sample::select(names), text), 0..5).prop_map(|members| {
            object(
                &members.into_iter().map(|(name, value)| (format!("\"{name}\""), value.to_owned())).collect::<Vec<_>>(),
            )
        })
    };
    let block = pairs(&["type", "uri", "name", "resource", "mimeType", "text"]);
    let schema = pairs(&["type", "x-mcp-header", "description", "items"]);
    let meta = pairs(&["info", "taskId", "io.modelcontextprotocol/logLevel", "a"]);
    let blocks = prop::collection::vec(block.clone(), 0..3).prop_map(|blocks| format!("[{}]", blocks.join(",")));
    let one = prop_oneof![
        blocks.clone().prop_map(|blocks| format!("\"content\":{blocks}")),
        block.clone().prop_map(|block| format!("\"contents\":[{block}]")),
        blocks.prop_map(|blocks| format!("\"messages\":[{{\"role\":\"user\",\"content\":{blocks}}}]")),
        block.prop_map(|block| format!("\"task\":{block}")),
        meta.prop_map(|meta| format!("\"_meta\": {meta}")),
        schema
            .clone()
            .prop_map(|schema| format!("\"inputSchema\":{{\"type\":\"object\",\"properties\":{{\"name\":{schema}}}}}")),
        schema.prop_map(|schema| format!("\"outputSchema\":{schema}")),
        text.clone().prop_map(|text| format!("\"name\":{text}")),
        text.prop_map(|text| format!("\"structuredContent\":{text}")),
        (name(), json()).prop_map(|(name, value)| format!("{name}:{value}")),
    ];
    prop::collection::vec(one, 0..6).prop_map(|members| format!("{{{}}}", members.join(" ,")))
}

/// One byte of a text taken away, doubled, or replaced by one that matters.
fn hurt(text: String, at: prop::sample::Index, how: u8) -> Vec<u8> {
    let mut bytes = text.into_bytes();
    if bytes.is_empty() {
        return bytes;
    }
    let at = at.index(bytes.len());
    match how % 16 {
        0 => drop(bytes.remove(at)),
        1 => bytes.insert(at, bytes[at]),
        2 => bytes.truncate(at),
        how @ 3..10 => bytes[at] = b"\"{}[],\0"[usize::from(how) - 3],
        10 => bytes[at] = 0xe2,
        _ => (),
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_are_read_as_another_reader_reads_them(text in message(), at in any::<prop::sample::Index>(), how: u8) {
        let message = hurt(text, at, how);
        checks::envelope::check(&message);
        checks::splicer::check(&message);
    }

    #[test]
    fn any_json_is_read_as_another_reader_reads_it(text in json(), at in any::<prop::sample::Index>(), how: u8) {
        let text = hurt(text, at, how);
        checks::envelope::check(&text);
        checks::splicer::check(&text);
        checks::list::check(&text);
        checks::batch::check(&text);
        checks::rewrite::check(&text);
    }

    #[test]
    fn what_is_rewritten_is_changed_nowhere_else(text in rewritten()) {
        checks::rewrite::check(text.as_bytes());
        checks::splicer::check(format!("{{\"id\":17,\"result\":{text}}}").as_bytes());
    }

    #[test]
    fn lists_are_read_as_another_reader_reads_them(text in list(), at in any::<prop::sample::Index>(), how: u8) {
        checks::list::check(&hurt(text, at, how));
    }

    #[test]
    fn streams_are_read_as_the_standard_says(
        parts in prop::collection::vec(prop::sample::select(vec![
            "data", "event", "id", "retry", ":", ": ", " ", "\n", "\r", "\r\n", "\n\n", "\u{feff}", "\0", "é", "message", "500", "+1", "x",
        ]), 0..60),
        at in any::<prop::sample::Index>(),
        how: u8,
    ) {
        checks::sse::check(&hurt(parts.concat(), at, how));
    }

    #[test]
    fn texts_are_written_and_read_back(text in "\\PC{0,20}|(\\\\u[dD][89abAB][0-9a-f]{2}|[\\x00-\\x7f]){0,12}") {
        checks::text::check(text.as_bytes());
    }

    #[test]
    fn names_never_meet(lines in "[a-z-]{1,40}(\n[A-Za-z0-9_./ü-]{0,70}){1,12}") {
        checks::names::check(lines.as_bytes());
    }

    #[test]
    fn headers_keep_their_rules(lines in "(([A-Za-z-]{1,12}|Mcp-[a-z]{1,8}|Proxy-x):[\\x09 -~é]{0,12}\n){0,6}") {
        checks::header::check(lines.as_bytes());
    }

    #[test]
    fn bytes_of_no_meaning_hold_too(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for (_, check) in checks::ALL {
            check(&bytes);
        }
    }
}

#[test]
fn fifty_thousand_junk_frames_hide_no_event_and_keep_no_memory() {
    let junk: [&[u8]; 8] = [
        b": ping\n\n",
        b"event: x\n\n",
        b"nonsense\n\n",
        b"data\n\n",
        b"\0\0\xff\n\n",
        b"id: a\0b\n\n",
        b"retry: soon\r\n\r\n",
        b"event: message\ndata: {\"jsonrpc\":\r\r",
    ];
    let mut decoder = Decoder::new(4096);
    let mut events = Vec::new();
    let mut chunks = Vec::new();
    for round in 0..50_000 {
        let chunk = Bytes::copy_from_slice(junk[round % junk.len()]);
        decoder.push(&chunk, &mut events).unwrap();
        assert!(!decoder.pending());
        events.retain(|event| event.data.as_ref() != b"{\"jsonrpc\":");
        chunks.push(chunk);
    }
    assert!(events.is_empty(), "{events:?}");
    assert!(chunks.iter().all(Bytes::is_unique), "junk is kept");
    decoder.push(&frame(b"{}"), &mut events).unwrap();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].data.as_ref(), b"{}");
}

#[test]
fn brackets_without_end_are_refused_at_the_bound() {
    for open in ["[", "{\"a\":", "[{\"params\":"] {
        for around in [r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"arguments":"#, r#"{"id":17,"result":"#, ""] {
            // Far beyond the bound, and quick to try.
            let bomb = format!("{around}{}", open.repeat((256 << 10) / open.len()));
            checks::envelope::check(bomb.as_bytes());
            assert!(mcp::Envelope::scan(bomb.as_bytes()).is_err());
            let mut splicer = mcp::Splicer::new(Bytes::from_static(b"17"), Bytes::from_static(b"1"));
            assert!(splicer.push(&Bytes::from(bomb), &mut Vec::new()).is_err());
        }
    }
}
