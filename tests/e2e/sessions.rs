//! Sessions: whose they are, how they end, and what they outlive.

use serde_json::json;
use tests::gatehouse::Plane;
use tests::{Gatehouse, Mcp};

use crate::ways::mounted;

#[tokio::test]
async fn a_session_ends_with_delete_and_belongs_to_its_principal() {
    let house = Gatehouse::start().await;
    let _notes = mounted(&house.admin(), "notes").await;
    let other = house.admin().key("client").await;
    let list = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list"});
    for path in ["/mcp", "/servers/notes/mcp"] {
        let mcp = Mcp::open(&house.at(path), house.client_key()).await;
        assert!(!mcp.session().is_empty());
        assert!(mcp.session().bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
        assert_eq!(mcp.post(&list).await.unwrap().status, 200);

        let thief = mcp.stolen_by(&other);
        assert_eq!(thief.post(&list).await.unwrap().status, 404);
        assert_eq!(thief.delete().await.status, 404);
        assert_eq!(thief.try_listen().await.err(), Some(404));
        assert_eq!(mcp.post(&list).await.unwrap().status, 200, "the owner's session is unharmed");

        let gone = mcp.delete().await;
        assert!([200, 202, 204].contains(&gone.status.as_u16()), "{}", gone.status);
        assert_eq!(mcp.post(&list).await.unwrap().status, 404, "{path}");
        assert_eq!(mcp.try_listen().await.err(), Some(404));
    }
}

#[tokio::test]
async fn a_second_get_stream_on_one_session_is_refused() {
    let house = Gatehouse::start().await;
    let mcp = house.mcp().await;
    let first = mcp.listen().await;
    assert_eq!(mcp.try_listen().await.err(), Some(409));
    drop(first);
    let again = tests::eventually("the place is free again", || async { mcp.try_listen().await.ok() }).await;
    drop(again);
}

#[tokio::test]
async fn a_session_of_one_url_is_unknown_at_another() {
    let house = Gatehouse::start().await;
    let _notes = mounted(&house.admin(), "notes").await;
    let _other = mounted(&house.admin(), "other").await;
    let mcp = house.mcp_of("notes").await;
    let headers = [("mcp-session-id", mcp.session())];
    for path in ["/mcp", "/servers/other/mcp"] {
        let bearer = format!("Bearer {}", house.client_key());
        let mut all = tests::mcp::POST.to_vec();
        all.extend_from_slice(&headers);
        all.push(("authorization", &bearer));
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string();
        let answer = tests::Http::default().send("POST", &house.at(path), &all, body).await.unwrap();
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_session_outlives_the_proxy_with_and_without_control() {
    let mut house = Gatehouse::plan().no_restart().start().await;
    let upstream = mounted(&house.admin(), "notes").await;
    let aggregate = house.mcp().await;
    let single = house.mcp_of("notes").await;
    let both = async |text: &str| {
        assert_eq!(
            aggregate.text("notes__echo", json!({"text": format!("{text} a")})).await,
            format!("notes: {text} a")
        );
        assert_eq!(single.text("echo", json!({"text": format!("{text} s")})).await, format!("notes: {text} s"));
    };
    both("before").await;
    house.kill(Plane::Proxy).await;
    let pid = house.start_alone(Plane::Proxy, &[]);
    house.wait_ready(Plane::Proxy).await;
    // Its table may be from a moment before the server came; control brings what is missing.
    let listed = async || aggregate.tools().await.contains(&"notes__echo".to_owned()).then_some(());
    tests::eventually("the server is there again", listed).await;
    both("restarted").await;
    // The table is written a moment after it was applied; what is killed before that starts empty.
    let table = house.dir().join("proxy");
    tests::eventually("the last good table is written", || async {
        let names = std::fs::read_dir(&table).ok()?.flatten().map(|entry| entry.file_name());
        names.into_iter().any(|name| name.to_string_lossy().starts_with("table")).then_some(())
    })
    .await;
    house.kill(Plane::Control).await;
    tests::process::kill_now(pid);
    tests::process::gone(pid).await;
    house.start_alone(Plane::Proxy, &[]);
    house.wait_ready(Plane::Proxy).await;
    both("alone").await;
    assert!(upstream.repeated().is_empty());
}

#[tokio::test]
async fn every_session_era_revision_is_spoken_and_none_of_the_next() {
    let house = Gatehouse::start().await;
    let _notes = mounted(&house.admin(), "notes").await;
    for path in ["/mcp", "/servers/notes/mcp"] {
        for revision in ["2025-03-26", "2025-06-18", "2025-11-25"] {
            let mcp = Mcp::open_as(&house.at(path), house.client_key(), revision).await;
            assert_eq!(mcp.revision(), revision);
            assert!(!mcp.tools().await.is_empty());
        }
        // A newer one is answered with the newest of the session era.
        for asked in ["2026-07-28", "2999-01-01"] {
            let mcp = Mcp::open_as(&house.at(path), house.client_key(), asked).await;
            assert_eq!(mcp.revision(), "2025-11-25", "asked for {asked}");
        }
    }
}
