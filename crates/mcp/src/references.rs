//! What in a result or in the params of a notification names something of one server's: URIs of resources and ids of
//! tasks. Where several servers stand behind one URL, these must lead back to the right one.

use crate::json::{JsonError, Scanner, Value, unescape};
use crate::span::Span;
use crate::write::{Patch, patched, string};

/// What a text names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A resource that is only pointed to (`resource_link`).
    Link,
    /// A resource that comes along (`resource` in content, `contents` of resources/read).
    Resource,
    /// The resource of notifications/resources/updated.
    Updated,
    /// A task.
    Task,
}

/// The key of `_meta` under which a message names the task that it belongs to (2025-11-25).
const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";

/// Most references of one message that are found.
const MOST: usize = 4096;

/// The raw object with its references replaced by what `rename` makes of them; `None` if nothing is to change, or it is
/// no JSON object. Content inside other texts is not looked at.
pub fn renamed(object: &[u8], mut rename: impl FnMut(Reference, &str) -> Option<String>) -> Option<Vec<u8>> {
    let found = references(object).ok()?;
    let mut texts: Vec<(Span, Vec<u8>)> = Vec::new();
    for (reference, span) in found {
        let text = unescape(span.of(object))?;
        if let Some(name) = rename(reference, &text) {
            let mut out = Vec::with_capacity(name.len() + 2);
            string(&mut out, &name);
            texts.push((span, out));
        }
    }
    if texts.is_empty() {
        return None;
    }
    let patches: Vec<Patch<'_>> = texts.iter().map(|(span, with)| Patch { span: *span, with }).collect();
    let grown: usize = texts.iter().map(|(_, text)| text.len()).sum();
    let mut out = Vec::with_capacity(object.len() + grown);
    patched(&mut out, object, Span::whole(object), &patches);
    Some(out)
}

/// Whether there may be any reference in a text: quick, and true more often than needed.
pub fn may_hold(text: &[u8]) -> bool {
    memchr::memmem::find(text, b"uri\"").is_some() || memchr::memmem::find(text, b"taskId\"").is_some()
}

/// The same of a text in pieces, wherever it was cut.
pub fn may_hold_in<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> bool {
    // What the longest word could have begun in: a byte less than it has.
    const SEAM: usize = b"taskId\"".len() - 1;
    let mut seam = Vec::with_capacity(2 * SEAM);
    pieces.into_iter().any(|piece| {
        let (head, tail) = (piece.get(..SEAM).unwrap_or(piece), piece.get(piece.len().saturating_sub(SEAM)..));
        seam.extend_from_slice(head);
        let found = may_hold(&seam) || may_hold(piece);
        if piece.len() > SEAM {
            seam.clear();
            seam.extend_from_slice(tail.unwrap_or_default());
        }
        seam.drain(..seam.len().saturating_sub(SEAM));
        found
    })
}

/// The references of an object, in the order of their places, each as the span of its text with the quotes.
fn references(object: &[u8]) -> Result<Vec<(Reference, Span)>, JsonError> {
    if let Err(error) = std::str::from_utf8(object) {
        return Err(JsonError::Syntax(error.valid_up_to()));
    }
    let mut finder = Finder { text: object, found: Vec::new() };
    let mut scanner = Scanner::new(object);
    finder.message(&mut scanner, 1)?;
    scanner.end()?;
    finder.found.sort_unstable_by_key(|(_, span)| span.start());
    Ok(finder.found)
}

struct Finder<'a> {
    text: &'a [u8],
    found: Vec<(Reference, Span)>,
}

impl<'a> Finder<'a> {
    fn note(&mut self, reference: Reference, value: Value, span: Span) {
        if value == Value::String && self.found.len() < MOST {
            self.found.push((reference, span));
        }
    }

