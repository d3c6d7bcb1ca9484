//! `gatehouse export` and `gatehouse apply`: a house as one document.

use serde_json::{Value, json};
use tests::{Gatehouse, Upstream};

use crate::shell::{Ran, Shell};
use crate::ways::nowhere;

/// Writes a document into the folder of the house.
fn file(house: &Gatehouse, text: &str) -> String {
    let path = house.dir().join("house.yaml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

async fn apply(shell: &Shell, text: &str, more: &[&str]) -> Ran {
    shell.run_with(&[&["apply", "-", "--yes"], more].concat(), text).await
}

async fn applied(shell: &Shell, text: &str, more: &[&str]) -> String {
    let ran = apply(shell, text, more).await;
    assert_eq!(ran.code, 0, "{ran:?}\n{text}");
    ran.stdout
}

#[tokio::test]
async fn an_export_applied_is_a_no_op_and_makes_an_empty_house_the_same() {
    let (house, empty) = (Gatehouse::start().await, Gatehouse::start().await);
    let shell = Shell::of(&house);
    let upstream = Upstream::named("notes").await;
    shell.done(&["tenant", "create", "acme", "--title", "Acme: \"the\" Ltd", "--call-secs", "30"]).await;
    shell
        .done(&["egress", "allow", "wiki.tools.svc:8080", "--http", "--tenant", "acme", "--reason", "in-cluster wiki"])
        .await;
    for tenant in ["default", "acme"] {
        let at = |words: &[&'static str]| -> Vec<&'static str> { [words, &["--tenant", tenant]].concat() };
        shell.done(&at(&["department", "create", "labs"])).await;
        shell.done(&at(&["user", "create", "ann", "--department", "labs", "--role", "tenant_admin"])).await;
        shell.done(&at(&["user", "create", "bob", "--disabled"])).await;
        shell.done(&at(&["key", "create", "--user", "ann", "--label", "laptop"])).await;
        let url = upstream.url();
        let add = [
            "server",
            "add",
            "notes",
            &url,
            "--tenant",
            tenant,
            "--description",
            "one: 1",
            "--tag",
            "yes",
            "--header",
            "X-A: b",
        ];
        shell.done(&[&add[..], &["--disable-tool", "fail", "--call-secs", "9", "--retry-count", "1"]].concat()).await;
        shell.done(&at(&["toolset", "add", "office", "--listing", "search", "--tool", "notes/echo=say"])).await;
    }
    let exported = shell.told(&["export", "--all-tenants"]).await;
    assert!(!exported.contains("ghk_") && !exported.contains("generation"), "{exported}");
    for more in [&[][..], &["--prune"], &["--create-keys"]] {
        let told = applied(&shell, &exported, more).await;
        assert_eq!(told.lines().last(), Some("nothing is to be done"), "{more:?}: {told}");
    }

    let other = Shell::of(&empty);
    let told = applied(&other, &exported, &["--create-keys"]).await;
    assert_eq!(told.matches("ghk_").count(), 2, "{told}");
    assert_eq!(other.told(&["export", "--all-tenants"]).await, exported);
    assert!(applied(&other, &exported, &["--create-keys"]).await.contains("nothing is to be done"));
    assert_eq!(other.told(&["call", "notes", "echo", "text=hi", "--tenant", "acme"]).await.trim(), "notes: hi");
}

#[tokio::test]
async fn what_says_only_its_name_is_exported_with_only_its_name() {
    let house = Gatehouse::start().await;
    let admin = house.admin();
    let acme = admin.tenant("acme").await;
    for (path, body) in [
        ("departments", json!({"name": "labs"})),
        ("users", json!({"login": "ann"})),
        ("servers", json!({"name": "notes", "url": nowhere(), "skip_validation": true})),
    ] {
        acme.post(&format!("/api/v1/{path}"), &body).await.expect(201);
    }
    admin.post("/api/v1/egress-rules", &json!({"host": "wiki", "reason": "r"})).await.expect(201);
    let exported = Shell::of(&house).told(&["export", "--all-tenants"]).await;
    let (_, acme) = exported.split_once("  acme:\n").unwrap_or_else(|| panic!("{exported}"));
    let lines: Vec<&str> = acme.lines().take_while(|line| line.starts_with("   ")).map(str::trim).collect();
    let expected = [
        "departments:",
        "labs: {}",
        "users:",
        "ann: {}",
        "servers:",
        "notes:",
        "url",
        "toolsets: {}",
        "issuers: {}",
        "keys: []",
    ];
    assert_eq!(lines.len(), expected.len(), "{exported}");
    assert!(lines.iter().zip(expected).all(|(line, expected)| line.starts_with(expected)), "{exported}");
    assert!(exported.ends_with("egress_rules:\n- host: wiki\n  reason: r\n"), "{exported}");
}

#[tokio::test]
async fn a_plan_is_shown_and_nothing_is_done_without_a_yes() {
    let house = Gatehouse::start().await;
    let shell = Shell::of(&house);
    let path = file(&house, "departments:\n  labs: {title: Labs}\n");
    for (args, code) in [(&["apply", path.as_str(), "--dry-run"][..], 0), (&["apply", path.as_str()], 2)] {
        let ran = shell.run(args).await;
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.stdout.contains("+ department labs\n    title: Labs\n1 to create"), "{ran:?}");
    }
    assert_eq!(shell.done(&["department", "ls"]).await["items"], json!([]));
    let done = shell.done(&["apply", &path, "--yes"]).await;
    assert_eq!((&done["plan"]["steps"][0]["action"], done["done"].as_array().unwrap().len()), (&json!("create"), 1));
    assert_eq!(shell.done(&["apply", &path, "--yes"]).await["plan"]["steps"], json!([]));
}

#[tokio::test]
async fn fields_change_and_what_is_not_named_is_removed_when_asked() {
    let house = Gatehouse::start().await;
    let shell = Shell::of(&house);
    let url = nowhere();
    let before = format!(
        "departments: {{labs: {{}}}}\nusers: {{ann: {{departments: [labs]}}, bob: {{}}}}\nservers: {{notes: {{url: {url}}}}}\n"
    );
    applied(&shell, &before, &[]).await;
    let after = format!(
        "departments:\nusers: {{ann: {{title: Ann}}}}\nservers: {{notes: {{url: {url}, enabled: false, limits: {{concurrent: 2}}}}}}\n"
    );
    let told = applied(&shell, &after, &["--prune"]).await;
    for line in [
        "~ user ann",
        "    departments: [\"labs\"] -> []",
        "    limits.concurrent: none -> 2",
        "- user bob",
        "- department labs",
        "changed: server notes",
    ] {
        assert!(told.lines().any(|one| one == line), "{line}: {told}");
    }
    let shown = shell.done(&["server", "show", "notes"]).await;
    assert_eq!((&shown["enabled"], &shown["limits"]["concurrent"]), (&json!(false), &json!(2)));
    shell.fails(3, &["user", "show", "bob"]).await;
    shell.done(&["user", "restore", "bob"]).await;
    assert!(applied(&shell, &after, &[]).await.contains("nothing is to be done"));
}

#[tokio::test]
async fn a_refused_step_ends_the_run_which_goes_on_when_it_is_mended() {
    let house = Gatehouse::start().await;
    let shell = Shell::of(&house);
    let wrong =
        format!("servers:\n  a: {{url: {0}}}\n  b: {{url: {0}, retry_count: 99}}\n  c: {{url: {0}}}\n", nowhere());
    let ran = apply(&shell, &wrong, &[]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.ends_with("created: server a\n"), "{ran:?}");
    assert!(
        ran.stderr.contains("1 of 3 steps are done")
            && ran.stderr.contains("server b")
            && ran.stderr.contains("retry_count"),
        "{ran:?}"
    );
    let told = applied(&shell, &wrong.replace("99", "9"), &[]).await;
    assert!(told.ends_with("created: server b\ncreated: server c\n"), "{told}");
}

#[tokio::test]
async fn a_document_with_mistakes_changes_nothing() {
    let house = Gatehouse::start().await;
    let shell = Shell::of(&house);
    for (text, said) in [
        (
            "departments: {labs: {}}\nusers: {ann: {departments: [nowhere]}}",
            "line 2: user ann: departments: there is no department nowhere",
        ),
        ("departments:\n  labs: {}\n  labs: {}\n", "line 3: departments.labs: stands twice"),
        ("departments:\n  labs: {titel: x}\n", "line 2: departments.labs.titel: unknown field"),
        ("departments: {labs: {}}\negress_rules: []\n", "not both"),
        ("departments: [", "line 1"),
    ] {
        let ran = apply(&shell, text, &[]).await;
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(ran.stderr.contains(said) && ran.stderr.contains("nothing was changed"), "{ran:?}");
    }
    assert_eq!(shell.done(&["department", "ls"]).await["items"], json!([]));
}

#[tokio::test]
async fn an_admin_of_one_tenant_exports_and_applies_that_tenant() {
    let house = Gatehouse::start().await;
    let key = house.admin().tenant("acme").await.key("tenant_admin").await;
    let acme = Shell::with_key(&house, &key);
    applied(&acme, "departments: {labs: {}}\nusers: {ann: {departments: [labs]}}\n", &[]).await;
    let exported = acme.told(&["export"]).await;
    assert!(exported.starts_with("departments:\n  labs: {}\nusers:\n  ann:\n"), "{exported}");
    assert!(applied(&acme, &exported, &["--prune"]).await.contains("nothing is to be done"));
    acme.fails(4, &["export", "--all-tenants"]).await;
    assert_eq!(Shell::of(&house).done(&["department", "ls"]).await["items"], Value::Array(Vec::new()));
    // Another tenant can be made the same: a document of one tenant names none.
    house.admin().tenant("globex").await;
    applied(&Shell::of(&house), &exported, &["--tenant", "globex"]).await;
    assert_eq!(Shell::of(&house).done(&["user", "ls", "--tenant", "globex"]).await["items"][0]["login"], "ann");
}
