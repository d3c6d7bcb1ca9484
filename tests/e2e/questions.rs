//! What a real server asks back reaches the users of real clients, each their own.

use serde_json::Value;
use tests::packages::{Everything, run_node, run_python, script, skipped};
use tests::{Gatehouse, patient};

/// server-everything in both its modes, each a server of its own.
async fn everything(house: &Gatehouse) -> (Everything, Everything) {
    let (streamable, sse) = (Everything::streamable().await, Everything::sse().await);
    house.admin().add("everything", streamable.url()).await;
    house.admin().add("older", sse.url()).await;
    let mcp = house.mcp().await;
    crate::ways::until_offered(&mcp, "everything__echo", true).await;
    crate::ways::until_offered(&mcp, "older__echo", true).await;
    (streamable, sse)
}

/// Where clients are sent to, and the prefix of names there.
const PLACES: [(&str, &str); 3] =
    [("/mcp", "everything__"), ("/servers/everything/mcp", ""), ("/servers/older/mcp", "")];

fn was_asked(seen: &Value, name: &str) {
    let text = |what: &str| seen[what].as_str().unwrap_or_else(|| panic!("{seen}")).to_owned();
    assert!(text("elicited").contains(&format!("\"name\": \"{name}\"")), "{seen}");
    assert!(text("sampled").contains(&format!("{name} heard")), "{seen}");
    assert!(text("sampled").contains(&format!("prompt of {name}")), "{seen}");
    assert!(text("roots").contains(&format!("file:///{name}")), "{seen}");
}

#[tokio::test]
async fn the_typescript_client_is_asked_by_a_real_server() {
    if skipped("node") {
        return;
    }
    let house = Gatehouse::start().await;
    let _everything = everything(&house).await;
    for (path, prefix) in PLACES {
        let seen = run_node(&script("questions.mjs"), &[&house.at(path), house.client_key(), prefix, "ada"]).await;
        was_asked(&seen, "ada");
    }
}

#[tokio::test]
async fn the_python_client_is_asked_by_a_real_server() {
    if skipped("node") || skipped("python") {
        return;
    }
    let house = Gatehouse::start().await;
    let _everything = everything(&house).await;
    for (path, prefix) in PLACES {
        let seen = run_python("questions.py", &[&house.at(path), house.client_key(), prefix, "bob"]).await;
        was_asked(&seen, "bob");
    }
}

#[tokio::test]
async fn several_people_are_asked_at_once_each_what_is_meant_for_them() {
    if skipped("node") {
        return;
    }
    let house = Gatehouse::start().await;
    let _everything = everything(&house).await;
    let admin = house.admin();
    let people = ["ada", "bob", "cyd", "dan"].map(async |name| {
        let key = admin.key("client").await;
        let place = if name < "c" { PLACES[0] } else { PLACES[1] };
        let seen = run_node(&script("questions.mjs"), &[&house.at(place.0), &key, place.1, name]).await;
        was_asked(&seen, name);
    });
    patient("all are answered", futures::future::join_all(people)).await;
}
