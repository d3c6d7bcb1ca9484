//! Records from a shell, as a team uses them: tenants, users, departments, keys, servers, egress rules.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use serde_json::json;
use tests::{Gatehouse, Mcp, Upstream, eventually};

use crate::shell::Shell;
use crate::ways::until_offered;

/// An address of this machine that is not loopback. Nothing is sent to find it.
fn own_address() -> Ipv4Addr {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").expect("this machine has an address besides loopback");
    match socket.local_addr().unwrap().ip() {
        IpAddr::V4(ip) if !ip.is_loopback() => ip,
        other => panic!("this machine has no IPv4 address besides loopback: {other}"),
    }
}

#[tokio::test]
async fn a_user_of_the_second_tenant_lists_that_tenants_server_and_none_of_the_firsts() {
    let house = Gatehouse::start().await;
    let shell = Shell::of(&house);
    let (ours, theirs) = (Upstream::named("ours").await, Upstream::named("theirs").await);
    shell.done(&["server", "add", "ours", &ours.url()]).await;
    shell.done(&["tenant", "create", "acme", "--title", "Acme Ltd"]).await;
    shell.done(&["server", "add", "theirs", &theirs.url(), "--tenant", "acme"]).await;
    shell.done(&["user", "create", "ann", "--tenant", "acme"]).await;
    let made = ["key", "create", "--user", "ann", "--label", "laptop", "--expires-in", "90d", "--tenant", "acme"];
    let key = shell.done(&made).await["key"].as_str().unwrap().to_owned();

    let mcp = Mcp::open(&house.at("/mcp"), &key).await;
    until_offered(&mcp, "theirs__echo", true).await;
    assert!(!mcp.tools().await.iter().any(|tool| tool.starts_with("ours__")));
    assert_eq!(mcp.text("theirs__echo", json!({"text": "hi"})).await, "theirs: hi");

    let ann = Shell::with_key(&house, &key);
    let me = ann.done(&["whoami"]).await;
    assert_eq!(
        (&me["user"]["login"], &me["tenant"]["name"], &me["role"]),
        (&json!("ann"), &json!("acme"), &json!("user"))
    );
    assert!(ann.told(&["whoami"]).await.contains("tenant  acme"));
    let listed = ann.told(&["server", "ls"]).await;
    assert!(listed.contains("theirs") && !listed.contains("ours "), "{listed}");
    assert!(ann.fails(4, &["user", "create", "bob"]).await.contains("role"));
}

#[tokio::test]
async fn a_disabled_users_key_is_refused_until_the_user_is_enabled() {
    let house = Gatehouse::start().await;
    let shell = Shell::of(&house);
    shell.done(&["user", "create", "ann", "--role", "tenant_admin"]).await;
    let made = shell.done(&["key", "create", "--user", "ann", "--role", "tenant_admin"]).await;
    let ann = Shell::with_key(&house, made["key"].as_str().unwrap());
    ann.done(&["server", "ls"]).await;
    shell.done(&["user", "disable", "ann"]).await;
    ann.fails(4, &["server", "ls"]).await;
    let status = ann.told(&["status"]).await;
    assert!(status.contains("the key was refused"), "{status}");
    shell.done(&["user", "enable", "ann"]).await;
    ann.done(&["server", "ls"]).await;
}

#[tokio::test]
async fn an_in_cluster_http_server_is_let_in_by_the_rule_that_its_refusal_names() {
    let house = Gatehouse::start().await;
    let shell = Shell::of(&house);
    let wiki = Upstream::on(own_address(), "wiki").await;
    shell.done(&["tenant", "create", "acme"]).await;
    let add = ["server", "add", "wiki", &wiki.url(), "--tenant", "acme"];
    let refused = shell.fails(1, &add).await;
    let command = refused.split("gatehouse ").nth(1).unwrap_or_else(|| panic!("{refused}"));
    let mut words: Vec<&str> = command.split_whitespace().take_while(|word| *word != "--reason").collect();
    words.extend(["--reason", "in-cluster wiki", "--tenant", "acme"]);
    let rule = shell.done(&words).await;
    eventually("the rule has reached the proxy", || async { (shell.run(&add).await.code == 0).then_some(()) }).await;

    let called = shell.told(&["call", "wiki", "echo", "text=hi", "--tenant", "acme"]).await;
    assert_eq!(called.trim(), "wiki: hi");
    let listed = shell.told(&["egress", "ls", "--tenant", "acme"]).await;
    assert!(listed.contains("in-cluster wiki") && listed.contains("acme"), "{listed}");
    assert!(shell.told(&["egress", "ls", "--tenant", "default"]).await.contains("no rules"));
    shell.done(&["egress", "rm", rule["id"].as_str().unwrap()]).await;
    assert!(shell.told(&["egress", "ls"]).await.contains("no rules"));
}

