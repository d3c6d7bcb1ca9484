//! A document and a house as `apply` compares them: the same records, one with lines, one with versions.

use std::collections::BTreeMap;

use model::{EgressRule, HostPattern, KeyRole, Transport, UpstreamUrl};
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
            if field.shape == Shape::Set { in_order(value) } else { one_spelling(field.name, value) }
        };
        let mut record = Self { name: named.to_owned(), values: kind.fields().iter().map(value).collect() };
        match kind {
            Kind::Egress => record.name = rule(&record),
            Kind::Key => record.name = key(&record),
            Kind::Tenant | Kind::Department | Kind::User | Kind::Server | Kind::Toolset | Kind::Issuer => {}
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

    /// The texts of a list, and the servers of entries; none for null.
    pub(crate) fn texts(&self, kind: Kind, name: &str) -> impl Iterator<Item = &str> {
        let items = self.get(kind, name).as_array().into_iter().flatten();
        items.filter_map(|item| item.as_str().or_else(|| item.get("server")?.as_str()))
    }
}

fn in_order(value: Value) -> Value {
    let Value::Array(mut items) = value else { return value };
    items.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
    items.dedup();
    Value::Array(items)
}

/// What control reads as the same is spelled in one way; what it would refuse is left to it.
fn one_spelling(field: &str, value: Value) -> Value {
    let Some(text) = value.as_str() else { return value };
    let told = match field {
        "host" => text.parse().ok().map(|host: HostPattern| host.to_string()),
        "ports" => EgressRule::parse_ports(text).ok().map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        }),
        "url" => UpstreamUrl::parse(text).ok().map(|url| url.as_str().to_owned()),
        "transport" => Transport::parse(text).ok().map(|transport| transport.as_str().to_owned()),
        "role" => KeyRole::parse(text).map(|role| role.as_str().to_owned()),
        _ => None,
    };
    told.map_or(value, Value::from)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_control_reads_as_the_same_is_the_same() {
        for (field, text, told) in [
            ("host", "Wiki.", "wiki"),
            ("host", "10.1.2.3", "10.1.2.3/32"),
            ("ports", "0443", "443"),
            ("url", "https://H.example", "https://h.example/"),
            ("transport", "http", "streamable_http"),
            ("role", "client", "user"),
            ("url", "no url", "no url"),
            ("title", "http", "http"),
        ] {
            assert_eq!(one_spelling(field, text.into()), told, "{field}");
        }
    }
}
