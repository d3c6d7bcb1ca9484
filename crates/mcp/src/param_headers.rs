//! The headers of 2026-07-28 that repeat what stands in a request's body: how values are written in them, and which
//! arguments of a tool have one (`x-mcp-header` in its schema).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::json::{JsonError, Scanner, Value, member, unescape};
use crate::span::Span;

/// What begins the name of the header of an argument.
pub const PREFIX: &str = "mcp-param-";

/// The member of a schema that names the header of its value.
const ANNOTATION: &str = "x-mcp-header";
const BEGIN: &str = "=?base64?";
const END: &str = "?=";
/// Longest name that an annotation may give; a header field of ours has room for it.
const MAX_NAME: usize = 128;
/// Most annotations of one tool.
const MAX_PARAMS: usize = 64;
/// The largest integer that every reader of JSON knows exactly, 2^53 - 1.
const SAFE: f64 = 9_007_199_254_740_991.0;

/// The text as a header value: as it is where that is possible, else in Base64 between marks.
pub fn encoded(text: &str) -> Cow<'_, str> {
    let edge = |byte: Option<u8>| matches!(byte, Some(b' ' | b'\t'));
    let bytes = text.as_bytes();
    let plain = bytes.iter().all(|byte| is_plain(*byte))
        && !edge(bytes.first().copied())
        && !edge(bytes.last().copied())
        && marked(text).is_none();
    if plain { Cow::Borrowed(text) } else { Cow::Owned(format!("{BEGIN}{}{END}", STANDARD.encode(text))) }
}

/// The text that a header value stands for; `None` if it has characters that it may not have, or what is between the
/// marks is not Base64 of UTF-8.
pub fn decoded(value: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(is_plain))?;
    let text = text.trim_matches([' ', '\t']);
    match marked(text) {
        None => Some(Cow::Borrowed(text)),
        Some(code) => String::from_utf8(STANDARD.decode(code).ok()?).ok().map(Cow::Owned),
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b'\t' | 0x20..0x7f)
}

/// What stands between the marks.
fn marked(text: &str) -> Option<&str> {
    text.strip_prefix(BEGIN)?.strip_suffix(END)
}

/// Why the annotations of a tool's schema are not good: such a tool can't be called over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationError {
    /// The schema is not valid JSON, nested too deep, or says something twice.
    #[error("its schema can be read in two ways")]
    Schema,
    /// The name is no token.
    #[error("x-mcp-header must be a token of at most 128 characters")]
    Name,
    /// Two arguments would have one header.
    #[error("two arguments have the same x-mcp-header")]
    Twice,
    /// Only these have a text that everybody writes alike.
    #[error("x-mcp-header may stand at strings, integers and booleans only")]
    Type,
    /// Where the value is depends on more than names of members.
    #[error("x-mcp-header may stand below `properties` only")]
    Place,
    /// More than anybody needs.
    #[error("it has more than 64 arguments with x-mcp-header")]
    Many,
}

impl From<JsonError> for AnnotationError {
    fn from(_: JsonError) -> Self {
        Self::Schema
    }
}

/// The arguments of one tool that have a header.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderParams(Vec<HeaderParam>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct HeaderParam {
    /// The whole name of the header, in small letters.
    header: Box<str>,
    /// The members that lead to the argument.
    path: Box<[Box<str>]>,
}

/// A header that a call must have, and the argument it repeats.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected<'a> {
    /// Its name, in small letters.
    pub header: &'a str,
    /// The text of the argument.
    text: String,
    /// The argument, if it is a number.
    number: Option<f64>,
}

impl Expected<'_> {
    /// Whether a header value says the same as the argument.
    pub fn is(&self, value: &[u8]) -> bool {
        let Some(said) = decoded(value) else { return false };
        said == self.text || (self.number.is_some() && decimal(&said) == self.number)
    }

    /// The header value that says it.
    pub fn value(&self) -> Cow<'_, str> {
        encoded(&self.text)
    }
}

impl HeaderParams {
    /// Reads the annotations in the schema of a tool, given as it stands in a list.
    pub fn of_tool(tool: &[u8]) -> Result<Self, AnnotationError> {
        // Nearly every tool has none. Whoever writes the word with escapes has it looked for properly.
        if memchr::memmem::find(tool, ANNOTATION.as_bytes()).is_none() && memchr::memmem::find(tool, b"\\u").is_none() {
            return Ok(Self::default());
        }
        let Some(schema) = member(tool, "inputSchema").map(|span| span.of(tool)) else { return Ok(Self::default()) };
        let mut found = Self::default();
        let mut walk = Walk { text: schema, path: Vec::new(), found: &mut found };
        walk.schema(&mut Scanner::new(schema), 1, true)?;
        Ok(found)
    }

