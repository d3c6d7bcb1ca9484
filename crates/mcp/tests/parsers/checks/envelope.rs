//! The envelope scan against serde_json and the rules of what is refused.

use mcp::{Envelope, Kind, MAX_DEPTH, Params, Span};

use super::reference::{depth, members, value};

const TOP: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];
const META: &[&str] = &[
    "progressToken",
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/logLevel",
];
const REFERENCE: &[&str] = &["type", "name", "uri"];
/// The members of the params that are read, and where they are found; those without a place are looked into.
type Place = fn(&Params) -> Option<Span>;
const PARAMS: &[(&str, Option<Place>)] = &[
    ("name", Some(|params| params.name)),
    ("uri", Some(|params| params.uri)),
    ("arguments", Some(|params| params.arguments)),
    ("cursor", Some(|params| params.cursor)),
    ("requestId", Some(|params| params.request_id)),
    ("progressToken", Some(|params| params.progress_token_here)),
    ("protocolVersion", Some(|params| params.protocol_version)),
    ("capabilities", Some(|params| params.capabilities)),
    ("clientInfo", Some(|params| params.client_info)),
    ("level", Some(|params| params.level)),
    ("taskId", Some(|params| params.task_id)),
    ("task", Some(|params| params.task)),
    ("notifications", Some(|params| params.notifications)),
    ("inputResponses", Some(|params| params.input_responses)),
    ("ref", None),
    ("_meta", None),
];

/// Accepted is exactly what is to be, and every place cuts out what serde_json finds there.
pub(crate) fn check(message: &[u8]) {
    match (Envelope::scan(message), read(message)) {
        (Ok(envelope), Some(read)) => compare(message, &envelope, &read),
        (Err(_), None) => (),
        (Ok(_), None) => panic!("accepted and should not be"),
        (Err(error), Some(_)) => panic!("refused and should not be: {error:?}"),
    }
    for name in ["name", "id", ""] {
        let ought = value(message).filter(|object| object.starts_with('{') && depth(object) <= MAX_DEPTH as usize);
        let ought = ought.and_then(|object| {
            members(object).into_iter().rfind(|member| member.name.as_deref() == Some(name)).map(|member| member.value)
        });
        // What follows the object is not looked at.
        if value(message).is_some() {
            assert_eq!(mcp::member(message, name).map(|span| span.of(message)), ought.map(str::as_bytes), "{name}");
        }
    }
}

/// One object as it should be read: the value of each known member.
type Known<'a> = Vec<(&'static str, &'a str)>;

struct Read<'a> {
    kind: Kind,
    top: Known<'a>,
    params: Option<Known<'a>>,
    reference: Option<Known<'a>>,
    meta: Option<Known<'a>>,
}

fn read(message: &[u8]) -> Option<Read<'_>> {
    let object = value(message).filter(|value| value.starts_with('{') && depth(value) <= MAX_DEPTH as usize)?;
    let top = known(object, TOP)?;
    if find(&top, "jsonrpc") != Some("\"2.0\"") {
        return None;
    }
    let id = find(&top, "id");
    if !id.is_none_or(|id| match id.as_bytes()[0] {
        b'"' => id.len() <= 258,
        b'n' => true,
        b'-' | b'0'..=b'9' => id.len() <= 256 && !id.contains(['.', 'e', 'E']),
        _ => false,
    }) {
        return None;
    }
    let method = find(&top, "method");
    if !method.is_none_or(|method| method.starts_with('"') && !method.contains('\\') && method.len() <= 256) {
        return None;
    }
    let named = id.is_some_and(|id| id != "null");
    let kind = match (method.is_some(), find(&top, "result").is_some(), find(&top, "error").is_some()) {
        (true, false, false) if named => Kind::Request,
        (true, false, false) if id.is_none() => Kind::Notification,
        (false, true, false) if named => Kind::Response,
        (false, false, true) => Kind::Response,
        _ => return None,
    };
    let params = match find(&top, "params") {
        Some(params) if !params.starts_with('{') => return None,
        Some(params) => Some(known(params, &PARAMS.iter().map(|(name, _)| *name).collect::<Vec<_>>())?),
        None => None,
    };
    let inner = |name: &str, names: &[&'static str]| match params.as_ref().and_then(|params| find(params, name)) {
        Some(object) if object.starts_with('{') => known(object, names).map(Some),
        _ => Some(None),
    };
    let (reference, meta) = (inner("ref", REFERENCE)?, inner("_meta", META)?);
    Some(Read { kind, top, params, reference, meta })
}

/// The members of these names. `None` if a name stands twice, or beside one of these in other letters.
fn known<'a>(object: &'a str, names: &[&'static str]) -> Option<Known<'a>> {
    let (mut known, mut others): (Known<'_>, Vec<String>) = (Vec::new(), Vec::new());
    for member in members(object) {
        let name = member.name?;
        match names.iter().find(|known| known.eq_ignore_ascii_case(&name)) {
            Some(exact) if **exact != name || find(&known, exact).is_some() => return None,
            Some(exact) => known.push((exact, member.value)),
            None if others.len() >= 128 || others.contains(&name) => return None,
            None => others.push(name),
        }
    }
    Some(known)
}

fn find<'a>(known: &Known<'a>, name: &str) -> Option<&'a str> {
    known.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
}

fn compare(message: &[u8], envelope: &Envelope, read: &Read<'_>) {
    let same = |what: &str, span: Option<Span>, ought: Option<&str>| {
        // The same place, not only the same bytes.
        let place = |bytes: &[u8]| (bytes.as_ptr() as usize - message.as_ptr() as usize, bytes.len());
        assert_eq!(span.map(|span| place(span.of(message))), ought.map(|text| place(text.as_bytes())), "{what}");
    };
    assert_eq!(envelope.kind, read.kind);
    let method = find(&read.top, "method").map_or("", |method| &method[1..method.len() - 1]);
    assert_eq!(envelope.method(message), method);
    same("id", envelope.id, find(&read.top, "id").filter(|id| *id != "null"));
    same("result", envelope.result, find(&read.top, "result"));
    same("error", envelope.error, find(&read.top, "error"));
    let (Some(params), Some(ought)) = (&envelope.params, &read.params) else {
        assert!(envelope.params.is_none() && read.params.is_none());
        return;
    };
    same("params", Some(params.all), find(&read.top, "params"));
    for (name, place) in PARAMS {
        let Some(place) = place else { continue };
        let value = find(ought, name).filter(|value| *name != "cursor" || *value != "null");
        same(name, place(params), value);
        let text = value.and_then(super::reference::string);
        assert_eq!(Params::text(place(params), message).as_deref(), text.as_deref(), "{name}");
    }
    let empty = Vec::new();
    let meta = read.meta.as_ref().unwrap_or(&empty);
    same("_meta", params.meta, read.meta.as_ref().and(find(ought, "_meta")));
    let places = [
        params.progress_token,
        params.meta_version,
        params.meta_capabilities,
        params.meta_client_info,
        params.meta_log_level,
    ];
    for (name, place) in META.iter().zip(places) {
        same(name, place, find(meta, name));
    }
    let named = read.reference.iter().flatten().rfind(|(name, _)| *name != "type").map(|(_, value)| *value);
    same("ref", params.reference, named);
}
