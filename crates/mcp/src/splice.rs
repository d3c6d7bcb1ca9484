//! Puts the client's id back into a JSON answer while it streams by, without copying it.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use crate::json::MAX_DEPTH;
use crate::result::Additions;
use crate::scalar::Scalar;
use crate::utf8::Utf8;

/// Why an upstream's JSON answer is no answer to the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpliceError {
    /// Not a JSON object, or broken inside.
    #[error("the answer is not a JSON-RPC message")]
    Syntax,
    /// Ended too early.
    #[error("the answer ends too early")]
    Truncated,
    /// Carries another id than the request's.
    #[error("the answer carries another id")]
    WrongId,
    /// Neither result nor error, or both.
    #[error("the answer has neither a result nor an error")]
    Shape,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("the answer is nested too deep")]
    TooDeep,
}

/// What must come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    Value,
    FirstKeyOrEnd,
    FirstValueOrEnd,
    Key,
    Colon,
    CommaOrEnd,
    Nothing,
}

/// What the scanner is inside of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    Between,
    String {
        key: bool,
    },
    /// Right after the backslash.
    Escape {
        key: bool,
    },
    /// In `\u` and its four digits.
    Hex {
        key: bool,
        left: u8,
    },
    Scalar(Scalar),
}

/// Which member of the message is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Id,
    Result,
    Error,
    Other,
}

/// Longest id that an upstream may send: ours have at most 20 digits, a string adds two quotes.
const MAX_ID: usize = 64;
/// Bytes of the longest member name that matters, each of its eight letters escaped.
const MAX_NAME: usize = 48;

/// A scanner over the chunks of one JSON-RPC response. It checks that they are JSON and UTF-8 and
/// have the message's own members, replaces the value of `id`, and passes everything else on as
/// slices of what it was given.
#[derive(Debug)]
pub struct Splicer {
    expected: Bytes,
    replacement: Bytes,
    expect: Expect,
    inside: Inside,
    utf8: Utf8,
    /// One bit per open bracket, lowest = innermost: 1 is an object.
    stack: u64,
    depth: u32,
    name: Vec<u8>,
    member: Member,
    id: Vec<u8>,
    seen_id: bool,
    seen_result: bool,
    seen_error: bool,
    tool_error: bool,
    adding: Option<Box<Adding>>,
}

/// Members to be put behind those of the result.
#[derive(Debug)]
struct Adding {
    additions: Arc<Additions>,
    /// Which of them the result has by itself, one bit each.
    seen: u32,
    /// It has a `_meta` of its own.
    seen_meta: bool,
    /// Inside of that, and it is an object.
    in_meta: bool,
    /// It says by itself what would be added.
    meta_says: bool,
}

impl Splicer {
    /// `expected` is the id that went upstream, `replacement` the client's id, both as JSON text.
    pub fn new(expected: Bytes, replacement: Bytes) -> Self {
        Self {
            expected,
            replacement,
            expect: Expect::Value,
            inside: Inside::Between,
            utf8: Utf8::default(),
            stack: 0,
            depth: 0,
            name: Vec::new(),
            member: Member::Other,
            id: Vec::new(),
            seen_id: false,
            seen_result: false,
            seen_error: false,
            tool_error: false,
            adding: None,
        }
    }

    /// The same, and the result gets these members behind its own, unless it has them.
    pub fn adding(self, additions: Arc<Additions>) -> Self {
        let adding = Adding { additions, seen: 0, seen_meta: false, in_meta: false, meta_says: false };
        Self { adding: Some(Box::new(adding)), ..self }
    }

