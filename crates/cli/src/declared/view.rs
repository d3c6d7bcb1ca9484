//! From REST's records to a house that can be compared: names in the place of ids, nothing of times and counters.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::document::{Held, Record};
use super::schema::{AUTH, CLIENT_SECRET, CREDENTIAL, ENTRY, Field, HELD, Kind, TOOLS};
use crate::screen::cell;

/// The names that stand behind ids.
#[derive(Debug, Default)]
pub(crate) struct Names(HashMap<String, String>);

impl Names {
    /// Learns the names of a list.
    pub(crate) fn learn<'a>(&mut self, kind: Kind, items: impl IntoIterator<Item = &'a Value>) {
        let Some(name) = kind.named_by() else { return };
        self.0.extend(items.into_iter().map(|item| (cell(item, "id"), cell(item, name))));
    }

    /// What a member of a record refers to, for people.
    pub(crate) fn of(&self, record: &Value, member: &str) -> String {
        let name = record.get(member).and_then(|reference| self.name(reference));
        name.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// What a reference is called: REST gives a name, an id, or an object that has both.
    fn name(&self, reference: &Value) -> Option<Value> {
        match reference {
            Value::String(text) => Some(self.0.get(text).unwrap_or(text).as_str().into()),
            Value::Object(members) => ["name", "login"].into_iter().find_map(|name| members.get(name)).cloned(),
            _ => None,
        }
    }
}

/// Whether settings of authentication say that nothing is shown.
pub(super) fn is_none(auth: &Value) -> bool {
    auth.get("type").is_some_and(|kind| kind == "none")
}

/// A record as REST lists it.
pub(crate) fn held(kind: Kind, item: &Value, names: &Names) -> Held {
    let name = kind.named_by().map(|member| cell(item, member)).unwrap_or_default();
    let record = Record::new(kind, &name, |field| value(kind, field, item, names));
    Held { id: cell(item, "id"), version: format!("\"{}\"", cell(item, "generation")), record }
}

/// The value of a field; a member that control doesn't tell has its default.
fn value(kind: Kind, field: &Field, item: &Value, names: &Names) -> Option<Value> {
    if (kind, field.name) == (Kind::Issuer, CLIENT_SECRET) {
        return (item.get("has_client_secret") == Some(&Value::Bool(true))).then(|| HELD.into());
    }
    if (kind, field.name) == (Kind::Server, CREDENTIAL) {
        return None;
    }
    let found = match field.name.split_once('.') {
        Some((group, name)) => item.get(group).and_then(|group| group.get(name)),
        None => item.get(field.name),
    }?;
    match (kind, field.name) {
        (Kind::Key, "user") | (Kind::Egress, "tenant") => names.name(found).or(Some(Value::Null)),
        (Kind::User, "departments") | (Kind::Key, "servers") => match found {
            Value::Array(items) => Some(items.iter().filter_map(|item| names.name(item)).collect()),
            _ => Some(Value::Null),
        },
        (Kind::Server, AUTH) if is_none(found) => None,
        (Kind::Toolset, TOOLS) => Some(found.as_array().into_iter().flatten().filter_map(entry).collect()),
        _ => Some(found.clone()),
    }
}

/// What an entry of a toolset says; nothing of a server that is deleted, which has no name here.
fn entry(item: &Value) -> Option<Value> {
    item.get("server")?.as_str()?;
    let said = ENTRY.into_iter().filter_map(|name| Some((name.to_owned(), item.get(name)?.clone())));
    Some(Value::Object(said.filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ids_become_names_and_counters_go() {
        let mut names = Names::default();
        names.learn(Kind::User, [&json!({"id": "u1", "login": "ann"})]);
        names.learn(Kind::Tenant, [&json!({"id": "t1", "name": "acme"})]);
        let user = held(
            Kind::User,
            &json!({"id": "u1", "login": "ann", "title": "Ann", "departments": [{"id": "d2", "name": "labs"}, {"id": "d1", "name": "board"}],
                "role": "user", "active": true, "generation": 7, "created_at": "2026-01-01T00:00:00Z"}),
            &names,
        );
        assert_eq!((user.id.as_str(), user.version.as_str()), ("u1", "\"7\""));
        assert_eq!(user.record.get(Kind::User, "departments"), &json!(["labs", "board"]));
        let key = held(Kind::Key, &json!({"id": "k", "label": "l", "user": "u1", "servers": null}), &names);
        assert_eq!(key.record.name, "\"l\" of ann");
        let rule = json!({"id": "e", "host": "wiki", "ports": "80", "http": true, "tenant": "t1", "reason": "r"});
        assert_eq!(held(Kind::Egress, &rule, &names).record.name, "wiki:80 with http for acme (r)");
    }

    #[test]
    fn of_a_clients_secret_only_that_it_is_there_is_declared() {
        for (has, declared) in [(json!(true), json!("held")), (json!(false), json!(null)), (json!(null), json!(null))] {
            let issuer = json!({"id": "i", "name": "corp", "issuer": "https://id", "has_client_secret": has,
                "claims": {"login": "email", "external_id": "sub", "departments": null, "role": "r", "roles": {"a": "user"}}});
            let record = held(Kind::Issuer, &issuer, &Names::default()).record;
            assert_eq!(record.get(Kind::Issuer, "client_secret"), &declared, "{has}");
            assert_eq!(record.get(Kind::Issuer, "claims.roles"), &json!({"a": "user"}));
        }
    }

    #[test]
    fn of_a_toolset_the_entries_of_live_servers_are_declared() {
        let toolset = json!({"id": "t", "name": "office", "listing": "search", "tools": [
            {"server": "notes", "server_id": "1", "tool": "search", "name": "find", "description": null},
            {"server": null, "server_id": "2", "tool": "*", "name": null, "description": null}]});
        let record = held(Kind::Toolset, &toolset, &Names::default()).record;
        let expected = json!([{"server": "notes", "tool": "search", "name": "find"}]);
        assert_eq!(record.get(Kind::Toolset, "tools"), &expected);
        assert_eq!(record.texts(Kind::Toolset, "tools").collect::<Vec<_>>(), ["notes"]);
    }

    #[test]
    fn groups_and_sets_are_read_as_they_are_compared() {
        let server = json!({"id": "s", "name": "n", "url": "http://h", "tags": ["b", "a"], "limits": {"call_secs": 9}});
        let record = held(Kind::Server, &server, &Names::default()).record;
        assert_eq!(record.get(Kind::Server, "tags"), &json!(["a", "b"]));
        assert_eq!(record.get(Kind::Server, "limits.call_secs"), &json!(9));
        let said: Vec<_> = record.said(Kind::Server).map(|(field, _)| field.name).collect();
        assert_eq!(said, ["tags", "url", "limits.call_secs"]);
    }
}