    /// Whether no argument has a header.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The headers that a call with these arguments (a raw object, if there are any) must have. What is absent, null or
    /// has no text has none.
    pub fn expected(&self, arguments: Option<&[u8]>) -> Vec<Expected<'_>> {
        let Some(arguments) = arguments else { return Vec::new() };
        self.0
            .iter()
            .filter_map(|param| {
                let value =
                    param.path.iter().try_fold(arguments, |object, name| Some(member(object, name)?.of(object)));
                let (text, number) = text_of(value?)?;
                Some(Expected { header: &param.header, text, number })
            })
            .collect()
    }
}

/// The text of an argument, and its number.
fn text_of(raw: &[u8]) -> Option<(String, Option<f64>)> {
    match raw.first()? {
        b'"' => Some((unescape(raw)?.into_owned(), None)),
        b't' | b'f' => Some((std::str::from_utf8(raw).ok()?.to_owned(), None)),
        b'-' | b'0'..=b'9' => {
            let number: f64 = std::str::from_utf8(raw).ok()?.parse().ok()?;
            let known = number.is_finite() && (number.fract() != 0.0 || number.abs() <= SAFE);
            // Rust writes neither an exponent nor a needless fraction; of zero there is one.
            known.then(|| (if number == 0.0 { "0".to_owned() } else { number.to_string() }, Some(number)))
        }
        _ => None,
    }
}

/// A number written with digits, a sign and a point, and nothing else.
fn decimal(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let all = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let good = match digits.split_once('.') {
        Some((whole, fraction)) => all(whole) && all(fraction),
        None => all(digits),
    };
    text.parse().ok().filter(|_| good)
}

/// The way through a schema.
struct Walk<'a> {
    text: &'a [u8],
    path: Vec<Box<str>>,
    found: &'a mut HeaderParams,
}

/// What a member of a schema holds.
enum Holds {
    /// Named schemas of values that stand under these names.
    Properties,
    /// Named schemas of something else.
    Named,
    /// A schema, or several in an array.
    Schemas,
    Annotation,
    Type,
    Nothing,
}

fn holds(keyword: &str) -> Holds {
    match keyword {
        "properties" => Holds::Properties,
        "patternProperties" | "dependentSchemas" | "$defs" | "definitions" => Holds::Named,
        "items"
        | "prefixItems"
        | "additionalItems"
        | "contains"
        | "additionalProperties"
        | "unevaluatedProperties"
        | "unevaluatedItems"
        | "propertyNames"
        | "contentSchema"
        | "oneOf"
        | "anyOf"
        | "allOf"
        | "not"
        | "if"
        | "then"
        | "else" => Holds::Schemas,
        ANNOTATION => Holds::Annotation,
        "type" => Holds::Type,
        _ => Holds::Nothing,
    }
}

impl Walk<'_> {
    /// Passes over one schema. `reachable`: only `properties` lead to it.
    fn schema(&mut self, scanner: &mut Scanner<'_>, depth: u32, reachable: bool) -> Result<(), AnnotationError> {
        if scanner.peek()? != b'{' {
            scanner.value(depth)?;
            return Ok(());
        }
        let (mut annotation, mut kind, mut properties) = (None::<Span>, None::<Span>, false);
        scanner.object(depth, |scanner, key| {
            let key = unescape(key.of(self.text)).ok_or(AnnotationError::Schema)?;
            match holds(&key) {
                Holds::Properties if std::mem::replace(&mut properties, true) => Err(AnnotationError::Schema),
                Holds::Properties => self.named(scanner, depth + 1, reachable),
                Holds::Named => self.named(scanner, depth + 1, false),
                Holds::Schemas if scanner.peek()? == b'[' => {
                    scanner.elements(depth + 1, |scanner| self.schema(scanner, depth + 2, false))
                }
                Holds::Schemas => self.schema(scanner, depth + 1, false),
                Holds::Annotation => once(&mut annotation, scanner.value(depth + 1)?),
                Holds::Type => once(&mut kind, scanner.value(depth + 1)?),
                Holds::Nothing => Ok(scanner.value(depth + 1).map(drop)?),
            }
        })?;
        match annotation {
            None => Ok(()),
            Some(_) if !reachable || self.path.is_empty() => Err(AnnotationError::Place),
            Some(name) => self.annotated(name.of(self.text), kind.map(|kind| kind.of(self.text)).unwrap_or_default()),
        }
    }

    /// Passes over an object of schemas.
    fn named(&mut self, scanner: &mut Scanner<'_>, depth: u32, reachable: bool) -> Result<(), AnnotationError> {
        if scanner.peek()? != b'{' {
            scanner.value(depth)?;
            return Ok(());
        }
        scanner.object(depth, |scanner, key| {
            self.path.push(unescape(key.of(self.text)).ok_or(AnnotationError::Schema)?.into());
            self.schema(scanner, depth + 1, reachable)?;
            self.path.pop();
            Ok(())
        })
    }

    fn annotated(&mut self, name: &[u8], kind: &[u8]) -> Result<(), AnnotationError> {
        let tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let name = unescape(name).ok_or(AnnotationError::Name)?;
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(tchar) {
            return Err(AnnotationError::Name);
        }
        let kind = unescape(kind).ok_or(AnnotationError::Type)?;
        if !matches!(&*kind, "string" | "integer" | "boolean") {
            return Err(AnnotationError::Type);
        }
        let header = format!("{PREFIX}{}", name.to_ascii_lowercase()).into_boxed_str();
        if self.found.0.iter().any(|param| param.header == header) {
            return Err(AnnotationError::Twice);
        }
        if self.found.0.len() >= MAX_PARAMS {
            return Err(AnnotationError::Many);
        }
        self.found.0.push(HeaderParam { header, path: self.path.clone().into() });
        Ok(())
    }
}

