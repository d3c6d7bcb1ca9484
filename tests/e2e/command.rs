//! The `gatehouse` command against running planes: what scripts build on.

use std::process::Stdio;

use serde_json::{Value, json};
use tests::gatehouse::executable;
use tests::{Gatehouse, Upstream};
use tokio::process::Command;

use crate::ways::nowhere;

/// Runs a verb with `--json`; the exit code and what it printed.
async fn run(house: &Gatehouse, args: &[&str]) -> (i32, Value) {
    let mut command = Command::new(executable("gatehouse"));
    command.args(args).arg("--json").arg("--data-dir").arg(house.dir());
    command.env_remove("GATEHOUSE_URL").env_remove("GATEHOUSE_KEY").stdin(Stdio::null()).kill_on_drop(true);
    let output = tests::patient("the command ends", command.output()).await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains(house.admin_key()) && !said.contains(house.admin_key()), "{args:?} prints the admin's key");
    let json = serde_json::from_str(&text).unwrap_or(Value::Null);
    (output.status.code().unwrap_or(-1), if json.is_null() { json!({"stdout": text, "stderr": said}) } else { json })
}

async fn done(house: &Gatehouse, args: &[&str]) -> Value {
    let (code, printed) = run(house, args).await;
    assert_eq!(code, 0, "{args:?}: {printed}");
    printed
}

#[tokio::test]
async fn a_server_is_added_used_and_removed_from_a_shell() {
    let house = Gatehouse::start().await;
    let upstream = Upstream::named("notes").await;
    done(&house, &["status"]).await;
    done(&house, &["server", "add", "notes", &upstream.url()]).await;
    let list = done(&house, &["server", "ls"]).await;
    assert!(list.to_string().contains("notes"), "{list}");
    let shown = done(&house, &["server", "show", "notes"]).await;
    assert!(shown.to_string().contains(&upstream.url()), "{shown}");
    let tools = done(&house, &["tools", "notes"]).await;
    assert!(tools.to_string().contains("echo"), "{tools}");
    let called = done(&house, &["call", "notes", "echo", r#"{"text":"from a shell"}"#]).await;
    assert!(called.to_string().contains("notes: from a shell"), "{called}");
    done(&house, &["server", "test", "notes"]).await;
    done(&house, &["server", "disable", "notes"]).await;
    done(&house, &["server", "enable", "notes"]).await;
    done(&house, &["recover"]).await;
    let key = done(&house, &["key", "create"]).await;
    assert!(key.to_string().contains("ghk_"), "{key}");
    let keys = done(&house, &["key", "ls"]).await;
    assert!(!keys.to_string().contains("ghk_"), "{keys}");
    let id = key["id"].as_str().unwrap_or_else(|| panic!("{key}"));
    done(&house, &["key", "revoke", id]).await;
    done(&house, &["certs"]).await;
    done(&house, &["version"]).await;
    done(&house, &["server", "rm", "notes"]).await;
    assert_eq!(upstream.calls("from a shell"), 1);
}

#[tokio::test]
async fn what_fails_says_so_with_its_exit_code() {
    let mut house = Gatehouse::start().await;
    assert_eq!(run(&house, &["server", "show", "nobody"]).await.0, 3);
    assert_eq!(run(&house, &["call", "nobody", "echo", "{}"]).await.0, 3);
    assert_ne!(run(&house, &["server", "add", "dead", &nowhere()]).await.0, 0);
    assert_eq!(run(&house, &["no-such-verb"]).await.0, 2);
    let upstream = Upstream::named("once").await;
    done(&house, &["server", "add", "once", &upstream.url()]).await;
    assert_eq!(run(&house, &["server", "add", "once", &upstream.url()]).await.0, 6);
    house.end().await;
    assert_eq!(run(&house, &["server", "ls"]).await.0, 5);
}
