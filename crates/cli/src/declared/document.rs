//! A document and a house as `apply` compares them: the same records, one with lines, one with versions.

use std::collections::BTreeMap;
use std::str::FromStr;

use model::HostPattern;
use serde_json::Value;

use super::schema::{Field, Kind, Shape};

/// Where a record stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Whose {
    /// Above all tenants.
    Platform,
    /// In the tenant that the command works on.
    Own,
    /// In the tenant of this name.
    Tenant(String),
}

/// A record with every field of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// By which it is known among those of its kind, for people too.
    pub(crate) name: String,
    /// One value for each field of its kind, in their order.
    values: Vec<Value>,
}

impl Record {
    /// A record that says this. `named` is the name of kinds that have one; `said` is asked for each
    /// field, and what it doesn't know is the default.
    pub(crate) fn new(kind: Kind, named: &str, mut said: impl FnMut(&Field) -> Option<Value>) -> Self {
        let value = |field: &Field| {
            let value = said(field).unwrap_or_else(|| (field.default)(named));
            match (kind, field.name, field.shape) {
                (_, _, Shape::Set) => in_order(value),
                (Kind::Egress, "host", _) => as_told::<HostPattern>(value),
                _ => value,
            }
        };
        let mut record = Self { name: named.to_owned(), values: kind.fields().iter().map(value).collect() };
        match kind {
            Kind::Egress => record.name = rule(&record),
            Kind::Key => record.name = key(&record),
            Kind::Tenant | Kind::Department | Kind::User | Kind::Server => {}
        }
        record
    }

    /// Each field with its value.
    pub(crate) fn fields(&self, kind: Kind) -> impl Iterator<Item = (&'static Field, &Value)> {
        kind.fields().iter().zip(&self.values)
    }

    /// Each field whose value is not the default.
    pub(crate) fn said(&self, kind: Kind) -> impl Iterator<Item = (&'static Field, &Value)> {
        self.fields(kind).filter(|(field, value)| **value != (field.default)(&self.name))
    }

    /// The value of a field; null for what the kind doesn't have.
    pub(crate) fn get(&self, kind: Kind, name: &str) -> &Value {
        const NONE: &Value = &Value::Null;
        self.fields(kind).find(|(field, _)| field.name == name).map_or(NONE, |(_, value)| value)
    }

    /// The texts of a list; none for null.
    pub(crate) fn texts(&self, kind: Kind, name: &str) -> impl Iterator<Item = &str> {
        self.get(kind, name).as_array().into_iter().flatten().filter_map(Value::as_str)
    }
}

fn in_order(value: Value) -> Value {
    let Value::Array(mut items) = value else { return value };
    items.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
    items.dedup();
    Value::Array(items)
}

/// One spelling for what control reads as the same; what it would refuse is left to it.
fn as_told<T: FromStr + ToString>(value: Value) -> Value {
    match value.as_str().map(str::parse::<T>) {
        Some(Ok(read)) => read.to_string().into(),
        _ => value,
    }
}

/// A rule can't be changed, so all that it says is its name.
fn rule(record: &Record) -> String {
    let text = |name| record.get(Kind::Egress, name).as_str();
    let mut told = match (text("host").unwrap_or_default(), text("ports")) {
        (host, Some(ports)) => format!("{host}:{ports}"),
        (host, None) => host.to_owned(),
    };
    if record.get(Kind::Egress, "http").as_bool() == Some(true) {
        told.push_str(" with http");
    }
    if let Some(tenant) = text("tenant") {
        told.push_str(&format!(" for {tenant}"));
    }
    told.push_str(&format!(" ({})", text("reason").unwrap_or_default()));
    told
}

/// A key is known by its user and label.
fn key(record: &Record) -> String {
    let label = record.get(Kind::Key, "label");
    match record.get(Kind::Key, "user").as_str() {
        Some(user) => format!("{label} of {user}"),
        None => label.to_string(),
    }
}

/// A record of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Declared {
    /// Where it begins.
    pub(crate) line: u64,
    pub(crate) record: Record,
}

/// What a document declares. A section that is not there says nothing; an empty one says: none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) sections: BTreeMap<(Whose, Kind), Vec<Declared>>,
}

/// A record of a house.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) id: String,
    /// What `If-Match` must say to change what was seen.
    pub(crate) version: String,
    pub(crate) record: Record,
}

/// What a house holds, as far as a document speaks of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) sections: BTreeMap<(Whose, Kind), Vec<Held>>,
    /// The tenant that the key belongs to.
    pub(crate) own_tenant: Option<String>,
    /// The user that the key belongs to.
    pub(crate) own_user: Option<String>,
}

impl Present {
    /// The records of a section.
    pub(crate) fn section(&self, whose: &Whose, kind: Kind) -> &[Held] {
        self.sections.get(&(whose.clone(), kind)).map_or(&[], Vec::as_slice)
    }
}
