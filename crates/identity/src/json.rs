//! JSON as two readers would read it alike: a member that stands twice is an error at any depth.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// An object's members.
pub(crate) type Members = BTreeMap<String, Json>;

/// A value. Numbers that are no whole ones in 64 bits are kept apart, for no claim that we read is one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool,
    Whole(i64),
    OtherNumber,
    Text(String),
    List(Vec<Json>),
    Object(Members),
}

impl Json {
    pub(crate) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The texts of a list, or the one text that stands for a list of one.
    pub(crate) fn texts(&self) -> Option<Vec<&str>> {
        match self {
            Self::Text(text) => Some(vec![text]),
            Self::List(list) => list.iter().map(Self::text).collect(),
            _ => None,
        }
    }
}

/// Reads an object and nothing after it.
pub(crate) fn object(bytes: &[u8]) -> Option<Members> {
    match serde_json::from_slice(bytes) {
        Ok(Json::Object(members)) => Some(members),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated members")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Bool)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Whole(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(i64::try_from(number).map_or(Json::OtherNumber, Json::Whole))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::OtherNumber)
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element()? {
            list.push(entry);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut members = Members::new();
        while let Some((name, value)) = entries.next_entry::<String, Json>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member stands twice"));
            }
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for bad in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":{"b":[{"c":1,"c":2}]}}"#,
            r#"{"a":1} x"#,
            r#"{"a":1}{}"#,
            r#"{"a":1,}"#,
            r#"{"a":01}"#,
            r#"{'a':1}"#,
            r#"{"a":NaN}"#,
            r#"{"a":"\ud800"}"#,
            "\u{feff}{}",
            "[]",
            "\"a\"",
            "null",
            "",
        ] {
            assert_eq!(object(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), None);
        assert_eq!(object("{\"a\":".repeat(200).as_bytes()), None);
    }

    #[test]
    fn numbers_that_are_no_whole_ones_are_told_apart() {
        let members = object(br#"{"a":-1,"b":9223372036854775807,"c":9223372036854775808,"d":1.0,"e":1e3}"#).unwrap();
        let expected =
            [Json::Whole(-1), Json::Whole(i64::MAX), Json::OtherNumber, Json::OtherNumber, Json::OtherNumber];
        assert_eq!(members.into_values().collect::<Vec<_>>(), expected);
    }
}