/// Keeps where a member stands that may stand once.
fn once(place: &mut Option<Span>, (_, span): (Value, Span)) -> Result<(), AnnotationError> {
    match place.replace(span) {
        None => Ok(()),
        Some(_) => Err(AnnotationError::Schema),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_plain_where_it_can_be_and_comes_back_as_it_was() {
        for (text, value) in [
            ("us-west1", "us-west1"),
            ("", ""),
            ("a b\tc", "a b\tc"),
            (" a", "=?base64?IGE=?="),
            ("a ", "=?base64?YSA=?="),
            ("日本", "=?base64?5pel5pys?="),
            ("a\nb", "=?base64?YQpi?="),
            ("a\u{7f}", "=?base64?YX8=?="),
            ("=?base64?x", "=?base64?x"),
            ("=?base64??=", "=?base64?PT9iYXNlNjQ/Pz0=?="),
            ("=?BASE64?eA==?=", "=?BASE64?eA==?="),
        ] {
            assert_eq!(encoded(text), value, "{text:?}");
            assert_eq!(decoded(value.as_bytes()).as_deref(), Some(text), "{value}");
        }
    }

    #[test]
    fn a_value_is_read_strictly() {
        for (value, text) in [
            ("  echo \t", Some("echo")),
            ("=?base64?SGVsbG8=?=", Some("Hello")),
            ("=?base64??=", Some("")),
            ("=?base64?SGVsbG8=", Some("=?base64?SGVsbG8=")),
            ("SGVsbG8=", Some("SGVsbG8=")),
            ("=?base64?SGVsbG8?=", None),
            ("=?base64?SGVs!!!bG8=?=", None),
            ("=?base64?SGVsbG9=?=", None),
            ("=?base64?/w==?=", None),
            ("a\u{1}", None),
            ("ü", None),
        ] {
            assert_eq!(decoded(value.as_bytes()).as_deref(), text, "{value}");
        }
        assert_eq!(decoded(b"\xff"), None);
    }

    fn tool(properties: &str) -> Vec<u8> {
        format!(r#"{{"name":"t","inputSchema":{{"type":"object","properties":{properties}}}}}"#).into_bytes()
    }

    fn headers(properties: &str, arguments: &str) -> Vec<(String, String)> {
        let params = HeaderParams::of_tool(&tool(properties)).unwrap();
        let expected = params.expected(Some(arguments.as_bytes()));
        expected.iter().map(|one| (one.header.to_owned(), one.value().into_owned())).collect()
    }

    #[test]
    fn a_call_has_the_headers_of_the_arguments_that_it_has() {
        let region = r#"{"region":{"type":"string","x-mcp-header":"Region"}}"#;
        let region_is = |value: &str| vec![("mcp-param-region".to_owned(), value.to_owned())];
        for (arguments, expected) in [
            (r#"{"region":"us"}"#, region_is("us")),
            (r#"{"region":"\u0075s","x":1}"#, region_is("us")),
            (r#"{"region":" us"}"#, region_is("=?base64?IHVz?=")),
            (r#"{"region":true}"#, region_is("true")),
            (r#"{"region":42.0}"#, region_is("42")),
            (r#"{"region":-0}"#, region_is("0")),
            (r#"{"region":4e2}"#, region_is("400")),
            (r#"{"region":0.5}"#, region_is("0.5")),
            (r#"{"region":9007199254740991}"#, region_is("9007199254740991")),
            (r#"{"region":9007199254740993}"#, vec![]),
            (r#"{"region":null}"#, vec![]),
            (r#"{"region":{}}"#, vec![]),
            ("{}", vec![]),
            ("[]", vec![]),
        ] {
            assert_eq!(headers(region, arguments), expected, "{arguments}");
        }
        let deep = r#"{"a":{"type":"object","properties":{"b":{"type":"integer","x-mcp-header":"B"}}}}"#;
        assert_eq!(headers(deep, r#"{"a":{"b":7}}"#), [("mcp-param-b".to_owned(), "7".to_owned())]);
        assert_eq!(headers(deep, r#"{"a":7}"#), []);
        assert_eq!(HeaderParams::of_tool(&tool(region)).unwrap().expected(None), []);
    }

    #[test]
    fn a_header_agrees_with_its_argument_whatever_the_spelling() {
        let params = HeaderParams::of_tool(&tool(r#"{"n":{"type":"integer","x-mcp-header":"N"}}"#)).unwrap();
        for (argument, value, agrees) in [
            ("42", "42", true),
            ("42", "42.0", true),
            ("42", " 42 ", true),
            ("42", "=?base64?NDI=?=", true),
            ("42", "4.2e1", false),
            ("42", "+42", false),
            ("42", "43", false),
            ("\"42\"", "42", true),
            ("\"42\"", "42.0", false),
            ("true", "true", true),
            ("true", "True", false),
        ] {
            let arguments = format!(r#"{{"n":{argument}}}"#);
            let expected = params.expected(Some(arguments.as_bytes()));
            assert_eq!(expected[0].is(value.as_bytes()), agrees, "{argument} {value}");
        }
    }

    #[test]
    fn what_an_annotation_may_not_be_makes_the_tool_unusable() {
        use AnnotationError::{Name, Place, Schema, Twice, Type};
        for (properties, error) in [
            (r#"{"a":{"type":"string","x-mcp-header":""}}"#, Name),
            (r#"{"a":{"type":"string","x-mcp-header":"a b"}}"#, Name),
            (r#"{"a":{"type":"string","x-mcp-header":"a:b"}}"#, Name),
            (r#"{"a":{"type":"string","x-mcp-header":7}}"#, Name),
            (r#"{"a":{"type":"number","x-mcp-header":"A"}}"#, Type),
            (r#"{"a":{"type":["string"],"x-mcp-header":"A"}}"#, Type),
            (r#"{"a":{"type":"object","x-mcp-header":"A"}}"#, Type),
            (r#"{"a":{"x-mcp-header":"A"}}"#, Type),
            (r#"{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}"#, Twice),
            (r#"{"a":{"type":"array","items":{"type":"string","x-mcp-header":"A"}}}"#, Place),
            (r#"{"a":{"anyOf":[{"type":"string","x-mcp-header":"A"}]}}"#, Place),
            (r#"{"a":{"not":{"properties":{"b":{"type":"string","x-mcp-header":"A"}}}}}"#, Place),
            (r#"{"a":{"$defs":{"b":{"type":"string","x-mcp-header":"A"}}}}"#, Place),
            (r#"{"a":{"type":"string","x-mcp-header":"A","x-mcp-header":"B"}}"#, Schema),
        ] {
            assert_eq!(HeaderParams::of_tool(&tool(properties)).err(), Some(error), "{properties}");
        }
        let root = br#"{"inputSchema":{"type":"string","x-mcp-header":"A"}}"#;
        assert_eq!(HeaderParams::of_tool(root), Err(Place));
    }

    #[test]
    fn what_only_looks_like_an_annotation_is_none() {
        for properties in [
            r#"{"x-mcp-header":{"type":"string"}}"#,
            r#"{"a":{"type":"string","default":{"x-mcp-header":"A"}}}"#,
            r#"{"a":{"type":"string","enum":["x-mcp-header"]}}"#,
            r#"{"a":true,"b":{"const":[{"x-mcp-header":1}]}}"#,
        ] {
            assert!(HeaderParams::of_tool(&tool(properties)).unwrap().is_empty(), "{properties}");
        }
        for tool in [&b"{}"[..], br#"{"description":"x-mcp-header"}"#, br#"{"inputSchema":7,"x":"x-mcp-header"}"#] {
            assert!(HeaderParams::of_tool(tool).unwrap().is_empty());
        }
        let escaped = tool(r#"{"a":{"type":"string","x\u002dmcp-header":"A"}}"#);
        assert!(!HeaderParams::of_tool(&escaped).unwrap().is_empty());
    }
}
