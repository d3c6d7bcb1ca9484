//! The `gatehouse` command against running planes: what scripts build on.

use tests::{Gatehouse, Upstream};

use crate::shell::Shell;
use crate::ways::nowhere;

#[tokio::test]
async fn a_server_is_added_used_and_removed_from_a_shell() {
    let house = Gatehouse::start().await;
    let shell = Shell::of(&house);
    let upstream = Upstream::named("notes").await;
    shell.done(&["status"]).await;
    shell.done(&["server", "add", "notes", &upstream.url()]).await;
    let list = shell.done(&["server", "ls"]).await;
    assert!(list.to_string().contains("notes"), "{list}");
    let shown = shell.done(&["server", "show", "notes"]).await;
    assert!(shown.to_string().contains(&upstream.url()), "{shown}");
    let tools = shell.done(&["tools", "notes"]).await;
    assert!(tools.to_string().contains("echo"), "{tools}");
    let called = shell.done(&["call", "notes", "echo", r#"{"text":"from a shell"}"#]).await;
    assert!(called.to_string().contains("notes: from a shell"), "{called}");
    shell.done(&["server", "test", "notes"]).await;
    shell.done(&["server", "disable", "notes"]).await;
    shell.done(&["server", "enable", "notes"]).await;
    shell.done(&["recover"]).await;
    let made = shell.run(&["key", "create"]).await;
    assert!(made.stdout.trim().starts_with("ghk_") && made.stdout.lines().count() == 1, "{made:?}");
    assert!(made.stderr.contains("not shown again"), "{made:?}");
    let key = shell.done(&["key", "create"]).await;
    assert!(key.to_string().contains("ghk_"), "{key}");
    let keys = shell.done(&["key", "ls"]).await;
    assert!(!keys.to_string().contains("ghk_"), "{keys}");
    let id = key["id"].as_str().unwrap_or_else(|| panic!("{key}"));
    shell.done(&["key", "revoke", id]).await;
    shell.done(&["certs"]).await;
    shell.done(&["version"]).await;
    shell.done(&["server", "rm", "notes"]).await;
    assert_eq!(upstream.calls("from a shell"), 1);
}

#[tokio::test]
async fn what_fails_says_so_with_its_exit_code() {
    let mut house = Gatehouse::start().await;
    let shell = Shell::of(&house);
    assert_eq!(shell.run(&["server", "show", "nobody"]).await.code, 3);
    assert_eq!(shell.run(&["call", "nobody", "echo", "{}"]).await.code, 3);
    assert_ne!(shell.run(&["server", "add", "dead", &nowhere()]).await.code, 0);
    assert_eq!(shell.run(&["no-such-verb"]).await.code, 2);
    let upstream = Upstream::named("once").await;
    shell.done(&["server", "add", "once", &upstream.url()]).await;
    assert_eq!(shell.run(&["server", "add", "once", &upstream.url()]).await.code, 6);
    house.end().await;
    assert_eq!(shell.run(&["server", "ls"]).await.code, 5);
}
