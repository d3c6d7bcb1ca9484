//! Processes killed under load, and changes under load: no call of anybody else fails.

use serde_json::json;
use tests::gatehouse::Plane;
use tests::load::Load;
use tests::{Gatehouse, Mcp, Upstream, process};

use crate::ways::Town;

/// What one phase of a load has to verify at least.
const CALLS: u64 = 5_000;

async fn finish(load: Load, town: &Town) {
    let rate = load.rate();
    let (verified, failures) = load.finish().await;
    println!("{verified} verified at {rate:.0}/s, {} failed", failures.len());
    assert!(failures.is_empty(), "{} failed, the first: {:?}", failures.len(), &failures[..failures.len().min(3)]);
    assert!(verified >= CALLS, "only {verified}");
    assert!(town.repeated().is_empty(), "sent twice: {:?}", town.repeated());
}

/// Every server of the town, called once.
async fn every_mount_serves(town: &Town, when: &str) {
    for target in &town.targets {
        let mcp = tests::eventually(&format!("{} serves {when}", target.url), || async {
            Mcp::try_open(&target.url, &target.key, tests::mcp::REVISION).await.ok()
        })
        .await;
        let said = mcp.text(&target.tool, json!({"text": when})).await;
        assert_eq!(said, format!("{}: {when}", target.says));
    }
}

#[tokio::test]
async fn planes_may_be_killed_and_every_mount_comes_back() {
    let mut house = Gatehouse::plan().no_restart().start().await;
    let town = Town::build(&house, 4, 5).await;

    let load = Load::start(town.targets.clone(), town.pace()).await;
    load.more(500).await;
    house.kill(Plane::Control).await;
    load.more(CALLS).await;
    finish(load, &town).await;

    // Control is still down: the proxy lives from its last good table.
    house.kill(Plane::Proxy).await;
    house.start_alone(Plane::Proxy, &[]);
    house.wait_ready(Plane::Proxy).await;
    every_mount_serves(&town, "without control").await;

    house.kill_all().await;
    let house = house.again().start().await;
    every_mount_serves(&town, "after both were killed").await;
    for admin in &town.admins {
        let items = Admin { house: &house, of: admin }.servers().await;
        assert_eq!(items, 5);
    }
    house.wait_ready(Plane::Control).await;
}

/// A tenant's admin after control came back, at the same address.
struct Admin<'a> {
    house: &'a Gatehouse,
    of: &'a tests::Admin,
}

impl Admin<'_> {
    async fn servers(&self) -> usize {
        assert!(Gatehouse::answers(self.house.control(), "/livez").await);
        let list = self.of.get("/api/v1/servers").await.expect(200).json();
        list["items"].as_array().unwrap().len()
    }
}

#[tokio::test]
async fn a_dead_plane_is_started_again_and_the_other_is_not_touched() {
    let house = Gatehouse::start().await;
    let _upstream = crate::ways::mounted(&house.admin(), "steady").await;
    let mcp = house.mcp().await;
    let (control, proxy) = (house.pid(Plane::Control), house.pid(Plane::Proxy));
    house.kill(Plane::Control).await;
    assert_eq!(mcp.text("steady__echo", json!({"text": "1"})).await, "steady: 1");
    house.wait_ready(Plane::Control).await;
    assert!(process::runs(proxy));
    assert!(!process::runs(control));
    house.kill(Plane::Proxy).await;
    house.wait_ready(Plane::Proxy).await;
    // The session id is sealed, so it outlives the proxy that made it.
    assert_eq!(mcp.text("steady__echo", json!({"text": "2"})).await, "steady: 2");
}

#[tokio::test]
async fn a_call_that_a_killed_proxy_cut_off_is_not_made_twice() {
    let house = Gatehouse::start().await;
    let upstream = crate::ways::mounted(&house.admin(), "desk").await;
    let mcp = house.mcp().await;
    let call = mcp.try_request("tools/call", json!({"name": "desk__slow", "arguments": {"text": "cut"}}));
    let kill = async {
        tests::eventually("the call arrived", || async { (upstream.calls("cut") == 1).then_some(()) }).await;
        house.kill(Plane::Proxy).await;
        upstream.open_gate();
    };
    let (answer, ()) = tests::patient("the client notices", async { tokio::join!(call, kill) }).await;
    assert!(answer.is_err(), "{answer:?}");
    house.wait_ready(Plane::Proxy).await;
    assert_eq!(mcp.text("desk__slow", json!({"text": "next"})).await, "desk: next");
    assert_eq!(upstream.calls("cut"), 1);
}

#[tokio::test]
async fn changes_of_other_servers_fail_no_call() {
    let rounds = if std::env::var("GATEHOUSE_LONG").is_ok() { 1_000 } else { 200 };
    let house = Gatehouse::start().await;
    let town = Town::build(&house, 4, 5).await;
    let other = Upstream::named("other").await;
    let load = Load::start(town.targets.clone(), town.pace()).await;
    load.more(200).await;
    // One change per round, in turns: add, update, remove.
    for round in 0..rounds {
        let admin = &town.admins[round / 3 % town.admins.len()];
        let name = format!("other{}", round / 3);
        match round % 3 {
            0 => drop(admin.add(&name, &other.url()).await),
            1 => drop(admin.patch(&name, &json!({"title": format!("changed {round}")})).await.expect(200)),
            _ => drop(admin.remove(&name).await.expect(200)),
        }
    }
    load.more(CALLS.saturating_sub(load.verified()).max(200)).await;
    finish(load, &town).await;
}
