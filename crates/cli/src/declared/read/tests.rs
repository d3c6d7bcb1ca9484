//! What a document may say, and how it is told what it may not.

use serde_json::json;

use super::*;

fn wrong(text: &str) -> Vec<String> {
    read(text).err().unwrap_or_default().iter().map(Mistake::to_string).collect()
}

fn names(document: &Document, whose: Whose, kind: Kind) -> Vec<(String, u64)> {
    let section = document.sections.get(&(whose, kind)).map(Vec::as_slice).unwrap_or_default();
    section.iter().map(|declared| (declared.record.name.clone(), declared.line)).collect()
}

#[test]
fn a_document_of_one_tenant_is_read_with_its_lines() {
    let text = "\
departments:
  labs:
users:
  ann:
    departments: [labs]
servers:
  notes:
    url: https://h/mcp
    tags: [b, a]
    limits: {call_secs: 9}
keys:
- label: laptop
  user: ann
";
    let document = read(text).unwrap();
    assert_eq!(names(&document, Whose::Own, Kind::Department), [("labs".to_owned(), 2)]);
    assert_eq!(names(&document, Whose::Own, Kind::User), [("ann".to_owned(), 4)]);
    assert_eq!(names(&document, Whose::Own, Kind::Key), [("\"laptop\" of ann".to_owned(), 12)]);
    let server = &document.sections[&(Whose::Own, Kind::Server)][0].record;
    assert_eq!(server.get(Kind::Server, "tags"), &json!(["a", "b"]));
    assert_eq!(server.get(Kind::Server, "limits.call_secs"), &json!(9));
    assert_eq!(server.get(Kind::Server, "title"), "notes");
}

#[test]
fn a_secret_is_not_in_a_document_but_where_it_is() {
    let with = |secret: &str| format!("issuers:\n  corp:\n    issuer: https://id\n    client_secret: {secret}\n");
    for good in ["held", "env:CORP_SECRET", "file:/run/secrets/corp", "\"file:a b: c\""] {
        assert_eq!(wrong(&with(good)), Vec::<String>::new(), "{good}");
    }
    for bad in ["s3cret", "\"env:\"", "\"file:\"", "https://vault"] {
        let said = wrong(&with(bad)).join("\n");
        assert!(said.starts_with("line 4: issuers.corp.client_secret: must say where the secret is"), "{bad}: {said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
}

#[test]
fn a_document_of_the_platform_has_the_tenants_records_inside() {
    let text = "\
tenants:
  acme:
    title: Acme
    stale_after_secs: null
    servers:
      notes: {url: https://h/mcp}
egress_rules:
- {host: WIKI, http: true, tenant: acme, reason: in-cluster}
";
    let document = read(text).unwrap();
    let tenant = &document.sections[&(Whose::Platform, Kind::Tenant)][0].record;
    assert_eq!(tenant.get(Kind::Tenant, "stale_after_secs"), &Value::Null);
    assert_eq!(names(&document, Whose::Tenant("acme".to_owned()), Kind::Server), [("notes".to_owned(), 6)]);
    let rule = names(&document, Whose::Platform, Kind::Egress);
    assert_eq!(rule, [("wiki with http for acme (in-cluster)".to_owned(), 8)]);
}

#[test]
fn an_empty_section_says_none_and_an_absent_one_nothing() {
    for (text, said) in
        [("users: {}", true), ("users:", true), ("servers: {}", false), ("", false), ("# nothing", false)]
    {
        let document = read(text).unwrap();
        assert_eq!(document.sections.contains_key(&(Whose::Own, Kind::User)), said, "{text}");
    }
}

#[test]
fn each_mistake_is_told_with_its_line_and_path() {
    for (text, expected) in [
        ("servers:\n  n:\n    url: u\n    ulr: u\n", "line 4: servers.n.ulr: unknown field"),
        (
            "servers:\n  n:\n    limits:\n      calls: 1\n    url: u",
            "line 4: servers.n.limits.calls: unknown field; known are concurrent, response_bytes, call_secs",
        ),
        (
            "serves: {}",
            "line 1: serves: unknown field; known are tenants, egress_rules, departments, users, servers, toolsets, issuers, keys",
        ),
        ("tenants:\n  a:\n    uzers: {}", "line 3: tenants.a.uzers: unknown field"),
        ("users:\n  ann: {}\n  bob: {}\n  ann: {}\n", "line 4: users.ann: stands twice"),
        ("users:\n  ann: {role: user, role: viewer}\n", "line 2: users.ann.role: stands twice"),
        ("servers:\n  n: {}\n", "line 2: servers.n.url: is required"),
        ("servers:\n  n:\n    url: 7\n", "line 3: servers.n.url: must be a text: put it in quotes"),
        ("servers:\n  n: {url: u, retry_count: two}", "line 2: servers.n.retry_count: must be a whole number"),
        ("servers:\n  n: {url: u, enabled: 1}", "line 2: servers.n.enabled: must be true or false"),
        ("servers:\n  n: {url: u, tags: a}", "line 2: servers.n.tags: must be a list of texts"),
        ("servers:\n  n: {url: u, tags: [1]}", "line 2: servers.n.tags: must be a list of texts"),
        ("servers:\n  n: {url: u, headers: {A: [b]}}", "line 2: servers.n.headers: must be names and texts"),
        ("servers:\n  n: {url: u, limits: 9}", "line 2: servers.n.limits: must be a map"),
        ("servers: [n]", "line 1: servers: must be a map"),
        ("keys: {laptop: {}}", "line 1: keys: must be a list"),
        ("egress_rules:\n- host: h\n", "line 2: egress_rules[0].reason: is required"),
        ("egress_rules:\n- {host: h, reason: r}\n- {host: H, reason: r}\n", "line 3: egress_rules[1]: stands twice"),
        ("- a", "line 1: must be a map"),
    ] {
        let told = wrong(text);
        assert!(told.iter().any(|one| one.starts_with(expected)), "{text}: {told:?}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = "users:\n  ann: {rolle: user}\n  bob: {active: maybe}\nservers:\n  n: {}\n";
    assert_eq!(wrong(text).len(), 3, "{:?}", wrong(text));
}

#[test]
fn a_document_is_of_one_tenant_or_of_the_platform() {
    assert!(wrong("tenants: {}\nusers: {}\n")[0].contains("not both"));
}

#[test]
fn what_is_no_yaml_is_refused_with_its_line() {
    let told = wrong("users:\n  ann: [\n");
    assert!(told[0].contains("not YAML") && told[0].contains("line"), "{told:?}");
}

#[test]
fn words_urls_and_names_that_mean_nothing_are_found_before_anything_is_written() {
    let text = "\
tenants:
  acme:
    users:
      ann: {role: king}
    servers:
      Wiki One: {url: 'https://h/mcp'}
      wiki: {url: notaurl, transport: carrier pigeon}
egress_rules:
- {host: 10.0.0.0/99, ports: 90-80, reason: r}
";
    let expected = [
        "line 4: tenants.acme.users.ann.role: must be one of viewer, user, tenant_admin, platform_admin",
        "line 6: tenants.acme.servers.Wiki One: the name must be 1 to 32 of a-z, 0-9 and -, and not begin with -",
        "line 7: tenants.acme.servers.wiki.url: not a URL",
        "line 7: tenants.acme.servers.wiki.transport: must be streamable_http, sse or auto",
        "line 9: egress_rules[0].host: must be a host name, an IP address or a network such as 10.20.0.0/16",
        "line 9: egress_rules[0].ports: the ports must be one such as 443 or a range such as 8000-8100",
    ];
    assert_eq!(wrong(text), expected);
}
