//! A table of documents and houses, and what is to be done.

use serde_json::json;

use super::*;
use crate::declared::schema::Field;
use crate::declared::{as_json, as_text, read, write};

const HOUSE: &str = "\
tenants:
  acme:
    departments: {board: {}, labs: {}}
    users:
      ann: {departments: [labs], role: tenant_admin}
      bob: {}
    servers:
      notes: {url: https://h/mcp, limits: {call_secs: 9}}
    keys:
    - {label: laptop, user: ann}
  home: {}
egress_rules:
- {host: wiki, reason: r}
";

/// A house that holds what this document declares, at generation 7.
fn house(text: &str) -> Present {
    let document = read(text).unwrap();
    let held = |(at, declared): (usize, Declared)| Held {
        id: format!("id-{at}"),
        version: "\"7\"".to_owned(),
        record: declared.record,
    };
    let sections = document
        .sections
        .into_iter()
        .map(|(place, records)| (place, records.into_iter().enumerate().map(held).collect()))
        .collect();
    Present { sections, own_tenant: Some("home".to_owned()), own_user: Some("ann".to_owned()) }
}

const PRUNE: Wish = Wish { prune: true, create_keys: false };
const KEYS: Wish = Wish { prune: false, create_keys: true };
const PLAIN: Wish = Wish { prune: false, create_keys: false };

fn planned(present: &Present, document: &str, wish: Wish) -> Vec<String> {
    let plan = plan(&read(document).unwrap(), present, wish).unwrap();
    as_text(&plan).lines().map(str::to_owned).collect()
}

#[test]
fn what_is_so_already_needs_nothing() {
    for wish in [PLAIN, PRUNE, KEYS] {
        assert_eq!(planned(&house(HOUSE), HOUSE, wish), ["nothing is to be done"], "{wish:?}");
    }
}

#[test]
fn a_clients_secret_is_sent_where_there_is_none_and_never_replaced() {
    let with = |secret: &str| format!("issuers: {{corp: {{issuer: https://id, client_secret: {secret}}}}}\n");
    let without = "issuers: {corp: {issuer: https://id}}\n";
    let sent = "    client_secret: none -> env:SECRET";
    for (before, after, changes, left) in [
        (with("held"), with("held"), None, false),
        (with("held"), with("env:SECRET"), None, false),
        (with("held"), without.to_owned(), Some("    client_secret: held -> none"), false),
        (without.to_owned(), with("env:SECRET"), Some(sent), false),
        (without.to_owned(), with("held"), None, true),
        (without.to_owned(), without.to_owned(), None, false),
    ] {
        let told = planned(&house(&before), &after, PRUNE);
        let changed: Vec<&String> = told.iter().filter(|line| line.starts_with("    ")).collect();
        assert_eq!(changed, changes.iter().collect::<Vec<_>>(), "{before}{after}");
        assert_eq!(told.iter().any(|line| line.contains("is without the secret")), left, "{before}{after}");
    }
    let told = planned(&house("issuers: {}\n"), &with("held"), PLAIN);
    assert!(told.iter().any(|line| line.contains("issuer corp is without the secret of its client")), "{told:?}");
}

#[test]
fn an_issuer_is_refused_last_and_believed_first() {
    let (off, on) =
        ("issuers: {corp: {issuer: https://id, enabled: false}}\n", "issuers: {corp: {issuer: https://id}}\n");
    assert_eq!(planned(&house(on), off, PLAIN)[0], "~ issuer corp: tokens are refused");
    assert_eq!(planned(&house(off), on, PLAIN)[0], "~ issuer corp: tokens are let in");
    let told = planned(&house("issuers: {}\n"), off, PLAIN);
    assert_eq!(
        (told[0].as_str(), told.last().unwrap().as_str()),
        ("+ issuer corp", "1 to create, 1 to change, 0 to remove")
    );
}

#[test]
fn what_is_exported_is_so_already() {
    let present = house(HOUSE);
    let text = write(&present).unwrap();
    assert_eq!(planned(&present, &text, Wish { prune: true, create_keys: true }), ["nothing is to be done"], "{text}");
}

#[test]
fn an_empty_house_is_filled_in_an_order_that_can_be_carried_out() {
    let expected = "\
+ tenant acme
+ tenant home
+ egress rule wiki (r)
+ acme: department board
+ acme: department labs
+ acme: user ann
    departments: [\"labs\"]
    role: tenant_admin
+ acme: user bob
+ acme: server notes
    url: https://h/mcp
    limits.call_secs: 9
+ acme: key \"laptop\" of ann
    label: laptop
    user: ann
9 to create, 0 to change, 0 to remove";
    let document = HOUSE.replace("{board: {}, labs: {}}", "{board: , labs: }");
    assert_eq!(planned(&Present::default(), &document, KEYS), expected.lines().collect::<Vec<_>>());
}

#[test]
fn each_difference_is_one_line() {
    let house = house(HOUSE);
    for (from, to, wish, expected) in [
        ("role: tenant_admin", "role: viewer", PLAIN, &["~ acme: user ann", "    role: tenant_admin -> viewer"][..]),
        // What a record doesn't say has its default.
        (", role: tenant_admin", "", PLAIN, &["~ acme: user ann", "    role: tenant_admin -> user"]),
        (", limits: {call_secs: 9}", "", PLAIN, &["~ acme: server notes", "    limits.call_secs: 9 -> none"]),
        (
            "[labs]",
            "[board, labs]",
            PLAIN,
            &["~ acme: user ann", "    departments: [\"labs\"] -> [\"board\",\"labs\"]"],
        ),
        ("      bob: {}\n", "", PLAIN, &[]),
        ("      bob: {}\n", "", PRUNE, &["- acme: user bob"]),
        ("      bob: {}\n", "      cid: {}\n", PRUNE, &["+ acme: user cid", "- acme: user bob"]),
        // A section that is not there says nothing.
        ("    servers:\n      notes: {url: https://h/mcp, limits: {call_secs: 9}}\n", "", PRUNE, &[]),
        ("      notes: {url: https://h/mcp, limits: {call_secs: 9}}\n", "", PRUNE, &["- acme: server notes"]),
        // A rule can't be changed: another reason is another rule.
        ("reason: r", "reason: s", PRUNE, &["+ egress rule wiki (s)", "- egress rule wiki (r)"]),
        ("label: laptop", "label: desk", PLAIN, &["  acme: key \"desk\" of ann is not made: --create-keys does"]),
        ("label: laptop", "label: desk", KEYS, &["+ acme: key \"desk\" of ann", "    label: desk", "    user: ann"]),
        ("label: laptop", "role: viewer, label: laptop", KEYS, &[]),
        ("    - {label: laptop, user: ann}\n", "", PRUNE, &[]),
        ("  home: {}\n", "", PRUNE, &["  tenant home is not in the document and stays: this key belongs to it"]),
        ("  home: {}\n", "  home: {active: false}\n", PLAIN, &["~ tenant home: keys are refused"]),
    ] {
        let document = HOUSE.replace(from, to);
        assert_ne!(document, HOUSE, "{from}");
        let told = planned(&house, &document, wish);
        assert_eq!(told[..told.len() - 1], *expected, "{from} -> {to} {wish:?}");
    }
}

#[test]
fn what_is_removed_goes_children_first_and_a_tenant_is_closed_last() {
    let document = "tenants:\n  home: {active: false, servers: {n: {url: https://u/}}}\negress_rules: []\n";
    let told = planned(&house(HOUSE), document, PRUNE);
    let expected = [
        "+ home: server n",
        "    url: https://u/",
        "- egress rule wiki (r)",
        "- tenant acme",
        "~ tenant home: keys are refused",
    ];
    assert_eq!(told[..5], expected);
    let emptied = planned(&house(HOUSE), "tenants:\n  acme: {departments: {}, users: {}}\n  home:\n", PRUNE);
    assert_eq!(
        emptied[..4],
        ["- acme: user bob", "- acme: user ann", "- acme: department labs", "- acme: department board"]
    );
}

#[test]
fn the_user_whose_key_it_is_stays() {
    let mut present = house("users: {ann: {}, bob: {}}");
    present.own_user = Some("bob".to_owned());
    let told = planned(&present, "users: {}", PRUNE);
    assert_eq!(told[..2], ["- user ann", "  user bob is not in the document and stays: this key belongs to it"]);
}

#[test]
fn what_is_named_must_be_there_in_the_end() {
    for (document, wish, expected) in [
        (
            "users:\n  ann: {departments: [labs, nowhere]}",
            PLAIN,
            "line 2: user ann: departments: there is no department nowhere",
        ),
        (
            "departments: {}\nusers:\n  ann: {departments: [labs]}",
            PRUNE,
            "line 3: user ann: departments: there is no department labs",
        ),
        ("keys:\n- {label: l, user: eve}", KEYS, "line 2: key \"l\" of eve: user: there is no user eve"),
        ("keys:\n- {label: l, servers: [web]}", KEYS, "line 2: key \"l\": servers: there is no server web"),
        (
            "tenants: {}\negress_rules:\n- {host: h, reason: r, tenant: globex}",
            PLAIN,
            "line 3: egress rule h for globex (r): tenant: there is no tenant globex",
        ),
    ] {
        let present = house("departments: {labs: {}}");
        let mistakes = plan(&read(document).unwrap(), &present, wish).unwrap_err();
        assert_eq!(mistakes.iter().map(Mistake::to_string).collect::<Vec<_>>(), [expected], "{document}");
    }
    let present = house("departments: {labs: {}}\nusers: {}");
    let there = read("departments: {}\nusers:\n  ann: {departments: [labs]}").unwrap();
    assert!(plan(&there, &present, PLAIN).is_ok());
}

#[test]
fn a_change_names_what_was_seen_and_everything_for_programs() {
    let document = read(&HOUSE.replace("role: tenant_admin", "role: viewer")).unwrap();
    let plan = plan(&document, &house(HOUSE), PLAIN).unwrap();
    let Action::Change { held, .. } = &plan.steps[0].action else { panic!("{plan:?}") };
    assert_eq!((held.id.as_str(), held.version.as_str()), ("id-0", "\"7\""));
    let expected = json!({"left": [], "steps": [{"action": "change", "tenant": "acme", "kind": "user", "name": "ann",
        "fields": [{"field": "role", "from": "tenant_admin", "to": "viewer"}]}]});
    assert_eq!(as_json(&plan), expected);
}

#[test]
fn every_kind_has_a_default_or_a_duty_for_each_field() {
    let kinds = [Kind::Tenant, Kind::Egress, Kind::Department, Kind::User, Kind::Server, Kind::Toolset, Kind::Key];
    for kind in kinds {
        let record = Record::new(kind, "n", |_| None);
        let said: Vec<&str> = record.said(kind).map(|(field, _): (&Field, _)| field.name).collect();
        assert_eq!(said, Vec::<&str>::new(), "{kind:?}");
    }
}

#[test]
fn settings_of_authentication_are_declared_without_secrets_and_what_is_left_out_stays() {
    let with = |auth: &str| format!("servers: {{notes: {{url: https://h/mcp, auth: {auth}}}}}\n");
    let held = "{type: client_credentials, token_url: https://t, client_secret: {configured: true}, scopes: [], method: client_secret_basic}";
    let nothing = ["nothing is to be done"];
    for declared in [held, "{type: client_credentials, token_url: https://t, client_secret: {configured: true}}"] {
        assert_eq!(planned(&house(&with(held)), &with(declared), PLAIN), nothing, "{declared}");
    }
    for declared in ["{type: client_credentials, token_url: https://u}", "{type: none}"] {
        assert_ne!(planned(&house(&with(held)), &with(declared), PLAIN), nothing, "{declared}");
    }
    let refused = read(&with("{type: client_credentials, token_url: https://t, client_secret: s3cret}")).unwrap_err();
    assert!(refused[0].what.contains("configured") && !refused[0].to_string().contains("s3cret"), "{refused:?}");
}

#[test]
fn a_document_that_says_nothing_of_authentication_leaves_it_alone() {
    let server = |auth: &str| format!("servers: {{notes: {{url: https://h/mcp{auth}}}}}\n");
    let nothing = ["nothing is to be done"];
    for held in ["", ", auth: {type: bearer, scopes: [global]}"] {
        assert_eq!(planned(&house(&server(held)), &server(""), PLAIN), nothing, "{held}");
    }
    assert_eq!(planned(&house(&server("")), &server(", auth: {type: none}"), PLAIN), nothing);
    assert_ne!(planned(&house(&server("")), &server(", auth: {type: bearer}"), PLAIN), nothing);
}

#[test]
fn a_servers_secrets_are_declared_by_where_they_are_and_those_that_are_there_stay() {
    let with = |rest: &str| format!("servers: {{notes: {{url: https://h/mcp, {rest}}}}}\n");
    let auth = |secret: &str| with(&format!("auth: {{type: client_credentials, token_url: https://t{secret}}}"));
    let nothing = ["nothing is to be done"];
    let there = house(&auth(", client_secret: {configured: true}"));
    for place in ["file:secrets/client", "env:SECRET"] {
        assert_eq!(planned(&there, &auth(&format!(", client_secret: {place:?}")), PLAIN), nothing);
        assert_ne!(planned(&house(&auth("")), &auth(&format!(", client_secret: {place:?}")), PLAIN), nothing);
    }
    assert_ne!(planned(&there, &auth(", private_key: 'file:key.pem'"), PLAIN), nothing);
    assert_eq!(
        planned(&house(&with("auth: {type: bearer}")), &with("auth: {type: bearer}, credential: 'file:token'"), PLAIN),
        nothing
    );
    let refused = read(&with("credential: s3cret")).unwrap_err();
    assert!(refused[0].what.contains("file:PATH") && !refused[0].to_string().contains("s3cret"), "{refused:?}");
}

#[test]
fn a_toolset_is_compared_entry_by_entry_and_names_servers_that_are_there() {
    let with =
        |tools: &str| format!("servers: {{notes: {{url: https://h/mcp}}}}\ntoolsets: {{office: {{tools: {tools}}}}}\n");
    let one = "[{server: notes, tool: search, name: find}]";
    assert_eq!(planned(&house(&with(one)), &with(one), PLAIN), ["nothing is to be done"]);
    for other in ["[]", "[{server: notes, tool: search}]", "[{server: notes, tool: '*'}]"] {
        assert_ne!(planned(&house(&with(one)), &with(other), PLAIN), ["nothing is to be done"], "{other}");
    }
    let wrong = plan(&read(&with("[{server: wiki, tool: a}]")).unwrap(), &Present::default(), PLAIN).unwrap_err();
    assert_eq!(wrong[0].what, "tools: there is no server wiki");
    for (tools, said) in [
        ("[{server: notes}]", "toolsets.office.tools[0].tool: is required"),
        ("[{server: notes, tool: a, colour: b}]", "toolsets.office.tools[0].colour: unknown field"),
        ("[{server: notes, tool: 1}]", "toolsets.office.tools[0].tool: must be a text"),
        ("[notes/search]", "toolsets.office.tools[0]: must be a map"),
    ] {
        let told = read(&with(tools)).unwrap_err().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(told.contains(said), "{tools}: {told}");
    }
}
