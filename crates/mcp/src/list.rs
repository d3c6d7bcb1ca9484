//! Lists as raw items: tools, prompts, resources and templates keep every byte that upstreams sent.

use bytes::Bytes;

use crate::json::{JsonError, Scanner, Value, unescape};
use crate::span::Span;

/// The four lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ListKind {
    /// tools/list
    Tools,
    /// prompts/list
    Prompts,
    /// resources/list
    Resources,
    /// resources/templates/list
    Templates,
}

impl ListKind {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    /// The method that asks for the list.
    pub fn method(self) -> &'static str {
        match self {
            Self::Tools => "tools/list",
            Self::Prompts => "prompts/list",
            Self::Resources => "resources/list",
            Self::Templates => "resources/templates/list",
        }
    }

    /// The kind that a method asks for.
    pub fn of_method(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.method() == method)
    }

    /// The member of the result that holds the items.
    pub fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// The member of an item that identifies it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }

    /// The capability that an upstream declares when it has such a list.
    pub fn capability(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources | Self::Templates => "resources",
        }
    }
}

/// One item of a list.
#[derive(Debug, Clone)]
pub struct Item {
    /// The whole object, as the upstream sent it.
    pub raw: Bytes,
    /// The text that identifies it.
    pub key: Box<str>,
    /// Where that text stands in `raw`, quotes included.
    pub key_span: Span,
}

impl Item {
    /// The object with its key replaced: everything else stays as it was.
    pub fn renamed(&self, key: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(self.raw.get(..self.key_span.start()).unwrap_or_default());
        crate::write::string(out, key);
        out.extend_from_slice(self.raw.get(self.key_span.end()..).unwrap_or_default());
    }
}

/// One page of a list.
#[derive(Debug, Default)]
pub struct List {
    /// The items, in the upstream's order.
    pub items: Vec<Item>,
    /// The cursor of the next page, as it stands (quotes included).
    pub next_cursor: Option<Bytes>,
    /// `ttlMs`: for how long the upstream promises the list to be right, in milliseconds (2026-07-28).
    pub ttl_ms: Option<u64>,
}

/// Why a result is no list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Not JSON.
    #[error("not valid JSON")]
    Json(#[from] JsonError),
    /// The member that holds the items is missing, or an item is no object with a key.
    #[error("not a list of this kind")]
    Shape,
    /// More items than `limit`.
    #[error("more than {limit} items")]
    TooMany {
        /// How many are accepted.
        limit: usize,
    },
}

impl List {
    /// Reads the result object of a list answer; `result` must be UTF-8 JSON. At most `limit` items.
    pub fn parse(kind: ListKind, result: &Bytes, limit: usize) -> Result<Self, ListError> {
        if let Err(error) = std::str::from_utf8(result) {
            return Err(JsonError::Syntax(error.valid_up_to()).into());
        }
        let mut scanner = Scanner::new(result);
        let mut list = Self::default();
        let mut found = false;
        if scanner.peek()? != b'{' {
            return Err(ListError::Shape);
        }
        let mut cursor = false;
        scanner.object(1, |scanner, key| {
            let key = key.of(result);
            if is(key, kind.member())? {
                // Of two lists a client would read one.
                if std::mem::replace(&mut found, true) || scanner.peek()? != b'[' {
                    return Err(ListError::Shape);
                }
                return scanner.elements(2, |scanner| {
                    if list.items.len() >= limit {
                        return Err(ListError::TooMany { limit });
                    }
                    list.items.push(item(kind, scanner, result)?);
                    Ok(())
                });
            }
            let next = is(key, "nextCursor")?;
            let (value, span) = scanner.value(2)?;
            if next {
                if std::mem::replace(&mut cursor, true) {
                    return Err(ListError::Shape);
                }
                list.next_cursor = (value == Value::String).then(|| result.slice(span.start()..span.end()));
            } else if is(key, "ttlMs")? {
                list.ttl_ms = std::str::from_utf8(span.of(result)).ok().and_then(|text| text.parse().ok());
            }
            Ok(())
        })?;
        scanner.end()?;
        if found { Ok(list) } else { Err(ListError::Shape) }
    }
}

/// Whether a member, given with its quotes, has this name, however it is escaped. In other letters it is neither this nor
/// another one: some readers would take it for this.
fn is(key: &[u8], name: &str) -> Result<bool, ListError> {
    match unescape(key) {
        Some(key) if key == name => Ok(true),
        Some(key) if key.eq_ignore_ascii_case(name) => Err(ListError::Shape),
        _ => Ok(false),
    }
}

fn item(kind: ListKind, scanner: &mut Scanner<'_>, result: &Bytes) -> Result<Item, ListError> {
    if scanner.peek()? != b'{' {
        return Err(ListError::Shape);
    }
    let start = scanner.position();
    let mut key_span = None;
    scanner.object::<ListError>(3, |scanner, key| {
        let wanted = is(key.of(result), kind.key())?;
        let (value, span) = scanner.value(4)?;
        if wanted {
            if value != Value::String || key_span.is_some() {
                return Err(ListError::Shape);
            }
            key_span = Some(Span::new(span.start() - start, span.end() - start));
        }
        Ok(())
    })?;
    let raw = result.slice(start..scanner.position());
    let key_span = key_span.ok_or(ListError::Shape)?;
    let key = unescape(key_span.of(&raw)).ok_or(ListError::Shape)?.into();
    Ok(Item { raw, key, key_span })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_keep_their_bytes_and_can_be_renamed() {
        let result = Bytes::from_static(
            br#"{"tools":[{"inputSchema":{"name":1},"name":"a\u0062","vendor":[1]},{"name":"c"}],"nextCursor":"p2"}"#,
        );
        let list = List::parse(ListKind::Tools, &result, 10).unwrap();
        assert_eq!(list.next_cursor.as_deref(), Some(&b"\"p2\""[..]));
        assert_eq!(&*list.items[0].key, "ab");
        let mut out = Vec::new();
        list.items[0].renamed("s__ab", &mut out);
        assert_eq!(out, br#"{"inputSchema":{"name":1},"name":"s__ab","vendor":[1]}"#);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for result in
            ["[]", "{}", r#"{"tools":{}}"#, r#"{"tools":[1]}"#, r#"{"tools":[{}]}"#, r#"{"tools":[{"name":1}]}"#]
        {
            assert_eq!(
                List::parse(ListKind::Tools, &Bytes::from(result), 10).err(),
                Some(ListError::Shape),
                "{result}"
            );
        }
        // What a client reads under the name must be what the gateway read.
        for result in [
            r#"{"tools":[],"tools":[]}"#,
            r#"{"tools":[],"t\u006fols":[{"name":"a"}]}"#,
            r#"{"tools":[{"name":"a"}],"Tools":[]}"#,
            r#"{"tools":[{"name":"a","name":"b"}]}"#,
            r#"{"tools":[{"name":"a","n\u0061me":"other__b"}]}"#,
            r#"{"tools":[{"name":"a","Name":"other__b"}]}"#,
            r#"{"tools":[],"nextCursor":"1","nextCursor":"2"}"#,
        ] {
            let parsed = List::parse(ListKind::Tools, &Bytes::from(result), 10);
            assert_eq!(parsed.err(), Some(ListError::Shape), "{result}");
        }
        let many = Bytes::from_static(br#"{"tools":[{"name":"a"},{"name":"b"}]}"#);
        assert_eq!(List::parse(ListKind::Tools, &many, 1).err(), Some(ListError::TooMany { limit: 1 }));
    }
}
