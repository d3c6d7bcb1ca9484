//! The splicer against serde_json: which answers pass, what becomes of them, and that chunks make no difference.

use bytes::Bytes;
use mcp::{MAX_DEPTH, Splicer};

use super::chunkings;
use super::reference::{Member, depth, members, value};

const EXPECTED: &str = "17";
const CLIENT: &str = "\"c\"";

/// What came out, whether it was an error, and whether it says that the tool failed.
type Spliced = (Vec<u8>, bool, bool);

pub(crate) fn check(message: &[u8]) {
    let ought = read(message);
    let whole = splice(&[message]);
    assert_eq!(whole.as_ref().map(text), ought.as_ref().map(text), "as one chunk");
    for chunks in chunkings(message) {
        assert_eq!(splice(&chunks).as_ref().map(text), ought.as_ref().map(text), "in {} chunks", chunks.len());
    }
}

fn text((message, error, failed): &Spliced) -> (String, bool, bool) {
    (String::from_utf8_lossy(message).into_owned(), *error, *failed)
}

fn splice(chunks: &[&[u8]]) -> Option<Spliced> {
    let mut splicer = Splicer::new(Bytes::from_static(EXPECTED.as_bytes()), Bytes::from_static(CLIENT.as_bytes()));
    let mut out = Vec::new();
    for chunk in chunks {
        splicer.push(&Bytes::copy_from_slice(chunk), &mut out).ok()?;
    }
    let error = splicer.finish().ok()?;
    Some((out.concat(), error, splicer.is_tool_error()))
}

/// An answer is an object with our id and a result or an error, each once, in these letters.
fn read(message: &[u8]) -> Option<Spliced> {
    let object = value(message).filter(|value| value.starts_with('{') && depth(value) <= MAX_DEPTH as usize)?;
    let members = members(object);
    let found = |name: &str| members.iter().filter(|member| is(member, name)).collect::<Vec<_>>();
    let variant = |member: &Member<'_>| {
        let name = member.name.as_deref().unwrap_or_default();
        ["id", "result", "error", "method"].iter().any(|known| known.eq_ignore_ascii_case(name) && *known != name)
    };
    if members.iter().any(variant) || !found("method").is_empty() {
        return None;
    }
    let (error, body) = match (found("result").as_slice(), found("error").as_slice()) {
        ([result], []) => (false, *result),
        ([], [error]) => (true, *error),
        _ => return None,
    };
    let ids = found("id");
    let [id] = &ids[..] else { return None };
    if id.value != EXPECTED && id.value != format!("\"{EXPECTED}\"") && id.value != "null" {
        return None;
    }
    let failed = !error && body.value.starts_with('{') && {
        let inner = super::reference::members(body.value);
        // The last one that is no string, object or array.
        let said = inner.iter().rfind(|member| is(member, "isError") && !member.value.starts_with(['"', '{', '[']));
        said.is_some_and(|said| said.value == "true")
    };
    let at = id.value.as_ptr() as usize - message.as_ptr() as usize;
    let spliced = [&message[..at], CLIENT.as_bytes(), &message[at + id.value.len()..]].concat();
    Some((spliced, error, failed))
}

fn is(member: &Member<'_>, name: &str) -> bool {
    member.name.as_deref() == Some(name)
}
