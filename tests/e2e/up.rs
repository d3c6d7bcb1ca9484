//! `gatehouse up`: what it prints, what it leaves in its folder, and what it refuses.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::json;
use tests::gatehouse::{Plane, executable};
use tests::{Gatehouse, Http, process};
use tokio::process::Command;

#[tokio::test]
async fn up_prints_one_line_and_keeps_its_secrets_to_itself() {
    let mut house = Gatehouse::start().await;
    for plane in [Plane::Control, Plane::Proxy] {
        assert!(process::runs(house.pid(plane)));
    }
    assert!(house.admin_key().starts_with("ghk_") && house.client_key().starts_with("ghk_"));
    let console = house.ready()["console"].as_str().unwrap().to_owned();
    let page = Http::default().send("GET", &console, &[], "").await.unwrap();
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    for path in ["/livez", "/readyz"] {
        assert!(Gatehouse::answers(house.control(), path).await, "control {path}");
        assert!(Gatehouse::answers(&house.proxy(), path).await, "proxy {path}");
    }
    for secret in ["keys.json", "kek", "pki/ca.key", "pki/control.key", "pki/proxy.key"] {
        let mode = std::fs::metadata(house.dir().join(secret)).unwrap_or_else(|_| panic!("{secret}")).permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "{secret}");
    }
    assert_eq!(house.end().await, Some(0));
    assert_eq!(house.more_lines(), Vec::<String>::new());
    for log in ["up.log"] {
        let text = std::fs::read_to_string(house.dir().join(log)).unwrap();
        for key in [house.admin_key(), house.client_key()] {
            assert!(!text.contains(key), "a key stands in {log}");
        }
    }
}

#[tokio::test]
async fn a_folder_in_use_is_refused_and_its_owner_not_disturbed() {
    let house = Gatehouse::start().await;
    let mut second = Command::new(executable("gatehouse"));
    second.arg("up").arg("--data-dir").arg(house.dir()).args(["--control", "127.0.0.1:0", "--mcp", "127.0.0.1:0"]);
    second.arg("--ready-json").stdin(Stdio::null()).kill_on_drop(true);
    let output = tests::patient("the second `up` ends", second.output()).await.unwrap();
    assert!(!output.status.success());
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(!output.stderr.is_empty(), "it says why");
    let echo = house.mcp().await.text("gatehouse__echo", json!({"message": "undisturbed"})).await;
    assert!(echo.contains("undisturbed"));
}

#[tokio::test]
async fn a_start_that_listens_off_loopback_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut up = Command::new(executable("gatehouse"));
    up.arg("up").arg("--data-dir").arg(folder.path()).args(["--control", "0.0.0.0:0", "--mcp", "127.0.0.1:0"]);
    up.arg("--ready-json").stdin(Stdio::null()).kill_on_drop(true);
    let output = tests::patient("`up` ends", up.output()).await.unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("loopback"), "{output:?}");
}

#[tokio::test]
async fn what_a_restart_does_not_heal_ends_up_at_once_and_is_named() {
    let mut house = Gatehouse::start().await;
    assert_eq!(house.end().await, Some(0));
    let kek = house.dir().join("kek");
    let again = async || {
        let mut up = Command::new(executable("gatehouse"));
        up.arg("up").arg("--data-dir").arg(house.dir()).args(["--control", "127.0.0.1:0", "--mcp", "127.0.0.1:0"]);
        up.arg("--ready-json").stdin(Stdio::null()).kill_on_drop(true);
        let output = tests::patient("`up` ends", up.output()).await.unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    std::fs::set_permissions(&kek, std::fs::Permissions::from_mode(0o644)).unwrap();
    let told = again().await;
    assert!(told.contains("control's configuration can't be used") && told.contains("`kek_file`"), "{told}");
    assert_eq!(told.matches("control started").count(), 1, "{told}");
    std::fs::remove_file(&kek).unwrap();
    let told = again().await;
    assert!(told.contains("kek is gone: put it back") && !kek.exists(), "{told}");
}