    /// Takes the next chunk and appends what is to be passed on to `out`.
    pub fn push(&mut self, chunk: &Bytes, out: &mut Vec<Bytes>) -> Result<(), SpliceError> {
        let bytes = chunk.as_ref();
        if !self.utf8.goes_on(bytes) {
            return Err(SpliceError::Syntax);
        }
        let mut at = 0;
        // Where the part that is not yet passed on begins; `None` while the id is being swallowed.
        let mut from = if self.in_id() { None } else { Some(0) };
        while let Some(&byte) = bytes.get(at) {
            match self.inside {
                Inside::String { key } => {
                    let rest = bytes.get(at..).unwrap_or_default();
                    let stop = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                    self.keep(rest.get(..stop).unwrap_or_default(), key)?;
                    at += stop;
                    let Some(&byte) = bytes.get(at) else { break };
                    at += 1;
                    if byte == b'\\' {
                        self.keep(b"\\", key)?;
                        self.inside = Inside::Escape { key };
                        continue;
                    }
                    if self.in_id() {
                        self.id.push(b'"');
                    }
                    self.inside = Inside::Between;
                    if key {
                        self.expect = Expect::Colon;
                    } else {
                        self.value_done(&mut from, at, out)?;
                    }
                }
                Inside::Escape { key } => {
                    self.keep(&[byte], key)?;
                    self.inside = match byte {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Inside::String { key },
                        b'u' => Inside::Hex { key, left: 4 },
                        _ => return Err(SpliceError::Syntax),
                    };
                    at += 1;
                }
                Inside::Hex { key, left } => {
                    if !byte.is_ascii_hexdigit() {
                        return Err(SpliceError::Syntax);
                    }
                    self.keep(&[byte], key)?;
                    self.inside = if left > 1 { Inside::Hex { key, left: left - 1 } } else { Inside::String { key } };
                    at += 1;
                }
                Inside::Scalar(scalar) => match scalar.then(byte) {
                    Some(scalar) => {
                        if self.in_id() {
                            self.keep_id(&[byte])?;
                        }
                        self.inside = Inside::Scalar(scalar);
                        at += 1;
                    }
                    // What can't follow a scalar is found between the tokens.
                    None if scalar.is_whole() => {
                        self.inside = Inside::Between;
                        self.value_done(&mut from, at, out)?;
                    }
                    None => return Err(SpliceError::Syntax),
                },
                Inside::Between => {
                    if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                        self.token(byte, at, chunk, &mut from, out)?;
                    }
                    at += 1;
                }
            }
        }
        if let Some(from) = from
            && from < bytes.len()
        {
            out.push(chunk.slice(from..));
        }
        Ok(())
    }

    /// Call when the body has ended: was it one whole response? True if it was an error.
    pub fn finish(&self) -> Result<bool, SpliceError> {
        if self.expect != Expect::Nothing {
            return Err(SpliceError::Truncated);
        }
        match (self.seen_id, self.seen_result, self.seen_error) {
            (true, true, false) => Ok(false),
            (true, false, true) => Ok(true),
            _ => Err(SpliceError::Shape),
        }
    }

    /// Whether the result says of itself that the tool failed: `"isError": true`, seen while it went by.
    pub fn is_tool_error(&self) -> bool {
        self.tool_error
    }

    fn in_id(&self) -> bool {
        self.depth == 1 && self.member == Member::Id && self.inside != Inside::Between
    }

    /// One byte between strings and scalars that is no white space.
    fn token(
        &mut self,
        byte: u8,
        at: usize,
        chunk: &Bytes,
        from: &mut Option<usize>,
        out: &mut Vec<Bytes>,
    ) -> Result<(), SpliceError> {
        match (self.expect, byte) {
            (Expect::Key | Expect::FirstKeyOrEnd, b'"') => {
                self.name.clear();
                self.inside = Inside::String { key: true };
            }
            (Expect::Colon, b':') => {
                if self.depth == 1 {
                    self.member = self.open_member()?;
                } else if self.adding.is_some() {
                    self.note_name();
                }
                self.expect = Expect::Value;
            }
            (Expect::CommaOrEnd, b',') => {
                self.expect = if self.stack & 1 == 1 { Expect::Key } else { Expect::Value };
            }
            (Expect::CommaOrEnd | Expect::FirstKeyOrEnd, b'}') if self.stack & 1 == 1 => {
                if self.adding.is_some() {
                    self.add(at, chunk, from, out);
                }
                self.close();
            }
            (Expect::CommaOrEnd | Expect::FirstValueOrEnd, b']') if self.stack & 1 == 0 => self.close(),
            (Expect::Value | Expect::FirstValueOrEnd, first) => {
                if self.depth == 0 && first != b'{' {
                    return Err(SpliceError::Syntax);
                }
                let id = self.depth == 1 && self.member == Member::Id;
                match first {
                    b'{' | b'[' if !id => {
                        if self.depth >= MAX_DEPTH {
                            return Err(SpliceError::TooDeep);
                        }
                        self.depth += 1;
                        self.stack = (self.stack << 1) | u64::from(first == b'{');
                        self.expect = if first == b'{' { Expect::FirstKeyOrEnd } else { Expect::FirstValueOrEnd };
                        if let Some(adding) = &mut self.adding
                            && self.depth == 3
                            && self.member == Member::Result
                        {
                            adding.in_meta = first == b'{' && self.stack & 2 == 2 && *self.name == *b"_meta";
                        }
                    }
                    b'"' => self.inside = Inside::String { key: false },
                    _ => {
                        self.inside = Inside::Scalar(Scalar::begin(first).ok_or(SpliceError::Syntax)?);
                        if self.in_result_object() && *self.plain_name() == *b"isError" {
                            self.tool_error = first == b't';
                        }
                    }
                }
                if id {
                    if let Some(from) = from.take()
                        && from < at
                    {
                        out.push(chunk.slice(from..at));
                    }
                    self.keep_id(&[first])?;
                }
            }
            _ => return Err(SpliceError::Syntax),
        }
        Ok(())
    }

    /// The name of a member of the result, or of its `_meta`, was read.
    fn note_name(&mut self) {
        let (in_result, in_meta) = (self.in_result_object(), self.in_meta());
        if !in_result && !in_meta {
            return;
        }
        let name = self.plain_name().into_owned();
        let Some(adding) = &mut self.adding else { return };
        if in_meta {
            adding.meta_says |= adding.additions.meta.as_ref().is_some_and(|(own, _)| own.as_bytes() == name);
            return;
        }
        let known = adding.additions.members.iter().position(|(own, _)| own.as_bytes() == name);
        adding.seen |= known.map_or(0, |at| 1 << at);
        if name == b"_meta" {
            adding.seen_meta = true;
            // As it is compared when its value begins, however it was escaped.
            self.name = name;
        }
    }

    /// Before an object is closed: what is to stand behind its own members.
    fn add(&mut self, at: usize, chunk: &Bytes, from: &mut Option<usize>, out: &mut Vec<Bytes>) {
        let (in_result, in_meta) = (self.in_result_object(), self.in_meta());
        let empty = self.expect == Expect::FirstKeyOrEnd;
        let Some(adding) = &mut self.adding else { return };
        let mut more = Vec::new();
        let mut add = |name: &str, value: &[u8], wrapped: Option<&str>| {
            if !(empty && more.is_empty()) {
                more.push(b',');
            }
            let (open, close) = if wrapped.is_some() { (&b"{"[..], &b"}"[..]) } else { (&b""[..], &b""[..]) };
            if let Some(outer) = wrapped {
                crate::write::string(&mut more, outer);
                more.push(b':');
            }
            more.extend_from_slice(open);
            crate::write::string(&mut more, name);
            more.push(b':');
            more.extend_from_slice(value);
            more.extend_from_slice(close);
        };
        if in_meta {
            adding.in_meta = false;
            if let Some((name, value)) = adding.additions.meta.as_ref().filter(|_| !adding.meta_says) {
                add(name, value, None);
            }
        } else if in_result {
            for (bit, (name, value)) in adding.additions.members.iter().enumerate() {
                if adding.seen & (1 << bit) == 0 {
                    add(name, value, None);
                }
            }
            if let Some((name, value)) = adding.additions.meta.as_ref().filter(|_| !adding.seen_meta) {
                add(name, value, Some("_meta"));
            }
        }
        if more.is_empty() {
            return;
        }
        if let Some(from) = from.replace(at)
            && from < at
        {
            out.push(chunk.slice(from..at));
        }
        out.push(more.into());
    }

    /// Right inside of the `_meta` of the result, where that matters.
    fn in_meta(&self) -> bool {
        self.depth == 3 && self.adding.as_ref().is_some_and(|adding| adding.in_meta)
    }

    /// Right inside of the result, and that is an object.
    fn in_result_object(&self) -> bool {
        self.depth == 2 && self.member == Member::Result && self.stack & 1 == 1
    }

    /// The name of the member without its escapes; one that is too long to matter stays cut.
    fn plain_name(&self) -> Cow<'_, [u8]> {
        if !self.name.contains(&b'\\') || self.name.len() > MAX_NAME {
            return Cow::Borrowed(&self.name);
        }
        let quoted = [b"\"", self.name.as_slice(), b"\""].concat();
        let plain = crate::json::unescape(&quoted).map(|name| name.into_owned().into_bytes());
        // Half a surrogate pair is no letter of a name that matters.
        plain.map_or(Cow::Borrowed(&self.name), Cow::Owned)
    }

    fn open_member(&mut self) -> Result<Member, SpliceError> {
        let member = match &*self.plain_name() {
            b"id" => Member::Id,
            b"result" => Member::Result,
            b"error" => Member::Error,
            // With a method it is a request; in other letters some readers would take it for the member itself.
            name if ["id", "result", "error", "method"].iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes())) => {
                return Err(SpliceError::Syntax);
            }
            _ => Member::Other,
        };
        let seen = match member {
            Member::Id => &mut self.seen_id,
            Member::Result => &mut self.seen_result,
            Member::Error => &mut self.seen_error,
            Member::Other => return Ok(member),
        };
        if std::mem::replace(seen, true) { Err(SpliceError::Syntax) } else { Ok(member) }
    }

    fn close(&mut self) {
        self.stack >>= 1;
        self.depth -= 1;
        self.expect = if self.depth == 0 { Expect::Nothing } else { Expect::CommaOrEnd };
    }

    /// A string or scalar ended right before `at`.
    fn value_done(&mut self, from: &mut Option<usize>, at: usize, out: &mut Vec<Bytes>) -> Result<(), SpliceError> {
        self.expect = Expect::CommaOrEnd;
        if self.depth == 1 && self.member == Member::Id && from.is_none() {
            let quoted = self.id.strip_prefix(b"\"").and_then(|id| id.strip_suffix(b"\""));
            // Null is what refusals before parsing carry; in a body of its own it can only mean this request.
            if self.id != self.expected && quoted != Some(&self.expected) && self.id != b"null" {
                return Err(SpliceError::WrongId);
            }
            out.push(self.replacement.clone());
            *from = Some(at);
            self.member = Member::Other;
        }
        Ok(())
    }

    fn keep(&mut self, part: &[u8], key: bool) -> Result<(), SpliceError> {
        if crate::json::has_control(part) {
            return Err(SpliceError::Syntax);
        }
        if key {
            if self.depth == 1 || self.in_result_object() || self.in_meta() {
                self.name.extend(part.iter().take((MAX_NAME + 1).saturating_sub(self.name.len())));
            }
        } else if self.in_id() {
            self.keep_id(part)?;
        }
        Ok(())
    }

    fn keep_id(&mut self, part: &[u8]) -> Result<(), SpliceError> {
        if self.id.len() + part.len() > MAX_ID {
            return Err(SpliceError::WrongId);
        }
        self.id.extend_from_slice(part);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splice(chunks: &[&str]) -> Result<(String, bool), SpliceError> {
        let mut splicer = Splicer::new(Bytes::from_static(b"17"), Bytes::from_static(b"\"client\""));
        let mut out = Vec::new();
        for chunk in chunks {
            splicer.push(&Bytes::copy_from_slice(chunk.as_bytes()), &mut out)?;
        }
        let error = splicer.finish()?;
        Ok((String::from_utf8(out.concat()).unwrap(), error))
    }

    #[test]
    fn the_id_is_replaced_wherever_it_stands_and_however_it_is_cut() {
        for (message, expected) in [
            (
                r#"{"jsonrpc":"2.0","id":17,"result":{"id":17}}"#,
                r#"{"jsonrpc":"2.0","id":"client","result":{"id":17}}"#,
            ),
            (
                r#"{"result":{"a":["x\"}",{}],"b":-1.5e3,"c":null},"jsonrpc":"2.0","id": 17 }"#,
                r#"{"result":{"a":["x\"}",{}],"b":-1.5e3,"c":null},"jsonrpc":"2.0","id": "client" }"#,
            ),
            (r#"{"id":"17","result":[]}"#, r#"{"id":"client","result":[]}"#),
            (r#"{"id":17,"result":{}}"#, r#"{"id":"client","result":{}}"#),
            (r#"{"\u0069d":17,"re\u0073ult":{}}"#, r#"{"\u0069d":"client","re\u0073ult":{}}"#),
        ] {
            assert_eq!(splice(&[message]), Ok((expected.to_owned(), false)));
            for cut in 1..message.len() {
                let (left, right) = message.split_at(cut);
                assert_eq!(splice(&[left, right]), Ok((expected.to_owned(), false)), "cut at {cut}");
            }
            let bytes: Vec<&str> = (0..message.len()).map(|at| &message[at..=at]).collect();
            assert_eq!(splice(&bytes), Ok((expected.to_owned(), false)));
        }
    }

    #[test]
    fn a_result_gets_its_additions_however_it_is_cut() {
        let additions = Additions::of(&[("resultType", "\"complete\""), ("ttlMs", "0")]);
        let additions = Arc::new(additions.with_meta("info", Bytes::from_static(b"{\"a\":1}")));
        for (result, expected) in [
            ("{}", r#"{"resultType":"complete","ttlMs":0,"_meta":{"info":{"a":1}}}"#),
            (
                r#"{ "content":[{"ttlMs":1,"_meta":{"info":1}}] }"#,
                r#"{ "content":[{"ttlMs":1,"_meta":{"info":1}}] ,"resultType":"complete","ttlMs":0,"_meta":{"info":{"a":1}}}"#,
            ),
            (
                r#"{"_meta":{"b":{}},"ttl\u004ds":5}"#,
                r#"{"_meta":{"b":{},"info":{"a":1}},"ttl\u004ds":5,"resultType":"complete"}"#,
            ),
            (r#"{"_m\u0065ta":{}}"#, r#"{"_m\u0065ta":{"info":{"a":1}},"resultType":"complete","ttlMs":0}"#),
            (
                r#"{"_meta":{"info":7},"x":{"y":{}},"resultType":"task"}"#,
                r#"{"_meta":{"info":7},"x":{"y":{}},"resultType":"task","ttlMs":0}"#,
            ),
            (r#"{"_meta":null}"#, r#"{"_meta":null,"resultType":"complete","ttlMs":0}"#),
            ("[{}]", "[{}]"),
            ("7", "7"),
        ] {
            let message = format!(r#"{{"x":{{"_meta":{{}}}},"id":17,"result":{result}}}"#);
            let expected = format!(r#"{{"x":{{"_meta":{{}}}},"id":"c","result":{expected}}}"#);
            for cut in 0..message.len() {
                let splicer = Splicer::new(Bytes::from_static(b"17"), Bytes::from_static(b"\"c\""));
                let mut splicer = splicer.adding(additions.clone());
                let (left, right) = message.split_at(cut);
                let mut out = Vec::new();
                for part in [left, right] {
                    splicer.push(&Bytes::copy_from_slice(part.as_bytes()), &mut out).unwrap();
                }
                assert_eq!(splicer.finish(), Ok(false));
                assert_eq!(String::from_utf8(out.concat()).unwrap(), expected, "cut at {cut}");
            }
        }
        let error = r#"{"id":17,"error":{"code":1,"message":"","data":{"_meta":{}}}}"#;
        let mut splicer = Splicer::new(Bytes::from_static(b"17"), Bytes::from_static(b"17")).adding(additions);
        let mut out = Vec::new();
        splicer.push(&Bytes::from_static(error.as_bytes()), &mut out).unwrap();
        assert_eq!(out.concat(), error.as_bytes(), "an error stays as it is");
    }

    #[test]
    fn errors_are_told_from_results() {
        assert!(splice(&[r#"{"error":{"code":-1,"message":"no"},"id":17}"#]).unwrap().1);
        assert!(splice(&[r#"{"error":{"code":-1,"message":"no"},"id":null}"#]).unwrap().1);
    }

    #[test]
    fn a_tool_that_failed_is_seen_wherever_it_says_so() {
        for (message, failed) in [
            (r#"{"id":17,"result":{"content":[],"isError":true}}"#, true),
            (r#"{"id":17,"result":{"isError": true ,"content":[{"isError":false}]}}"#, true),
            (r#"{"result":{"content":[{"type":"text","text":"x"}],"isError":false},"id":17}"#, false),
            (r#"{"id":17,"result":{"content":[{"isError":true}],"structuredContent":{"isError":true}}}"#, false),
            (r#"{"id":17,"result":[{"isError":true}]}"#, false),
            (r#"{"id":17,"result":{"isErrors":true,"isError":"true"}}"#, false),
            (r#"{"id":17,"x":{"isError":true},"result":{}}"#, false),
        ] {
            for cut in 1..message.len() {
                let mut splicer = Splicer::new(Bytes::from_static(b"17"), Bytes::from_static(b"1"));
                let (left, right) = message.split_at(cut);
                let mut out = Vec::new();
                splicer.push(&Bytes::copy_from_slice(left.as_bytes()), &mut out).unwrap();
                splicer.push(&Bytes::copy_from_slice(right.as_bytes()), &mut out).unwrap();
                assert_eq!(splicer.finish(), Ok(false));
                assert_eq!(splicer.is_tool_error(), failed, "{message} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        for (message, error) in [
            ("<html>", SpliceError::Syntax),
            ("[]", SpliceError::Syntax),
            ("", SpliceError::Truncated),
            (r#"{"id":17,"result":{"#, SpliceError::Truncated),
            (r#"{"id":17,"result":{}} x"#, SpliceError::Syntax),
            (r#"{"id":17,"result":{]}"#, SpliceError::Syntax),
            (r#"{"id":17,"result":{"a"}}"#, SpliceError::Syntax),
            (r#"{"id":17,"result":{"a":1,}}"#, SpliceError::Syntax),
            (r#"{"id":18,"result":{}}"#, SpliceError::WrongId),
            (r#"{"id":{},"result":{}}"#, SpliceError::Syntax),
            (r#"{"id":17}"#, SpliceError::Shape),
            (r#"{"result":{}}"#, SpliceError::Shape),
            (r#"{"id":17,"result":{},"error":{}}"#, SpliceError::Shape),
            (r#"{"id":17,"id":17,"result":{}}"#, SpliceError::Syntax),
            // Another reader could take each of these for another answer, or for a request.
            (r#"{"id":17,"\u0069d":5,"result":{}}"#, SpliceError::Syntax),
            (r#"{"id":17,"result":{},"ID":5}"#, SpliceError::Syntax),
            (r#"{"id":17,"result":{},"r\u0065sult":{}}"#, SpliceError::Syntax),
            (r#"{"id":17,"result":{},"\u0065\u0072\u0072\u006f\u0072":{}}"#, SpliceError::Shape),
            (r#"{"id":17,"result":{},"Error":{}}"#, SpliceError::Syntax),
            (r#"{"id":17,"result":{},"method":"sampling/createMessage"}"#, SpliceError::Syntax),
        ] {
            assert_eq!(splice(&[message]).err(), Some(error), "{message}");
        }
    }

    #[test]
    fn depth_is_bounded_as_for_requests() {
        let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        assert!(splice(&["{\"id\":17,\"result\":", &deep(63), "}"]).is_ok());
        assert_eq!(splice(&["{\"id\":17,\"result\":", &deep(64), "}"]).err(), Some(SpliceError::TooDeep));
    }

    #[test]
    fn what_is_inside_is_checked_too_wherever_it_is_cut() {
        for good in ["null", "true", "-1.5e+3", "\"\\u00e9\\n\"", "\"é€😀\"", "[0,false]"] {
            let message = format!("{{\"result\":{{\"a\":{good}}},\"id\":17}}");
            assert!(whole_and_cut(message.as_bytes()).iter().all(Option::is_none), "{good}");
        }
        for bad in [
            &b"nul"[..],
            b"nulll",
            b"1.2.3e",
            b"01",
            b"-",
            b"1e",
            b"NaN",
            b"\"\\x\"",
            b"\"\\u12g4\"",
            b"\"\xff\"",
            b"\"\xe2\x82\"",
        ] {
            let message = [b"{\"result\":{\"a\":", bad, b"},\"id\":17}"].concat();
            assert!(whole_and_cut(&message).iter().all(|error| *error == Some(SpliceError::Syntax)), "{bad:?}");
        }
    }

    /// The error of a message as one chunk, and of each way to cut it into two.
    fn whole_and_cut(message: &[u8]) -> Vec<Option<SpliceError>> {
        let error = |cut: usize| {
            let mut splicer = Splicer::new(Bytes::from_static(b"17"), Bytes::from_static(b"1"));
            let (left, right) = message.split_at(cut);
            let mut out = Vec::new();
            let pushed = splicer.push(&Bytes::copy_from_slice(left), &mut out);
            pushed
                .and_then(|()| splicer.push(&Bytes::copy_from_slice(right), &mut out))
                .and_then(|()| splicer.finish())
                .err()
        };
        (0..message.len()).map(error).collect()
    }

    proptest::proptest! {
        #[test]
        fn any_chunking_gives_the_same_bytes(cuts in proptest::collection::vec(0usize..60, 0..6)) {
            let message = r#"{"jsonrpc":"2.0","result":{"t":"a\\\"b"},"id":17,"x":[1]}"#;
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(message.len())).collect();
            cuts.sort_unstable();
            let mut parts = Vec::new();
            let mut from = 0;
            for cut in cuts { parts.push(&message[from..cut]); from = cut; }
            parts.push(&message[from..]);
            let expected = message.replace("17", "\"client\"");
            proptest::prop_assert_eq!(splice(&parts), Ok((expected, false)));
        }
    }
}
