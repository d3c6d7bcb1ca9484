//! From a house to YAML: stable order, what has its default left out, no ids and no times of change.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;

use super::document::{Held, Present, Record, Whose};
use super::schema::Kind;

/// The document that declares this house.
pub(crate) fn write(present: &Present) -> Result<String, serde_saphyr::ser::Error> {
    let mut root = Vec::new();
    for ((whose, kind), records) in &present.sections {
        match (whose, kind) {
            (Whose::Platform, Kind::Tenant) => {
                let tenants = records.iter().map(|held| (held.record.name.clone(), tenant(present, &held.record)));
                root.push((kind.section().to_owned(), Tree::Map(tenants.collect())));
            }
            (Whose::Platform | Whose::Own, kind) => root.push((kind.section().to_owned(), section(*kind, records))),
            // These stand inside of their tenants.
            (Whose::Tenant(_), _) => {}
        }
    }
    serde_saphyr::to_string(&Tree::Map(root))
}

fn tenant(present: &Present, record: &Record) -> Tree {
    let mut members = members(Kind::Tenant, record);
    let whose = Whose::Tenant(record.name.clone());
    for kind in Kind::OF_A_TENANT {
        let records = present.section(&whose, kind);
        members.push((kind.section().to_owned(), section(kind, records)));
    }
    Tree::Map(members)
}

fn section(kind: Kind, records: &[Held]) -> Tree {
    let mut records: Vec<&Record> = records.iter().map(|held| &held.record).collect();
    records.sort_by(|one, other| one.name.cmp(&other.name));
    let body = |record: &Record| Tree::Map(members(kind, record));
    match kind.named_by() {
        Some(_) => Tree::Map(records.into_iter().map(|record| (record.name.clone(), body(record))).collect()),
        None => Tree::List(records.into_iter().map(body).collect()),
    }
}

fn members(kind: Kind, record: &Record) -> Vec<(String, Tree)> {
    let mut members: Vec<(String, Tree)> = Vec::new();
    for (field, value) in record.said(kind) {
        let leaf = Tree::Leaf(value.clone());
        match field.name.split_once('.') {
            None => members.push((field.name.to_owned(), leaf)),
            Some((group, name)) => match members.last_mut() {
                Some((last, Tree::Map(inner))) if last == group => inner.push((name.to_owned(), leaf)),
                _ => members.push((group.to_owned(), Tree::Map(vec![(name.to_owned(), leaf)]))),
            },
        }
    }
    members
}

/// YAML whose maps keep their order.
enum Tree {
    Leaf(Value),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Leaf(value) => value.serialize(serializer),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Self::Map(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(name, member)| map.serialize_entry(name, member))?;
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests;
