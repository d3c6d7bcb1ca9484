//! Each named place where a multi-step change can be cut: nothing half done, healed without a call.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tests::gatehouse::Plane;
use tests::{Gatehouse, Mcp, Upstream, eventually, process};

use crate::ways::mounted;
use crate::{connections, refresh, vault};

/// What is asked for while the point is armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    Add,
    Change,
    Delete,
    Recover,
}

/// The point, the process that dies there, what leads to it, and whether the change was committed.
const CONTROL: &[(&str, Trigger, bool)] = &[
    ("add.probed", Trigger::Add, false),
    ("add.committed", Trigger::Add, true),
    ("change.committed", Trigger::Change, true),
    ("delete.committed", Trigger::Delete, true),
    ("push.sent", Trigger::Add, true),
    ("recover.planned", Trigger::Recover, true),
    ("recover.pushed", Trigger::Recover, true),
];

const PROXY: &[(&str, Trigger, bool)] = &[
    ("apply.staged", Trigger::Add, true),
    ("apply.swapped", Trigger::Change, true),
    ("lkg.written", Trigger::Delete, true),
    ("lkg.renamed", Trigger::Add, true),
];

#[test]
fn every_crash_point_is_tried() {
    let tried: BTreeSet<&str> = CONTROL.iter().chain(PROXY).map(|(point, _, _)| *point).collect();
    let named: BTreeSet<&str> = model::CRASH_POINTS.iter().map(|(point, _)| *point).collect();
    // What belongs to credentials and keys is tried beside their own tests.
    let elsewhere = connections::POINTS.iter().map(|(point, ..)| point).chain(&refresh::POINTS).chain(&vault::POINTS);
    let tried: BTreeSet<&str> = tried.into_iter().chain(elsewhere.copied()).collect();
    assert_eq!(tried, named);
}

#[tokio::test]
async fn a_control_that_dies_at_any_point_leaves_nothing_half_done() {
    cut(Plane::Control, CONTROL).await;
}

#[tokio::test]
async fn a_proxy_that_dies_at_any_point_leaves_nothing_half_done() {
    cut(Plane::Proxy, PROXY).await;
}

async fn cut(plane: Plane, points: &[(&str, Trigger, bool)]) {
    let mut house = Gatehouse::plan().no_restart().start().await;
    let _steady = mounted(&house.admin(), "steady").await;
    house.kill(plane).await;
    for (point, trigger, committed) in points {
        println!("{point}");
        let name = point.replace('.', "-");
        let (first, second) = (Upstream::named("first").await, Upstream::named("second").await);

        // What the change starts from, made while nothing is armed.
        let calm = house.start_alone(plane, &[]);
        house.wait_ready(Plane::Control).await;
        house.wait_ready(Plane::Proxy).await;
        let admin = house.admin();
        until_attached(&house).await;
        if *trigger != Trigger::Add {
            admin.add(&name, &first.url()).await;
            until_served(&house, &name, Some("first")).await;
        }
        process::kill_now(calm);
        process::gone(calm).await;

        let armed = house.start_alone(plane, &[("GATEHOUSE_CRASH_AT".to_owned(), (*point).to_owned())]);
        let path = format!("/api/v1/servers/{name}");
        eventually(&format!("{point} is reached"), || async {
            // A process that comes up again may not be attached yet: the change is asked for until it counts.
            let none: &[(&str, &str)] = &[];
            let _ = match trigger {
                Trigger::Add => {
                    let body = json!({"name": name, "url": first.url()});
                    admin.try_send("POST", "/api/v1/servers", none, &body).await
                }
                Trigger::Change => {
                    let body = json!({"url": second.url()});
                    admin.try_send("PATCH", &path, &[("if-match", "\"1\"")], &body).await
                }
                Trigger::Delete => admin.try_send("DELETE", &path, &[("if-match", "\"1\"")], &Value::Null).await,
                Trigger::Recover => {
                    orphan(&house, &name, &second).await;
                    admin.try_send("POST", "/api/v1/recover?prune=true", none, &Value::Null).await
                }
            };
            (!process::runs(armed)).then_some(())
        })
        .await;

        // Nobody asks for anything again: it heals by itself.
        let calm = house.start_alone(plane, &[]);
        house.wait_ready(Plane::Control).await;
        house.wait_ready(Plane::Proxy).await;
        // The record is the truth: what it says is served, and nothing else.
        let record = house.admin().server(&name).await;
        let wanted = match record.status.as_u16() {
            404 => None,
            _ if record.json()["url"] == second.url().as_str() => Some("second"),
            _ => Some("first"),
        };
        if plane == Plane::Control {
            let promised = match (trigger, committed) {
                (Trigger::Add, false) | (Trigger::Delete, true) => None,
                (Trigger::Change, true) => Some("second"),
                _ => Some("first"),
            };
            assert_eq!(wanted, promised, "{point}");
        }
        until_served(&house, &name, wanted).await;
        until_served(&house, "steady", Some("steady")).await;
        assert!(first.repeated().is_empty() && second.repeated().is_empty());
        process::kill_now(calm);
        process::gone(calm).await;
    }
}

/// Something for recover to do.
async fn orphan(house: &Gatehouse, name: &str, upstream: &Upstream) {
    let bearer = format!("Bearer {}", house.admin_key());
    let body =
        json!({"service_name": format!("orphan {name}"), "mcp_url": upstream.url(), "transport": "streamable-http"});
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let _ = tests::Http::default().send("POST", &house.at("/add-remote-proxies"), &headers, body.to_string()).await;
}

/// Waits until control sees a proxy.
async fn until_attached(house: &Gatehouse) {
    let admin = house.admin();
    eventually("a proxy is attached", || async {
        let list = admin.get("/api/v1/proxies").await;
        let attached = list.status == 200 && list.json()["items"].as_array().is_some_and(|all| !all.is_empty());
        attached.then_some(())
    })
    .await;
}

/// Waits until calls of the server's `echo` are answered by this upstream, or the server is absent.
async fn until_served(house: &Gatehouse, server: &str, by: Option<&str>) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    eventually(&format!("{server} is served by {by:?}"), || async {
        let mcp = Mcp::try_open(&house.at("/mcp"), house.client_key(), tests::mcp::REVISION).await.ok()?;
        let tool = format!("{server}__echo");
        let offered = mcp.tools().await.contains(&tool);
        let Some(by) = by else { return (!offered).then_some(()) };
        let text = format!("{server} {}", COUNT.fetch_add(1, Ordering::Relaxed));
        let answer = mcp.call(&tool, json!({"text": text})).await;
        (offered && answer["result"]["content"][0]["text"] == format!("{by}: {text}").as_str()).then_some(())
    })
    .await;
}
