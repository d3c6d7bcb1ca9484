//! What serde_json says of a text: the other reader, with which ours must agree.

use serde_json::Deserializer;
use serde_json::value::RawValue;

const SPACE: [char; 4] = [' ', '\n', '\r', '\t'];

/// The one JSON value of a text, without the space around it.
pub(crate) fn value(text: &[u8]) -> Option<&str> {
    serde_json::from_slice::<&RawValue>(text).ok().map(RawValue::get)
}

/// How deep the brackets of a valid JSON text are nested.
pub(crate) fn depth(value: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for byte in value.bytes() {
        match byte {
            _ if std::mem::take(&mut escaped) => (),
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth -= 1,
            _ => (),
        }
    }
    deepest
}

/// A member of an object.
pub(crate) struct Member<'a> {
    /// As it stands, quotes included.
    pub(crate) raw_name: &'a str,
    /// `None` if its escapes name half a surrogate pair.
    pub(crate) name: Option<String>,
    /// As it stands.
    pub(crate) value: &'a str,
}

/// The members of a valid JSON object, in their order.
pub(crate) fn members(object: &str) -> Vec<Member<'_>> {
    let mut members = Vec::new();
    let mut rest = object.trim_start_matches(SPACE).strip_prefix('{').expect("an object");
    loop {
        rest = rest.trim_start_matches([' ', '\n', '\r', '\t', ',']);
        if rest.starts_with('}') {
            return members;
        }
        let (raw_name, after) = next(rest);
        let (value, after) = next(after.trim_start_matches([' ', '\n', '\r', '\t', ':']));
        members.push(Member { raw_name, name: string(raw_name), value });
        rest = after;
    }
}

/// The elements of a valid JSON array, in their order.
pub(crate) fn elements(array: &str) -> Vec<&str> {
    serde_json::from_str::<Vec<&RawValue>>(array).expect("an array").into_iter().map(RawValue::get).collect()
}

/// The text of a string, given with its quotes.
pub(crate) fn string(quoted: &str) -> Option<String> {
    serde_json::from_str(quoted).ok()
}

/// The value at the beginning of a valid text, and what follows it.
fn next(text: &str) -> (&str, &str) {
    let mut values = Deserializer::from_str(text).into_iter::<&RawValue>();
    let value = values.next().expect("a value").expect("valid JSON").get();
    (value, &text[values.byte_offset()..])
}
