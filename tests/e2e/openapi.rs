//! What REST promises in its OpenAPI document, tried by schemathesis against a running house.

use std::process::Stdio;

use serde_json::json;
use tests::packages::{python, repository, skipped};
use tests::{Gatehouse, Upstream, patient};
use tokio::process::Command;

/// What would end the key that asks, or its tenant: tried last.
const ENDING: [&str; 4] = ["revokeKey", "rotateKey", "deleteTenant", "disableTenant"];

/// A house with a record of each noun.
async fn furnished(upstream: &Upstream) -> Gatehouse {
    let house = Gatehouse::start().await;
    let admin = house.admin();
    for (noun, body) in [
        ("servers", json!({"name": "notes", "url": upstream.url()})),
        ("departments", json!({"name": "board"})),
        ("users", json!({"login": "ann", "departments": ["board"]})),
        ("keys", json!({"label": "laptop", "user": "ann"})),
        ("tenants", json!({"name": "third"})),
        ("toolsets", json!({"name": "office", "tools": [{"server": "notes", "tool": "*"}]})),
        ("egress-rules", json!({"host": "wiki.corp", "reason": "a record"})),
    ] {
        admin.post(&format!("/api/v1/{noun}"), &body).await.expect(201);
    }
    house
}

/// Runs schemathesis over the operations that the arguments choose; panics with what it found.
async fn try_out(house: &Gatehouse, chosen: &[String]) {
    let examples = if std::env::var_os("GATEHOUSE_LONG").is_some() { "200" } else { "10" };
    let mut command = Command::new(python().with_file_name("st"));
    command.arg("--config-file").arg(repository().join("tests/fixtures/schemathesis.toml")).arg("run");
    command.arg(format!("{}/openapi.json", house.control())).args(["--url", house.control()]);
    command.arg("-H").arg(format!("Authorization: Bearer {}", house.admin_key()));
    command.args(["--seed", "1", "--max-examples", examples, "--phases", "examples,coverage,fuzzing,stateful"]);
    // It writes its cache where it runs.
    command.args(chosen).current_dir(house.dir()).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.expect("schemathesis starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let summary = said.rsplit(" SUMMARY ").next().unwrap_or_default();
    assert!(summary.contains("generated"), "schemathesis tried nothing:\n{said}");
    println!("{summary}");
}

#[tokio::test]
async fn rest_keeps_what_its_document_promises() {
    if skipped("python") {
        return;
    }
    let upstream = Upstream::named("notes").await;
    let house = furnished(&upstream).await;
    let with = |option: &str| ENDING.iter().flat_map(|id| [option.to_owned(), (*id).to_owned()]).collect::<Vec<_>>();
    try_out(&house, &with("--exclude-operation-id")).await;
    house.admin().get("/api/v1/me").await.expect(200);
    try_out(&house, &with("--include-operation-id")).await;
    patient("control still answers", async {
        assert!(Gatehouse::answers(house.control(), "/readyz").await);
    })
    .await;
}

#[tokio::test]
async fn the_page_of_the_document_needs_nothing_from_elsewhere() {
    let house = Gatehouse::start().await;
    let page = house.admin().get("/docs").await.expect(200);
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    let text = page.text();
    let linked: Vec<&str> = text.split(['"', '\'']).filter(|part| part.starts_with("docs/")).collect();
    assert!(linked.len() >= 4 && !text.contains("http"), "{text}");
    for file in linked {
        let answer = house.admin().get(&format!("/{file}")).await.expect(200);
        assert!(!answer.body.is_empty(), "{file}");
    }
}
