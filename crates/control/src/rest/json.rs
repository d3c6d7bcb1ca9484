//! Strict JSON: one value, no duplicate member, at most 64 levels deep.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Levels of nesting that a body may have.
const MAX_DEPTH: u32 = 64;

/// Why a body is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonError {
    /// Not JSON, cut short, or something behind the value.
    #[error("not valid JSON at byte {offset}")]
    Invalid {
        /// Where reading stopped, in bytes from the start.
        offset: usize,
    },
    /// A member stands twice in one object.
    #[error("the member `{0}` stands twice in one object")]
    Duplicate(String),
    /// Nested deeper than 64 levels.
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// Reads exactly one value.
pub(crate) fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    let refused = Cell::new(None);
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let strict = Strict { depth: 0, refused: &refused };
    let read = strict.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| {
        let offset = if error.is_eof() { bytes.len() } else { offset(bytes, error.line(), error.column()) };
        refused.take().unwrap_or(JsonError::Invalid { offset })
    })
}

/// Turns a line and a column, both counted from 1, into bytes from the start.
fn offset(bytes: &[u8], line: usize, column: usize) -> usize {
    let before: usize =
        bytes.split_inclusive(|byte| *byte == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    (before + column.saturating_sub(1)).min(bytes.len())
}

#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: u32,
    refused: &'a Cell<Option<JsonError>>,
}

impl Strict<'_> {
    fn refuse<E: serde::de::Error>(self, why: JsonError) -> E {
        let error = E::custom(&why);
        self.refused.set(Some(why));
        error
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(self.refuse(JsonError::TooDeep));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number).map(Value::Number).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(self.refuse::<A::Error>(JsonError::Duplicate(name))));
            }
            object.insert(name, members.next_value_seed(inner)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_bodies_are_told_apart() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        for (body, expected) in [
            ("{\"a\":1".to_owned(), Some(JsonError::Invalid { offset: 6 })),
            ("{\"a\":1} x".to_owned(), Some(JsonError::Invalid { offset: 8 })),
            ("{\n \"a\": ?}".to_owned(), Some(JsonError::Invalid { offset: 8 })),
            (String::new(), Some(JsonError::Invalid { offset: 0 })),
            ("{\"a\":1,\"a\":1}".to_owned(), Some(JsonError::Duplicate("a".to_owned()))),
            ("[{\"b\":{\"c\":1,\"c\":2}}]".to_owned(), Some(JsonError::Duplicate("c".to_owned()))),
            (deep(64), None),
            (deep(65), Some(JsonError::TooDeep)),
            ("{\"a\":[1,2.5,-3,\"\\u00fc\",null,true]}".to_owned(), None),
        ] {
            assert_eq!(parse(body.as_bytes()).err(), expected, "{body}");
        }
    }

    #[test]
    fn members_keep_their_values() {
        let value = parse(br#"{"a":[1,{"b":null}],"c":"d"}"#).unwrap();
        assert_eq!(value, serde_json::json!({"a": [1, {"b": null}], "c": "d"}));
    }
}
