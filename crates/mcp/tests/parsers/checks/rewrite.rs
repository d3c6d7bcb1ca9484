//! What is taken out of raw objects, put into them and replaced in them: only that changes, and what comes out is JSON.

use mcp::param_headers::HeaderParams;
use mcp::result::InputRequired;
use mcp::{Change, MAX_DEPTH, Object, Revision, headers, meta, references, result};
use serde_json::Value;

use super::reference::{depth, elements, members, value};

/// Any bytes, as an object of each kind that is rewritten.
pub(crate) fn check(text: &[u8]) {
    let shallow = value(text).filter(|text| depth(text) <= MAX_DEPTH as usize);
    let array = shallow.filter(|text| text.starts_with('[')).map(elements);
    let array = array.map(|items| items.into_iter().map(str::as_bytes).collect::<Vec<_>>());
    assert_eq!(mcp::elements(text), array);
    let ought = shallow.filter(|text| text.starts_with('{')).map(members);
    let ought = ought.map(|members| {
        members.into_iter().map(|member| (member.name.unwrap_or_default(), member.value)).collect::<Vec<_>>()
    });
    let object = Object::read(text);
    assert_eq!(object.as_ref().map(plain), ought.as_ref().map(|members| owned(members)));
    references_there_and_back(text);
    of_results(text);
    annotations(text);
    let (Some(object), Some(ought)) = (object, ought) else { return };
    edited(&object, &ought);
    reserved(text);
}

type Members = Vec<(String, String)>;

fn owned(members: &[(String, &str)]) -> Members {
    members.iter().map(|(name, value)| (name.clone(), (*value).to_owned())).collect()
}

fn plain(object: &Object<'_>) -> Members {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).expect("UTF-8");
    object.members().map(|(name, value)| (name.to_owned(), text(value))).collect()
}

/// One member goes, one is replaced and one comes, by turns.
fn edited(object: &Object<'_>, before: &[(String, &str)]) {
    for (name, value) in before {
        let last = before.iter().rfind(|(other, _)| other == name).map(|(_, value)| value.as_bytes());
        assert_eq!(object.get(name), last, "{name} is {value}");
        let change = |other: &str, _: &[u8]| match other {
            other if other == name => Change::Drop,
            "result" => Change::Put(b"[7]".to_vec()),
            _ => Change::Keep,
        };
        let out = object.edited(change, &[("added \"", b"0"), ("id", b"1")]);
        let out = plain(&Object::read(&out).expect("an object stays one"));
        let mut ought: Members = owned(before);
        ought.retain(|(other, _)| other != name);
        ought.iter_mut().filter(|(name, _)| name == "result").for_each(|(_, value)| *value = "[7]".to_owned());
        for (name, value) in [("added \"", "0"), ("id", "1")] {
            if ought.iter().all(|(other, _)| other != name) {
                ought.push((name.to_owned(), value.to_owned()));
            }
        }
        assert_eq!(out, ought);
    }
}

/// What is reserved is there once it was put in, and gone once it was taken out, and nothing else is touched.
fn reserved(params: &[u8]) {
    let said = meta::Reserved {
        version: "2026-07-28",
        capabilities: b"{}",
        client_info: b"{\"name\":\"x\"}",
        log_level: Some(b"\"info\""),
    };
    let with = meta::with_reserved(params, &said).expect("an object");
    // Numbers that serde_json can't hold, and halves of surrogate pairs, may stand in what is passed on.
    let parsed = |text: &[u8]| serde_json::from_slice::<Value>(text).ok();
    let (Some(before), Some(read)) = (parsed(params), parsed(&with)) else {
        return assert!(value(&with).is_some(), "no JSON");
    };
    assert_eq!(read["_meta"][meta::VERSION], "2026-07-28");
    assert_eq!(read["_meta"][meta::CAPABILITIES], serde_json::json!({}));
    assert_eq!(read["_meta"][meta::CLIENT_INFO], serde_json::json!({"name": "x"}));
    assert_eq!(read["_meta"][meta::LOG_LEVEL], "info");
    let without = meta::without_reserved(&with).expect("an object");
    let read: Value = serde_json::from_slice(&without).expect("JSON");
    for name in [meta::VERSION, meta::CAPABILITIES, meta::CLIENT_INFO, meta::LOG_LEVEL] {
        assert!(read["_meta"].get(name).is_none(), "{name}");
    }
    assert!(read.get("inputResponses").is_none() && read.get("requestState").is_none());
    for name in ["name", "arguments", "uri", "task"] {
        assert_eq!(read.get(name), before.get(name), "{name}");
    }
    let retry = meta::answering(params, Some(b"{\"k\":{}}"), Some(b"\"s\"")).expect("an object");
    let read: Value = serde_json::from_slice(&retry).expect("JSON");
    assert_eq!((&read["inputResponses"], &read["requestState"]), (&serde_json::json!({"k": {}}), &"s".into()));
}

/// References that get a name in front and lose it again are what they were.
fn references_there_and_back(text: &[u8]) {
    let Some(out) = references::renamed(text, |_, name| Some(format!("gw+x:{name}"))) else { return };
    assert!(value(&out).is_some(), "no JSON");
    let mut seen = Vec::new();
    let none = references::renamed(text, |_, name| {
        seen.push(name.to_owned());
        None
    });
    assert_eq!(none, None);
    let mut renamed = Vec::new();
    let back = references::renamed(&out, |_, name| {
        renamed.push(name.to_owned());
        name.strip_prefix("gw+x:").map(str::to_owned)
    });
    let ought: Vec<_> = seen.iter().map(|name| format!("gw+x:{name}")).collect();
    assert_eq!(renamed, ought);
    let parsed = |text: &[u8]| serde_json::from_slice::<Value>(text).ok();
    assert_eq!(parsed(&back.expect("it had been renamed")), parsed(text));
}

/// Whatever is repaired is JSON after it, and needs no other repair.
fn of_results(text: &[u8]) {
    let good = |out: Option<Vec<u8>>, again: &dyn Fn(&[u8]) -> Option<Vec<u8>>| {
        let Some(out) = out else { return };
        assert!(value(&out).is_some(), "no JSON: {}", String::from_utf8_lossy(&out));
        assert_eq!(again(&out), None, "{}", String::from_utf8_lossy(&out));
    };
    good(result::plain(text), &result::plain);
    good(result::tool_for_sessions(text), &result::tool_for_sessions);
    good(result::tool_for_stateless(text), &result::tool_for_stateless);
    for revision in Revision::ALL {
        good(result::repaired(text, revision), &|text| result::repaired(text, revision));
    }
    if let Some(asked) = InputRequired::read(text) {
        assert!(asked.requests.len() <= result::MAX_QUESTIONS);
        assert!(asked.requests.iter().all(|request| value(&request.params).is_some()));
        assert!(asked.state.is_none_or(|state| state.starts_with(b"\"")));
    }
}

/// The headers of a call by any schema can be sent, and agree with the call that they were made of.
fn annotations(tool: &[u8]) {
    let Ok(params) = HeaderParams::of_tool(tool) else { return };
    for expected in params.expected(Some(tool)) {
        let header = expected.value();
        assert!(headers::is_value(&header) || header.len() > 8192, "{header:?}");
        assert!(expected.is(header.as_bytes()), "{header:?} does not agree with what it was made of");
        assert!(expected.header.starts_with("mcp-param-") && http::HeaderName::try_from(expected.header).is_ok());
    }
}
