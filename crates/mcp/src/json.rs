//! A strict scanner over complete JSON text: validates everything, copies nothing.

use std::borrow::Cow;

use crate::span::Span;

/// Deepest nesting that is accepted.
pub const MAX_DEPTH: u32 = 64;

/// Why a text is refused. Offsets are bytes from the beginning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, or not UTF-8.
    #[error("not valid JSON at byte {0}")]
    Syntax(usize),
    /// Valid so far, but ends too early.
    #[error("the JSON text ends too early")]
    Truncated,
    /// Something follows the value.
    #[error("something follows the JSON value at byte {0}")]
    Trailing(usize),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// What kind of value was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    String,
    Number { integer: bool },
    Object,
    Array,
    Bool,
    Null,
}

pub(crate) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    /// `text` must be UTF-8; the caller has checked it.
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn peek(&mut self) -> Result<u8, JsonError> {
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Ok(*byte),
            }
        }
        Err(JsonError::Truncated)
    }

    pub(crate) fn end(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Err(_) => Ok(()),
            Ok(_) => Err(JsonError::Trailing(self.at)),
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek()? == byte {
            self.at += 1;
            Ok(())
        } else {
            Err(JsonError::Syntax(self.at))
        }
    }

    /// Passes over one value of any kind and says where it stands. `depth` is its level if it has brackets.
    pub(crate) fn value(&mut self, depth: u32) -> Result<(Value, Span), JsonError> {
        let first = self.peek()?;
        let start = self.at;
        let value = match first {
            b'"' => {
                self.string()?;
                Value::String
            }
            b'{' => {
                self.object(depth, |scanner, _| scanner.value(depth + 1).map(drop))?;
                Value::Object
            }
            b'[' => {
                self.array(depth)?;
                Value::Array
            }
            b't' => self.literal(b"true", Value::Bool)?,
            b'f' => self.literal(b"false", Value::Bool)?,
            b'n' => self.literal(b"null", Value::Null)?,
            b'-' | b'0'..=b'9' => self.number()?,
            _ => return Err(JsonError::Syntax(start)),
        };
        Ok((value, Span::new(start, self.at)))
    }

    /// Walks an object; `member` is called with the span of each key (quotes included) and must
    /// pass over the value.
    pub(crate) fn object<E: From<JsonError>>(
        &mut self,
        depth: u32,
        mut member: impl FnMut(&mut Self, Span) -> Result<(), E>,
    ) -> Result<(), E> {
        if depth > MAX_DEPTH {
            return Err(JsonError::TooDeep.into());
        }
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.peek()? != b'"' {
                return Err(JsonError::Syntax(self.at).into());
            }
            let start = self.at;
            self.string()?;
            let key = Span::new(start, self.at);
            self.expect(b':')?;
            member(self, key)?;
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(JsonError::Syntax(self.at).into()),
            }
        }
    }

    fn array(&mut self, depth: u32) -> Result<(), JsonError> {
        self.elements(depth, |scanner| scanner.value(depth + 1).map(drop))
    }

    /// Walks an array; `element` is called at the beginning of each and must pass over it.
    pub(crate) fn elements<E: From<JsonError>>(
        &mut self,
        depth: u32,
        mut element: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        if depth > MAX_DEPTH {
            return Err(JsonError::TooDeep.into());
        }
        self.expect(b'[')?;
        if self.peek()? == b']' {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.peek()?;
            element(self)?;
            match self.peek()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(JsonError::Syntax(self.at).into()),
            }
        }
    }

    /// Passes over a string, the scanner standing at its opening quote.
    fn string(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let stop = memchr::memchr2(b'"', b'\\', rest).ok_or(JsonError::Truncated)?;
            let plain = rest.get(..stop).unwrap_or_default();
            if has_control(plain) {
                return Err(JsonError::Syntax(self.at));
            }
            self.at += stop;
            if rest.get(stop) == Some(&b'"') {
                self.at += 1;
                return Ok(());
            }
            match self.text.get(self.at + 1) {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
                Some(b'u') => {
                    let digits = self.text.get(self.at + 2..self.at + 6).ok_or(JsonError::Truncated)?;
                    if !digits.iter().all(u8::is_ascii_hexdigit) {
                        return Err(JsonError::Syntax(self.at));
                    }
                    self.at += 6;
                }
                Some(_) => return Err(JsonError::Syntax(self.at)),
                None => return Err(JsonError::Truncated),
            }
        }
    }

    fn literal(&mut self, word: &[u8], value: Value) -> Result<Value, JsonError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if rest.starts_with(word) {
            self.at += word.len();
            Ok(value)
        } else if word.starts_with(rest) {
            Err(JsonError::Truncated)
        } else {
            Err(JsonError::Syntax(self.at))
        }
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        let mut integer = true;
        if self.text.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        match self.text.get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(JsonError::Syntax(start)),
        }
        if self.text.get(self.at) == Some(&b'.') {
            integer = false;
            self.at += 1;
            self.some_digits(start)?;
        }
        if matches!(self.text.get(self.at), Some(b'e' | b'E')) {
            integer = false;
            self.at += 1;
            if matches!(self.text.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits(start)?;
        }
        Ok(Value::Number { integer })
    }

    fn some_digits(&mut self, start: usize) -> Result<(), JsonError> {
        let before = self.at;
        self.digits();
        if self.at == before { Err(JsonError::Syntax(start)) } else { Ok(()) }
    }

    fn digits(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }
}

