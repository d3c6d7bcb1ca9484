//! What is written comes back as it was.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::declared::document::Declared;
use crate::declared::read;
use crate::declared::schema::{Field, Shape};

fn held(record: Record) -> Held {
    Held { id: "id".to_owned(), version: "\"1\"".to_owned(), record }
}

fn record(kind: Kind, name: &str, said: &[(&str, Value)]) -> Held {
    held(Record::new(kind, name, |field| {
        said.iter().find(|(one, _)| *one == field.name).map(|(_, value)| value.clone())
    }))
}

fn house(records: Vec<(Whose, Kind, Vec<Held>)>) -> Present {
    let sections = records.into_iter().map(|(whose, kind, held)| ((whose, kind), held)).collect();
    Present { sections, ..Present::default() }
}

#[test]
fn a_house_is_written_in_one_order_without_defaults() {
    let acme = || Whose::Tenant("acme".to_owned());
    let present = house(vec![
        (
            Whose::Platform,
            Kind::Tenant,
            vec![record(Kind::Tenant, "acme", &[("limits.call_secs", json!(9)), ("title", json!("Acme"))])],
        ),
        (
            Whose::Platform,
            Kind::Egress,
            vec![record(Kind::Egress, "", &[("host", json!("wiki")), ("http", json!(true)), ("reason", json!("r"))])],
        ),
        (acme(), Kind::Department, vec![record(Kind::Department, "labs", &[])]),
        (
            acme(),
            Kind::User,
            vec![record(Kind::User, "bob", &[]), record(Kind::User, "ann", &[("departments", json!(["labs"]))])],
        ),
        (
            acme(),
            Kind::Server,
            vec![record(Kind::Server, "notes", &[("url", json!("https://h/mcp")), ("title", json!("Notes"))])],
        ),
        (acme(), Kind::Key, vec![record(Kind::Key, "", &[("label", json!("laptop")), ("user", json!("ann"))])]),
    ]);
    let expected = "\
tenants:
  acme:
    title: Acme
    limits:
      call_secs: 9
    departments:
      labs: {}
    users:
      ann:
        departments:
        - labs
      bob: {}
    servers:
      notes:
        title: Notes
        url: https://h/mcp
    toolsets: {}
    issuers: {}
    keys:
    - label: laptop
      user: ann
egress_rules:
- host: wiki
  http: true
  reason: r
";
    assert_eq!(write(&present).unwrap(), expected);
}

#[test]
fn an_empty_house_says_so() {
    let sections = Kind::OF_A_TENANT.map(|kind| (Whose::Own, kind, Vec::new()));
    let text = write(&house(sections.to_vec())).unwrap();
    assert_eq!(text, "departments: {}\nusers: {}\nservers: {}\ntoolsets: {}\nissuers: {}\nkeys: []\n");
    assert_eq!(read(&text).unwrap().sections.len(), 6);
}

/// Any text that YAML could take for something else, and some others.
fn text() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "", "true", "null", "~", "no", "007", "1e3", "0x1F", "- a", "a: b", "#x", "\"", "'", " a ", "a\nb\n", "@x",
        "é…",
    ];
    prop_oneof![prop::sample::select(KNOWN).prop_map(str::to_owned), "\\PC{0,80}", "[ -~\n\t]{0,40}"]
}

fn value(field: &Field) -> BoxedStrategy<Value> {
    let any_of = |words: &'static [&str]| prop::sample::select(words).prop_map(Value::from).boxed();
    match field.name {
        "role" => return any_of(&["viewer", "user", "tenant_admin", "platform_admin"]),
        "client_secret" => return any_of(&["held", "env:SECRET", "file:/run/secrets/corp: a"]),
        "credential" => return any_of(&["env:TOKEN", "file:tokens/notes"]),
        "listing" => return any_of(&["tools", "search"]),
        "transport" => return any_of(&["auto", "streamable_http", "sse"]),
        "url" => return "[a-z]{1,9}".prop_map(|host| format!("https://{host}.example/mcp").into()).boxed(),
        _ => (),
    }
    match field.shape {
        Shape::Text => text().prop_map(Value::from).boxed(),
        Shape::Number => any::<u32>().prop_map(Value::from).boxed(),
        Shape::Flag => any::<bool>().prop_map(Value::from).boxed(),
        Shape::List | Shape::Set => prop::collection::vec(text(), 0..4).prop_map(Value::from).boxed(),
        Shape::Object => prop_oneof![
            Just(serde_json::json!({"type": "none"})),
            text().prop_map(|header| serde_json::json!({"type": "api_key", "header": header, "scopes": ["user"]})),
        ]
        .boxed(),
        Shape::Entries => prop::collection::vec((text(), text(), prop::option::of(text())), 0..4)
            .prop_map(|entries| entries.into_iter().map(entry).collect())
            .boxed(),
        Shape::Pairs => prop::collection::btree_map(text(), text(), 0..4)
            .prop_map(|pairs| Value::Object(pairs.into_iter().map(|(name, value)| (name, value.into())).collect()))
            .boxed(),
    }
}

fn entry((server, tool, name): (String, String, Option<String>)) -> Value {
    match name {
        Some(name) => json!({"server": server, "tool": tool, "name": name, "description": "two\nlines"}),
        None => json!({"server": server, "tool": tool}),
    }
}

fn any_record(kind: Kind) -> impl Strategy<Value = Record> {
    let values: Vec<_> = kind.fields().iter().map(value).collect();
    let slugs = matches!(kind, Kind::Server | Kind::Toolset | Kind::Issuer);
    let name = if slugs { "[a-f0-9][a-f0-9-]{0,31}".boxed() } else { text().boxed() };
    (name, values).prop_map(move |(name, values)| {
        let mut values = values.into_iter();
        let name = if kind.named_by().is_some() { name } else { String::new() };
        Record::new(kind, &name, |_| values.next())
    })
}

proptest! {
    #[test]
    fn whatever_a_record_says_comes_back(server in any_record(Kind::Server), user in any_record(Kind::User), issuer in any_record(Kind::Issuer), key in any_record(Kind::Key), toolset in any_record(Kind::Toolset)) {
        let records = [(Kind::User, user), (Kind::Server, server), (Kind::Issuer, issuer), (Kind::Key, key), (Kind::Toolset, toolset)];
        let present = house(records.iter().map(|(kind, record)| (Whose::Own, *kind, vec![held(record.clone())])).collect());
        let text = write(&present).unwrap();
        let document = read(&text).unwrap_or_else(|wrong| panic!("{wrong:?}\n{text}"));
        for (kind, record) in records {
            let read: Vec<&Record> = document.sections[&(Whose::Own, kind)].iter().map(|Declared { record, .. }| record).collect();
            prop_assert_eq!(read, vec![&record], "{}", text);
        }
    }
}