#[tokio::test]
async fn departments_and_users_are_made_changed_removed_and_restored() {
    let house = Gatehouse::start().await;
    let shell = Shell::of(&house);
    shell.done(&["department", "create", "labs", "--title", "Labs"]).await;
    shell.done(&["department", "create", "board", "--external-id", "b-1"]).await;
    shell.done(&["department", "set", "labs", "--title", "Laboratories"]).await;
    assert_eq!(shell.done(&["department", "show", "labs"]).await["title"], "Laboratories");
    shell.done(&["user", "create", "ann", "--department", "labs", "--department", "board"]).await;
    let order = |user: &serde_json::Value| {
        user["departments"].as_array().unwrap().iter().map(|of| of["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(order(&shell.done(&["user", "show", "ann"]).await), ["labs", "board"]);
    shell.done(&["user", "set", "ann", "--department", "board", "--department", "labs", "--role", "viewer"]).await;
    let ann = shell.done(&["user", "show", "ann"]).await;
    assert_eq!((order(&ann), &ann["role"]), (vec![json!("board"), json!("labs")], &json!("viewer")));
    let listed = shell.told(&["user", "ls"]).await;
    assert!(listed.contains("board,labs"), "{listed}");

    for noun in [["department", "labs"], ["user", "ann"]] {
        let [word, name] = noun;
        shell.done(&[word, "rm", name]).await;
        shell.fails(3, &[word, "show", name]).await;
        assert!(shell.told(&[word, "ls", "--deleted"]).await.contains(name));
        shell.done(&[word, "restore", name]).await;
        shell.done(&[word, "show", name]).await;
    }
    shell.fails(6, &["user", "create", "ann"]).await;
    assert!(shell.fails(2, &["user", "set", "ann"]).await.contains("what to change"));
}

#[tokio::test]
async fn a_tenant_is_changed_closed_removed_and_restored() {
    let house = Gatehouse::start().await;
    let shell = Shell::of(&house);
    shell.done(&["tenant", "create", "acme", "--call-secs", "9", "--stale-after", "12h"]).await;
    let key = house.admin().in_tenant("acme").key("tenant_admin").await;
    let acme = Shell::with_key(&house, &key);
    shell
        .done(&["tenant", "set", "acme", "--servers", "5", "--stale-after", "never", "--max-stale-credential", "0s"])
        .await;
    let shown = shell.done(&["tenant", "show", "acme"]).await;
    assert_eq!((&shown["limits"]["call_secs"], &shown["limits"]["servers"]), (&json!(9), &json!(5)));
    assert_eq!((&shown["stale_after_secs"], &shown["max_stale_credential_secs"]), (&json!(null), &json!(0)));
    for (close, open) in [("disable", "enable"), ("rm", "restore")] {
        acme.done(&["server", "ls"]).await;
        shell.done(&["tenant", close, "acme"]).await;
        acme.fails(4, &["server", "ls"]).await;
        shell.done(&["tenant", open, "acme"]).await;
    }
    acme.done(&["server", "ls"]).await;
    acme.fails(4, &["tenant", "ls"]).await;
}

#[tokio::test]
async fn a_key_is_relabelled_restricted_replaced_and_ended() {
    let house = Gatehouse::start().await;
    let shell = Shell::of(&house);
    let upstream = Upstream::named("notes").await;
    shell.done(&["server", "add", "notes", &upstream.url()]).await;
    shell.done(&["user", "create", "ann"]).await;
    let old = shell.done(&["key", "create", "--user", "ann", "--label", "laptop"]).await;
    let id = old["id"].as_str().unwrap();
    shell.done(&["key", "set", id, "--label", "desk", "--server", "notes", "--expires-in", "30d"]).await;
    let shown = shell.done(&["key", "show", id]).await;
    assert_eq!((&shown["label"], &shown["servers"]), (&json!("desk"), &json!(["notes"])));
    let new = shell.done(&["key", "rotate", id, "--grace", "1h"]).await;
    assert_eq!((&new["label"], &new["replaces"], &new["servers"]), (&json!("desk"), &json!(id), &json!(["notes"])));
    for key in [&old, &new] {
        Shell::with_key(&house, key["key"].as_str().unwrap()).done(&["whoami"]).await;
    }
    shell.done(&["key", "revoke", id, new["id"].as_str().unwrap()]).await;
    Shell::with_key(&house, new["key"].as_str().unwrap()).fails(4, &["whoami"]).await;
    let listed = shell.told(&["key", "ls"]).await;
    assert_eq!(listed.matches("revoked").count(), 2, "{listed}");
    assert!(listed.contains("  ann  "), "{listed}");
}

#[tokio::test]
async fn a_server_has_its_texts_limits_retries_and_tools() {
    let house = Gatehouse::start().await;
    let shell = Shell::of(&house);
    let upstream = Upstream::named("notes").await;
    let url = upstream.url();
    let add = [
        "server",
        "add",
        "notes",
        &url,
        "--description",
        "Our notes",
        "--tag",
        "team",
        "--tag",
        "docs",
        "--icon",
        "book",
    ];
    shell.done(&[&add[..], &["--retry-count", "2", "--retry-delay", "5", "--call-secs", "20"]].concat()).await;
    assert!(shell.told(&["server", "ls", "--tag", "docs"]).await.contains("notes"));
    assert!(shell.told(&["server", "ls", "--tag", "none"]).await.contains("no such server"));
    shell
        .done(&["server", "set", "notes", "--no-description", "--no-icon", "--no-call-secs", "--concurrent", "3"])
        .await;
    let shown = shell.done(&["server", "show", "notes"]).await;
    assert_eq!(shown["limits"], json!({"concurrent": 3, "response_bytes": null, "call_secs": null}));
    assert_eq!((&shown["description"], &shown["icon"], &shown["retry_count"]), (&json!(null), &json!(null), &json!(2)));

    upstream.add_tool("late");
    assert!(shell.told(&["server", "tools", "notes", "--refresh"]).await.contains("late"));
    shell.done(&["server", "tool", "disable", "notes", "echo"]).await;
    let tools = shell.told(&["server", "tools", "notes"]).await;
    assert!(tools.lines().any(|line| line.starts_with("echo ") && line.contains("disabled")), "{tools}");
    shell.fails(1, &["call", "notes", "echo", "text=hi"]).await;
    shell.done(&["server", "tool", "enable", "notes", "echo"]).await;
    eventually("the tool is back", || async {
        (shell.run(&["call", "notes", "echo", "text=hi"]).await.code == 0).then_some(())
    })
    .await;

    let told = shell.fails(1, &["server", "set", "notes", "--retry-delay", "99999999"]).await;
    assert!(told.contains("--retry-delay"), "{told}");
    let told = shell.fails(1, &["server", "set", "notes", "--retry-count", "99", "--connect-timeout", "1"]).await;
    assert!(told.contains("--retry-count") && told.contains("--connect-timeout"), "{told}");
}

#[tokio::test]
async fn a_removed_server_comes_back_until_it_is_forgotten() {
    let house = Gatehouse::start().await;
    let shell = Shell::of(&house);
    let upstream = Upstream::named("notes").await;
    let added = shell.done(&["server", "add", "notes", &upstream.url()]).await;
    shell.done(&["server", "deps", "notes"]).await;
    shell.fails(6, &["server", "rm", "notes", "--purge"]).await;
    shell.done(&["server", "rm", "notes"]).await;
    assert!(shell.told(&["server", "ls", "--deleted"]).await.contains("notes"));
    shell.done(&["server", "restore", "notes"]).await;
    shell.done(&["server", "show", "notes"]).await;
    shell.done(&["server", "rm", "notes"]).await;
    shell.done(&["server", "rm", added["id"].as_str().unwrap(), "--purge"]).await;
    shell.fails(3, &["server", "restore", "notes"]).await;
}

#[tokio::test]
async fn who_changed_what_is_told_newest_first() {
    let house = Gatehouse::start().await;
    let shell = Shell::of(&house);
    shell.done(&["department", "create", "labs"]).await;
    shell.done(&["department", "rm", "labs"]).await;
    let told = shell.told(&["audit", "ls", "--since", "1h"]).await;
    let line =
        |what: &str| told.lines().position(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {told}"));
    assert!(line("department.delete") < line("department.create"), "{told}");
    let one = shell.done(&["audit", "ls", "--action", "department.create", "--limit", "1"]).await;
    assert_eq!(one["items"].as_array().unwrap().len(), 1, "{one}");
}