    fn name(&self, key: Span) -> std::borrow::Cow<'a, str> {
        unescape(key.of(self.text)).unwrap_or_default()
    }

    /// A result, the params of a notification, or a result inside a task's.
    fn message(&mut self, scanner: &mut Scanner<'a>, depth: u32) -> Result<(), JsonError> {
        self.object(scanner, depth, |finder, scanner, name| match name {
            "content" => finder.each(scanner, depth + 1, Self::block),
            "contents" => finder.each(scanner, depth + 1, |finder, scanner, depth| {
                finder.member(scanner, depth, "uri", Reference::Resource)
            }),
            "messages" => finder.each(scanner, depth + 1, |finder, scanner, depth| {
                finder.object(scanner, depth, |finder, scanner, name| match name {
                    "content" => finder.each(scanner, depth + 1, Self::block),
                    _ => scanner.value(depth + 1).map(drop),
                })
            }),
            "task" => finder.member(scanner, depth + 1, "taskId", Reference::Task),
            "tasks" => finder.each(scanner, depth + 1, |finder, scanner, depth| {
                finder.member(scanner, depth, "taskId", Reference::Task)
            }),
            "result" if depth == 1 => finder.message(scanner, depth + 1),
            "_meta" => finder.object(scanner, depth + 1, |finder, scanner, name| match name {
                RELATED_TASK => finder.member(scanner, depth + 2, "taskId", Reference::Task),
                _ => scanner.value(depth + 2).map(drop),
            }),
            "taskId" => finder.text(scanner, depth + 1, Reference::Task),
            "uri" => finder.text(scanner, depth + 1, Reference::Updated),
            _ => scanner.value(depth + 1).map(drop),
        })
    }

    /// A block of content: what its `uri` is depends on its `type`, which may stand after it.
    fn block(&mut self, scanner: &mut Scanner<'a>, depth: u32) -> Result<(), JsonError> {
        let mut is_link = false;
        let mut uri = None;
        self.object(scanner, depth, |finder, scanner, name| match name {
            "resource" => finder.member(scanner, depth + 1, "uri", Reference::Resource),
            "content" => finder.each(scanner, depth + 1, Self::block),
            name => {
                let (value, span) = scanner.value(depth + 1)?;
                match name {
                    "type" => is_link = span.of(finder.text) == b"\"resource_link\"",
                    "uri" => uri = Some((value, span)),
                    _ => (),
                }
                Ok(())
            }
        })?;
        if let Some((value, span)) = uri.filter(|_| is_link) {
            self.note(Reference::Link, value, span);
        }
        Ok(())
    }

    /// An object's one member that is a reference.
    fn member(
        &mut self,
        scanner: &mut Scanner<'a>,
        depth: u32,
        wanted: &str,
        reference: Reference,
    ) -> Result<(), JsonError> {
        self.object(scanner, depth, |finder, scanner, name| {
            if name == wanted { finder.text(scanner, depth + 1, reference) } else { scanner.value(depth + 1).map(drop) }
        })
    }

    fn text(&mut self, scanner: &mut Scanner<'a>, depth: u32, reference: Reference) -> Result<(), JsonError> {
        let (value, span) = scanner.value(depth)?;
        self.note(reference, value, span);
        Ok(())
    }

    /// Walks an object; passes over any other value.
    fn object(
        &mut self,
        scanner: &mut Scanner<'a>,
        depth: u32,
        mut member: impl FnMut(&mut Self, &mut Scanner<'a>, &str) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        if scanner.peek()? != b'{' {
            return scanner.value(depth).map(drop);
        }
        scanner.object(depth, |scanner, key| {
            let name = self.name(key);
            member(self, scanner, &name)
        })
    }

    /// Walks the elements of an array, or the one that stands in its place.
    fn each(
        &mut self,
        scanner: &mut Scanner<'a>,
        depth: u32,
        mut element: impl FnMut(&mut Self, &mut Scanner<'a>, u32) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        if scanner.peek()? != b'[' {
            return element(self, scanner, depth);
        }
        scanner.elements(depth, |scanner| element(self, scanner, depth + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(object: &str) -> Vec<(Reference, String)> {
        let mut found = Vec::new();
        let none = renamed(object.as_bytes(), |reference, text| {
            found.push((reference, text.to_owned()));
            None
        });
        assert_eq!(none, None);
        found
    }

    #[test]
    fn references_are_found_where_the_protocol_puts_them_and_nowhere_else() {
        let (link, resource, task) = (Reference::Link, Reference::Resource, Reference::Task);
        for (object, references) in [
            (r#"{"content":[{"type":"text","text":"uri","uri":"no"}]}"#, vec![]),
            (
                r#"{"content":[{"uri":"a:1","type":"resource_link"},{"type":"resource","resource":{"uri":"b:2","text":""}}]}"#,
                vec![(link, "a:1"), (resource, "b:2")],
            ),
            (
                r#"{"contents":[{"uri":"a:1","text":"x"},{"uri":"b:2","blob":""}]}"#,
                vec![(resource, "a:1"), (resource, "b:2")],
            ),
            (
                r#"{"messages":[{"role":"user","content":{"type":"resource","resource":{"uri":"a:1"}}}]}"#,
                vec![(resource, "a:1")],
            ),
            (
                r#"{"messages":[{"role":"user","content":[{"type":"resource_link","uri":"a\u003a1"}]}]}"#,
                vec![(link, "a:1")],
            ),
            (r#"{"task":{"taskId":"t","status":"working"}}"#, vec![(task, "t")]),
            (r#"{"resultType":"task","taskId":"t"}"#, vec![(task, "t")]),
            (r#"{"tasks":[{"taskId":"t"},{"taskId":"u"}]}"#, vec![(task, "t"), (task, "u")]),
            (
                r#"{"taskId":"t","result":{"content":[{"type":"resource_link","uri":"a:1"}]}}"#,
                vec![(task, "t"), (link, "a:1")],
            ),
            (
                r#"{"content":[],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"t"},"taskId":"no"}}"#,
                vec![(task, "t")],
            ),
            (r#"{"uri":"a:1"}"#, vec![(Reference::Updated, "a:1")]),
            (
                r#"{"structuredContent":{"uri":"no","content":[{"type":"resource_link","uri":"no"}]},"content":7,"contents":null}"#,
                vec![],
            ),
            ("[]", vec![]),
        ] {
            let references: Vec<_> = references.into_iter().map(|(kind, text)| (kind, text.to_owned())).collect();
            assert_eq!(found(object), references, "{object}");
            assert!(references.is_empty() || may_hold(object.as_bytes()), "{object}");
        }
        assert_eq!(found("{\"uri\":"), vec![]);
    }

    #[test]
    fn everything_but_the_references_stays_as_it_was() {
        let result = br#"{ "content" : [{"uri":"a:1","type":"resource_link","x":1.0}], "n": 10000000000000000000001 }"#;
        let out = renamed(result, |_, text| Some(format!("gw+notes:{text}"))).unwrap();
        let expected =
            r#"{ "content" : [{"uri":"gw+notes:a:1","type":"resource_link","x":1.0}], "n": 10000000000000000000001 }"#;
        assert_eq!(std::str::from_utf8(&out).unwrap(), expected);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,200}") {
            let _ = renamed(text.as_bytes(), |_, _| Some(String::new()));
        }
    }

    #[test]
    fn a_word_is_found_wherever_it_was_cut() {
        for (text, holds) in
            [(&br#"{"x":1,"taskId":"t"}"#[..], true), (br#"{"uri":"a"}"#, true), (br#"{"text":"uri task Id"}"#, false)]
        {
            for size in 1..=text.len() {
                assert_eq!(may_hold_in(text.chunks(size)), holds, "{size}");
            }
            let (one, rest) = text.split_at(4);
            assert_eq!(may_hold_in([one, &[], rest]), holds);
        }
        assert!(!may_hold_in([]));
    }
}
