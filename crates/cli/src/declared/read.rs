//! From YAML to a document. Everything that is wrong is told at once, each with its path and line.

use std::collections::HashSet;
use std::fmt;

use model::{EgressRule, HostPattern, Listing, ServerName, Transport, UpstreamUrl};
use serde_json::{Map, Value};

use super::document::{Declared, Document, Record, Whose};
use super::node::{Member, Node, What, parse};
use super::schema::{AUTH, AUTH_SECRETS, CLIENT_SECRET, CREDENTIAL, ENTRY, Field, HELD, Kind, Shape, reference};

/// What is wrong with a document, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// The line, from 1 on; 0 where none is known.
    pub(crate) line: u64,
    /// The path, e.g. `tenants.acme.servers.notes.url`; empty for the document.
    pub(crate) path: String,
    /// One sentence.
    pub(crate) what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.what)
    }
}

/// Reads a document.
pub(crate) fn read(text: &str) -> Result<Document, Vec<Mistake>> {
    let node = parse(text).map_err(|error| {
        vec![Mistake { line: 0, path: String::new(), what: format!("not YAML that can be read: {error}") }]
    })?;
    let mut reader = Reader::default();
    reader.document(node);
    reader.mistakes.sort_by_key(|mistake| mistake.line);
    if reader.mistakes.is_empty() { Ok(reader.document) } else { Err(reader.mistakes) }
}

#[derive(Default)]
struct Reader {
    document: Document,
    mistakes: Vec<Mistake>,
}

impl Reader {
    fn wrong(&mut self, line: u64, path: &str, what: impl Into<String>) {
        self.mistakes.push(Mistake { line, path: path.to_owned(), what: what.into() });
    }

    fn document(&mut self, node: Node) {
        let mut sections: Vec<&str> = vec![Kind::Tenant.section(), Kind::Egress.section()];
        sections.extend(Kind::OF_A_TENANT.map(Kind::section));
        let (mut of_platform, mut of_own) = (false, false);
        for Member { line, name, node } in self.members("", node) {
            match name.as_str() {
                "tenants" => {
                    of_platform = true;
                    self.tenants(node);
                }
                "egress_rules" => {
                    of_platform = true;
                    self.listed(&Whose::Platform, Kind::Egress, "egress_rules", node);
                }
                name if of_a_tenant(name).is_some() => {
                    of_own = true;
                    self.section(&Whose::Own, "", line, name, node);
                }
                name => self.unknown(line, name, &sections),
            }
        }
        if of_platform && of_own {
            let what = "a document is of one tenant, or has `tenants` and `egress_rules`, not both";
            self.wrong(0, "", what);
        }
    }

    fn tenants(&mut self, node: Node) {
        let mut tenants = Vec::new();
        for Member { line, name, node } in self.members("tenants", node) {
            let path = join("tenants", &name);
            let whose = Whose::Tenant(name.clone());
            let mut own = Vec::new();
            for member in self.members(&path, node) {
                if of_a_tenant(&member.name).is_some() {
                    self.section(&whose, &path, member.line, &member.name, member.node);
                } else {
                    own.push(member);
                }
            }
            let sections = Kind::OF_A_TENANT.map(Kind::section);
            let record = self.record(Kind::Tenant, &path, line, &name, own, &sections);
            tenants.push(Declared { line, record });
        }
        self.document.sections.insert((Whose::Platform, Kind::Tenant), tenants);
    }

    fn section(&mut self, whose: &Whose, parent: &str, line: u64, name: &str, node: Node) {
        let path = join(parent, name);
        match of_a_tenant(name) {
            Some(Kind::Key) => self.listed(whose, Kind::Key, &path, node),
            Some(kind) => {
                let mut records = Vec::new();
                for Member { line, name, node } in self.members(&path, node) {
                    let path = join(&path, &name);
                    let members = self.members(&path, node);
                    let record = self.record(kind, &path, line, &name, members, &[]);
                    records.push(Declared { line, record });
                }
                self.document.sections.insert((whose.clone(), kind), records);
            }
            None => self.wrong(line, &path, "unknown field"),
        }
    }

    /// Records that have no name of their own stand in a list.
    fn listed(&mut self, whose: &Whose, kind: Kind, path: &str, node: Node) {
        let items = match node.what {
            What::List(items) => items,
            What::Scalar(Value::Null) => Vec::new(),
            _ => return self.wrong(node.line, path, "must be a list"),
        };
        let mut records: Vec<Declared> = Vec::new();
        for (at, node) in items.into_iter().enumerate() {
            let path = format!("{path}[{at}]");
            let line = node.line;
            let members = self.members(&path, node);
            let record = self.record(kind, &path, line, "", members, &[]);
            // Several keys may have one label; a rule that stands twice is a mistake.
            if kind == Kind::Egress && records.iter().any(|other| other.record == record) {
                self.wrong(line, &path, "stands twice");
            }
            records.push(Declared { line, record });
        }
        self.document.sections.insert((whose.clone(), kind), records);
    }