/// Whether a part of a string holds a control character, which JSON forbids. Looks at every byte
/// without leaving early: so the compiler makes vector instructions of it.
pub(crate) fn has_control(part: &[u8]) -> bool {
    part.iter().fold(false, |found, byte| found | (*byte < 0x20))
}

/// The place of one member's value in an object; `None` if it is absent or the text no object.
pub fn member(object: &[u8], name: &str) -> Option<Span> {
    std::str::from_utf8(object).ok()?;
    let mut scanner = Scanner::new(object);
    let mut found = None;
    if scanner.peek().ok()? != b'{' {
        return None;
    }
    let walked: Result<(), JsonError> = scanner.object(1, |scanner, key| {
        let wanted = unescape(key.of(object)).is_some_and(|key| key == name);
        let (_, span) = scanner.value(2)?;
        if wanted {
            found = Some(span);
        }
        Ok(())
    });
    walked.ok().and(found)
}

/// The text of a JSON string, given with its quotes. `None` if the escapes name half a surrogate
/// pair: such a text has no meaning that two parsers agree on.
pub fn unescape(quoted: &[u8]) -> Option<Cow<'_, str>> {
    let inner = quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let inner = std::str::from_utf8(inner).ok()?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    let mut text = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(ch) = chars.next() {
        if ch != '\\' {
            text.push(ch);
            continue;
        }
        text.push(match chars.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let high = hex4(&mut chars)?;
                if (0xd800..0xdc00).contains(&high) {
                    if chars.next()? != '\\' || chars.next()? != 'u' {
                        return None;
                    }
                    let low = hex4(&mut chars)?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return None;
                    }
                    char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))?
                } else {
                    char::from_u32(high)?
                }
            }
            same => same,
        });
    }
    Some(Cow::Owned(text))
}

fn hex4(chars: &mut std::str::Chars<'_>) -> Option<u32> {
    let mut number = 0;
    for _ in 0..4 {
        number = number * 16 + chars.next()?.to_digit(16)?;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> Result<(), JsonError> {
        let mut scanner = Scanner::new(text.as_bytes());
        scanner.value(1)?;
        scanner.end()
    }

    #[test]
    fn what_is_json_passes_and_what_is_not_is_refused() {
        for good in
            ["{}", "[]", " [1 , -0.5e+3, \"a\\u00e9\\n\", true,false,null ] ", r#"{"a":{"b":[{}]}}"#, "0", "\"\""]
        {
            assert_eq!(scan(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "{",
            "[1,]",
            "{\"a\":}",
            "{a:1}",
            "01",
            "1.",
            "-",
            "+1",
            "nul",
            "tru",
            "\"\u{1}\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "{}{}",
            "[1 2]",
            "{\"a\" 1}",
            "{\"a\":1,}",
            "'a'",
            "NaN",
            ".5",
            "1e",
            "\"abc",
        ] {
            assert!(scan(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(scan(&deep(64)), Ok(()));
        assert_eq!(scan(&deep(65)), Err(JsonError::TooDeep));
        assert_eq!(scan(&deep(64).replacen("]", "1]", 1)), Ok(()));
    }

    #[test]
    fn strings_are_unescaped() {
        assert_eq!(unescape(br#""n\u0061me""#).as_deref(), Some("name"));
        assert_eq!(unescape(br#""\ud83d\ude00""#).as_deref(), Some("😀"));
        assert_eq!(unescape(br#""\ud83d""#), None);
        assert_eq!(unescape(br#""\ude00""#), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_scanner_panic(text in ".{0,200}") {
            let _ = scan(&text);
        }
    }
}
