//! YAML as a tree that knows its lines, so that every mistake can be told with where it stands.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Spanned};

/// A value and the line where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) line: u64,
    pub(super) what: What,
}

/// What stands there.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<Member>),
}

/// One member of a map; two of the same name are both kept.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    pub(super) line: u64,
    pub(super) name: String,
    pub(super) node: Node,
}

/// Most values of one document: 10,000 servers with 20 lines each, four times.
const MOST_NODES: usize = 1_000_000;

/// Reads one document.
pub(super) fn parse(text: &str) -> Result<Node, serde_saphyr::Error> {
    let budget = serde_saphyr::budget! { max_nodes: MOST_NODES, max_events: 2 * MOST_NODES };
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        with_snippet: false,
        budget: budget,
    };
    serde_saphyr::from_str_with_options(text, options)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<What>::deserialize(deserializer)?;
        Ok(Self { line: spanned.referenced.line(), what: spanned.value })
    }
}

impl<'de> Deserialize<'de> for What {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tree)
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = What;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<What, E> {
        Ok(What::Scalar(Value::Null))
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<What, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<What, D::Error> {
        What::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<What, E> {
        Ok(What::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<What, E> {
        Ok(What::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<What, E> {
        Ok(What::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<What, E> {
        Ok(What::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<What, E> {
        Ok(What::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<What, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(What::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<What, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = access.next_key::<Spanned<String>>()? {
            let node = access.next_value()?;
            members.push(Member { line: name.referenced.line(), name: name.value, node });
        }
        Ok(What::Map(members))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_value_knows_its_line() {
        let node = parse("a: 1\nb:\n  - x\n  - true\n123:\n").unwrap();
        let What::Map(members) = node.what else { panic!("a map") };
        let lines: Vec<_> =
            members.iter().map(|member| (member.name.as_str(), member.line, member.node.line)).collect();
        assert_eq!(lines[..2], [("a", 1, 1), ("b", 2, 3)]);
        assert_eq!(members[2].name, "123");
        assert_eq!(members[2].node.what, What::Scalar(Value::Null));
        let What::List(items) = &members[1].node.what else { panic!("a list") };
        assert_eq!(items[1], Node { line: 4, what: What::Scalar(json!(true)) });
    }

    #[test]
    fn a_name_that_stands_twice_is_seen_twice() {
        let What::Map(members) = parse("a: 1\na: 2\n").unwrap().what else { panic!("a map") };
        assert_eq!(members.len(), 2);
    }

    #[test]
    fn what_is_no_yaml_says_where() {
        for text in ["a: [1", "a: b: c", "a: 1\n---\nb: 2\n"] {
            let error = parse(text).unwrap_err();
            assert!(error.to_string().contains("line"), "{text:?}: {error}");
        }
    }
}