    /// The members of a map, each once. Nothing at all is an empty map.
    fn members(&mut self, path: &str, node: Node) -> Vec<Member> {
        let members = match node.what {
            What::Map(members) => members,
            What::Scalar(Value::Null) => Vec::new(),
            _ => {
                self.wrong(node.line, path, "must be a map");
                Vec::new()
            }
        };
        let mut seen = HashSet::new();
        let (once, twice): (Vec<_>, Vec<_>) =
            members.into_iter().partition(|member: &Member| seen.insert(member.name.clone()));
        for member in twice {
            self.wrong(member.line, &join(path, &member.name), "stands twice");
        }
        once
    }

    fn record(
        &mut self,
        kind: Kind,
        path: &str,
        line: u64,
        name: &str,
        members: Vec<Member>,
        sections: &[&'static str],
    ) -> Record {
        if let Err(what) = named(kind, name) {
            self.wrong(line, path, format!("the name {what}"));
        }
        let said = self.said(kind, path, members, sections);
        for field in kind.fields().iter().filter(|field| field.required) {
            if !said.iter().any(|(name, value)| *name == field.name && !value.is_null()) {
                self.wrong(line, &join(path, field.name), "is required");
            }
        }
        Record::new(kind, name, |field| {
            said.iter().find(|(name, _)| *name == field.name).map(|(_, value)| value.clone())
        })
    }

    /// The fields that stand there. A group is a map of fields.
    fn said(
        &mut self,
        kind: Kind,
        path: &str,
        members: Vec<Member>,
        sections: &[&'static str],
    ) -> Vec<(&'static str, Value)> {
        let mut said = Vec::new();
        for Member { line, name, node } in members {
            let path = join(path, &name);
            let group = format!("{name}.");
            let is_group = kind.fields().iter().any(|field| field.name.starts_with(&group));
            let single = Member { line, name: String::new(), node };
            let leaves = if is_group { self.members(&path, single.node) } else { vec![single] };
            for leaf in leaves {
                let (full, path) = match is_group {
                    true => (format!("{group}{}", leaf.name), join(&path, &leaf.name)),
                    false => (name.clone(), path.clone()),
                };
                match kind.fields().iter().find(|field| field.name == full) {
                    Some(field) => said.extend(self.value(field, &path, leaf.node)),
                    None => self.unknown(leaf.line, &path, &known(kind, is_group.then_some(group.as_str()), sections)),
                }
            }
        }
        said
    }

    fn value(&mut self, field: &'static Field, path: &str, node: Node) -> Option<(&'static str, Value)> {
        let line = node.line;
        let fits = match (field.shape, node.what) {
            (_, What::Scalar(Value::Null)) => Ok(Value::Null),
            (Shape::Text, What::Scalar(value @ Value::String(_))) => Ok(value),
            (Shape::Text, What::Scalar(_)) => Err("must be a text: put it in quotes"),
            (Shape::Text, _) => Err("must be a text"),
            (Shape::Number, What::Scalar(value)) if value.is_u64() => Ok(value),
            (Shape::Number, _) => Err("must be a whole number"),
            (Shape::Flag, What::Scalar(value @ Value::Bool(_))) => Ok(value),
            (Shape::Flag, _) => Err("must be true or false"),
            (Shape::List | Shape::Set, What::List(items)) => {
                texts(items).map(Value::Array).ok_or("must be a list of texts")
            }
            (Shape::List | Shape::Set, _) => Err("must be a list of texts"),
            (Shape::Pairs, What::Map(members)) => {
                let members = self.members(path, Node { line, what: What::Map(members) });
                pairs(members).map(Value::Object).ok_or("must be names and texts")
            }
            (Shape::Pairs, _) => Err("must be names and texts"),
            (Shape::Object, What::Map(members)) => {
                let members = self.members(path, Node { line, what: What::Map(members) });
                Ok(json(What::Map(members)))
            }
            (Shape::Object, _) => Err("must be a map"),
            (Shape::Entries, What::List(items)) => Ok(self.entries(path, items)),
            (Shape::Entries, _) => Err("must be a list of maps"),
        };
        match fits {
            // Null is the default where there is one, except for spans, of which it means: none.
            Ok(Value::Null) if field.name != "stale_after_secs" => None,
            Ok(value) => {
                if let Err(what) = meant(field.name, &value) {
                    self.wrong(line, path, what);
                }
                Some((field.name, value))
            }
            Err(what) => {
                self.wrong(line, path, what);
                None
            }
        }
    }

    /// What is in a toolset: each entry with what it says.
    fn entries(&mut self, path: &str, items: Vec<Node>) -> Value {
        let mut entries = Vec::with_capacity(items.len());
        for (at, node) in items.into_iter().enumerate() {
            let path = format!("{path}[{at}]");
            let line = node.line;
            let mut entry = Map::new();
            for Member { line, name, node } in self.members(&path, node) {
                let path = join(&path, &name);
                match node.what {
                    _ if !ENTRY.contains(&name.as_str()) => self.unknown(line, &path, &ENTRY),
                    What::Scalar(Value::Null) => {}
                    What::Scalar(value @ Value::String(_)) => _ = entry.insert(name, value),
                    _ => self.wrong(line, &path, "must be a text: put it in quotes"),
                }
            }
            for member in ENTRY.into_iter().take(2).filter(|member| !entry.contains_key(*member)) {
                self.wrong(line, &join(&path, member), "is required");
            }
            entries.push(Value::Object(entry));
        }
        Value::Array(entries)
    }

    fn unknown(&mut self, line: u64, path: &str, known: &[&str]) {
        self.wrong(line, path, format!("unknown field; known are {}", known.join(", ")));
    }
}

/// Whether control can mean anything by this text: a slip is found before the first record is written.
fn meant(field: &str, value: &Value) -> Result<(), String> {
    const ROLES: [&str; 4] = ["viewer", "user", "tenant_admin", "platform_admin"];
    if field == AUTH {
        // A document is no place for secrets: it says where they are, or that there are some, and these stay.
        let place = |text: &str| text.contains("${") || reference(text).is_some();
        let literal = |name: &str| value.get(name).and_then(Value::as_str).is_some_and(|text| !place(text));
        return match AUTH_SECRETS.into_iter().find(|name| literal(name)) {
            Some(name) => Err(format!(
                "`{name}` must say where the secret is, file:PATH or env:VARIABLE, or `{{configured: true}}` for one that \
                 is there; it is never in the document"
            )),
            None => Ok(()),
        };
    }
    let Value::String(text) = value else { return Ok(()) };
    match field {
        CLIENT_SECRET if text == HELD => Ok(()),
        CLIENT_SECRET | CREDENTIAL if reference(text).is_some() => Ok(()),
        CLIENT_SECRET | CREDENTIAL => {
            Err("must say where the secret is, env:VARIABLE or file:PATH; it is never in the document".to_owned())
        }
        "role" if ROLES.contains(&text.as_str()) => Ok(()),
        "role" => Err(format!("must be one of {}", ROLES.join(", "))),
        "listing" if Listing::parse(text).is_some() => Ok(()),
        "listing" => Err("must be tools or search".to_owned()),
        "transport" => Transport::parse(text).map(drop).map_err(|error| error.to_string()),
        "url" => UpstreamUrl::parse(text).map(drop).map_err(|error| error.to_string()),
        "host" => text.parse::<HostPattern>().map(drop).map_err(|error| error.to_string()),
        "ports" => EgressRule::parse_ports(text).map(drop).map_err(|error| error.to_string()),
        _ => Ok(()),
    }
}

/// The same for the name of a record.
fn named(kind: Kind, name: &str) -> Result<(), String> {
    match kind {
        Kind::Tenant | Kind::Department | Kind::Server | Kind::Toolset | Kind::Issuer => {
            name.parse::<ServerName>().map(drop).map_err(|error| error.to_string())
        }
        Kind::Egress | Kind::User | Kind::Key => Ok(()),
    }
}

fn of_a_tenant(section: &str) -> Option<Kind> {
    Kind::OF_A_TENANT.into_iter().find(|kind| kind.section() == section)
}

/// The names that may stand in a record, or in a group of it.
fn known(kind: Kind, group: Option<&str>, sections: &[&'static str]) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = match group {
        Some(group) => kind.fields().iter().filter_map(|field| field.name.strip_prefix(group)).collect(),
        None => kind.fields().iter().filter_map(|field| field.name.split('.').next()).collect(),
    };
    names.dedup();
    if group.is_none() {
        names.extend_from_slice(sections);
    }
    names
}

fn texts(items: Vec<Node>) -> Option<Vec<Value>> {
    items
        .into_iter()
        .map(|item| match item.what {
            What::Scalar(value @ Value::String(_)) => Some(value),
            _ => None,
        })
        .collect()
}

/// A tree without its lines.
fn json(what: What) -> Value {
    match what {
        What::Scalar(value) => value,
        What::List(items) => items.into_iter().map(|item| json(item.what)).collect(),
        What::Map(members) => {
            Value::Object(members.into_iter().map(|member| (member.name, json(member.node.what))).collect())
        }
    }
}

fn pairs(members: Vec<Member>) -> Option<Map<String, Value>> {
    members
        .into_iter()
        .map(|member| match member.node.what {
            What::Scalar(value @ Value::String(_)) => Some((member.name, value)),
            _ => None,
        })
        .collect()
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests;
