//! One level of a raw object: members dropped, replaced and added, every other one as it stands.

use std::borrow::Cow;

use crate::json::{JsonError, Scanner, unescape};
use crate::span::Span;

/// What becomes of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It stays as it is.
    Keep,
    /// It goes.
    Drop,
    /// Another value, raw JSON.
    Put(Vec<u8>),
}

/// The members of an object in their order.
#[derive(Debug)]
pub struct Object<'a> {
    text: &'a [u8],
    members: Vec<Member<'a>>,
}

#[derive(Debug)]
struct Member<'a> {
    name: Cow<'a, str>,
    /// Key, colon and value.
    whole: Span,
    value: Span,
}

impl<'a> Object<'a> {
    /// Reads one whole object; `None` if the text is something else.
    pub fn read(text: &'a [u8]) -> Option<Self> {
        std::str::from_utf8(text).ok()?;
        let mut scanner = Scanner::new(text);
        if scanner.peek().ok()? != b'{' {
            return None;
        }
        let mut members = Vec::new();
        let walked: Result<(), JsonError> = scanner.object(1, |scanner, key| {
            let (_, value) = scanner.value(2)?;
            // Half a surrogate pair names nothing that matters here: the member stays.
            let name = unescape(key.of(text)).unwrap_or_default();
            members.push(Member { name, whole: Span::new(key.start(), value.end()), value });
            Ok(())
        });
        walked.ok()?;
        scanner.end().ok()?;
        Some(Self { text, members })
    }

    /// The value of a member, raw; of two with one name the last, as nearly all readers have it.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.members.iter().rfind(|member| member.name == name).map(|member| member.value.of(self.text))
    }

    /// The text of a member that is a string.
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        unescape(self.get(name)?)
    }

    /// Names and raw values, in their order.
    pub fn members(&self) -> impl Iterator<Item = (&str, &'a [u8])> {
        self.members.iter().map(|member| (&*member.name, member.value.of(self.text)))
    }

    /// The object with its members changed, and with those of `added` that it does not have behind its own.
    pub fn edited(&self, mut change: impl FnMut(&str, &'a [u8]) -> Change, added: &[(&str, &[u8])]) -> Vec<u8> {
        let more: usize = added.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let mut out = Vec::with_capacity(self.text.len() + more);
        out.push(b'{');
        let mut kept: Vec<&str> = Vec::new();
        for member in &self.members {
            let change = change(&member.name, member.value.of(self.text));
            if change == Change::Drop {
                continue;
            }
            if out.len() > 1 {
                out.push(b',');
            }
            match change {
                Change::Put(value) => {
                    let key = Span::new(member.whole.start(), member.value.start());
                    out.extend_from_slice(key.of(self.text));
                    out.extend_from_slice(&value);
                }
                _ => out.extend_from_slice(member.whole.of(self.text)),
            }
            if added.iter().any(|(name, _)| *name == member.name) {
                kept.push(&member.name);
            }
        }
        for (name, value) in added.iter().filter(|(name, _)| !kept.contains(name)) {
            if out.len() > 1 {
                out.push(b',');
            }
            crate::write::string(&mut out, name);
            out.push(b':');
            out.extend_from_slice(value);
        }
        out.push(b'}');
        out
    }
}

/// The elements of a raw array; `None` if the text is something else.
pub fn elements(text: &[u8]) -> Option<Vec<&[u8]>> {
    std::str::from_utf8(text).ok()?;
    let mut scanner = Scanner::new(text);
    if scanner.peek().ok()? != b'[' {
        return None;
    }
    let mut found = Vec::new();
    let walked: Result<(), JsonError> = scanner.elements(1, |scanner| {
        let (_, span) = scanner.value(2)?;
        found.push(span.of(text));
        Ok(())
    });
    walked.ok()?;
    scanner.end().ok()?;
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_is_changed() {
        let text = br#" { "a" : [1, 2] , "b":{"a":1},"\u0063":"x" , "d":1e5 } "#;
        let object = Object::read(text).unwrap();
        assert_eq!((object.get("a"), object.get("c")), (Some(&b"[1, 2]"[..]), Some(&b"\"x\""[..])));
        let change = |name: &str, _: &[u8]| match name {
            "a" => Change::Drop,
            "c" => Change::Put(b"7".to_vec()),
            _ => Change::Keep,
        };
        let out = object.edited(change, &[("b", b"0"), ("a", b"true"), ("e\"", b"null")]);
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"b":{"a":1},"\u0063":7,"d":1e5,"a":true,"e\"":null}"#);
        assert_eq!(Object::read(b"{}").unwrap().edited(|_, _| Change::Keep, &[]), b"{}");
    }

    #[test]
    fn what_is_no_object_or_array_is_told() {
        for text in ["[]", "", "{", "{} {}", "{\"a\":}", "7"] {
            assert!(Object::read(text.as_bytes()).is_none(), "{text}");
        }
        assert_eq!(elements(b"[1,{\"a\":[2]} ,\"x\"]").unwrap(), [&b"1"[..], b"{\"a\":[2]}", b"\"x\""]);
        for text in ["{}", "[1", "[1] 2", ""] {
            assert!(elements(text.as_bytes()).is_none(), "{text}");
        }
    }
}
