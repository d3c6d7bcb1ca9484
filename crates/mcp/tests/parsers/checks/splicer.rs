//! The splicer against serde_json: which answers pass, what becomes of them, and that chunks make no difference.

use std::sync::Arc;

use bytes::Bytes;
use mcp::{Additions, MAX_DEPTH, Splicer};

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
    adding(message, whole.as_ref());
    for chunks in chunkings(message) {
        assert_eq!(splice(&chunks).as_ref().map(text), ought.as_ref().map(text), "in {} chunks", chunks.len());
    }
}

fn text((message, error, failed): &Spliced) -> (String, bool, bool) {
    (String::from_utf8_lossy(message).into_owned(), *error, *failed)
}

fn splice(chunks: &[&[u8]]) -> Option<Spliced> {
    run(Splicer::new(Bytes::from_static(EXPECTED.as_bytes()), Bytes::from_static(CLIENT.as_bytes())), chunks)
}

fn run(mut splicer: Splicer, chunks: &[&[u8]]) -> Option<Spliced> {
    let mut out = Vec::new();
    for chunk in chunks {
        splicer.push(&Bytes::copy_from_slice(chunk), &mut out).ok()?;
    }
    let error = splicer.finish().ok()?;
    Some((out.concat(), error, splicer.is_tool_error()))
}

/// Members that are added while the answer streams by are those that are added to the whole of it.
fn adding(message: &[u8], plain: Option<&Spliced>) {
    let additions = Additions::of(&[("resultType", "\"complete\""), ("ttlMs", "0")]);
    let additions = Arc::new(additions.with_meta("info", Bytes::from_static(b"{\"a\":1}")));
    let mut ways = chunkings(message);
    ways.push(vec![message]);
    for chunks in ways {
        let splicer = Splicer::new(Bytes::from_static(EXPECTED.as_bytes()), Bytes::from_static(CLIENT.as_bytes()));
        let out = run(splicer.adding(additions.clone()), &chunks);
        let (Some((plain, error, _)), Some((out, ..))) = (plain, &out) else {
            assert_eq!(plain.is_some(), out.is_some());
            return;
        };
        let result = |message: &[u8]| mcp::member(message, "result").map(|span| span.of(message).to_vec());
        match result(plain).filter(|result| !error && twice_in(result).is_some_and(|twice| !twice)) {
            None => assert!(!error || out == plain, "an error stays as it is"),
            Some(before) => {
                let parsed = |text: &[u8]| {
                    members(value(text).expect("JSON"))
                        .into_iter()
                        .map(|member| (member.name, spaceless(member.value)))
                        .collect::<Vec<_>>()
                };
                let ought = additions.to(&before).expect("an object");
                assert_eq!(parsed(&result(out).expect("a result")), parsed(&ought), "{}", String::from_utf8_lossy(out));
            }
        }
    }
}

/// Whether an object, or its `_meta`, has two members of one name; `None` if it is none.
fn twice_in(object: &[u8]) -> Option<bool> {
    let members = members(value(object).filter(|object| object.starts_with('{'))?);
    let twice =
        members.iter().enumerate().any(|(at, member)| members[..at].iter().any(|other| other.name == member.name));
    let meta = members.iter().find(|member| is(member, "_meta")).and_then(|meta| twice_in(meta.value.as_bytes()));
    Some(twice || meta.unwrap_or(false))
}

/// Where no string is, space says nothing.
fn spaceless(text: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let keep = |ch: &char| {
        if std::mem::take(&mut escaped) {
            return true;
        }
        match ch {
            '\\' => escaped = true,
            '"' => in_string = !in_string,
            _ => (),
        }
        in_string || !ch.is_ascii_whitespace()
    };
    text.chars().filter(keep).collect()
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
