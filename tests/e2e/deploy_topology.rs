//! The services of `deploy/compose.yaml`, started as plain processes with the environment that stands there.

use serde_json::json;
use tests::compose::Topology;
use tests::{Admin, Mcp, Upstream, eventually};

#[tokio::test]
async fn what_is_added_through_one_control_is_called_through_the_proxies_of_all() {
    let Some(mut topology) = Topology::start().await else { return };
    let notes = Upstream::named("notes").await;
    let admin = |url: String, topology: &Topology| Admin::new(&url, topology.admin_key());
    let (first, second) = (topology.url("control-1", 5010), topology.url("control-2", 5010));
    let (first, second) = (admin(first, &topology), admin(second, &topology));
    first.add("notes", &notes.url()).await;

    assert_eq!(second.server("notes").await.expect(200).json()["name"], "notes");
    for proxy in ["proxy-1", "proxy-2"] {
        let url = topology.url(proxy, 5011);
        let mcp = eventually(&format!("{proxy} offers the tool"), || async {
            let mcp = Mcp::open(&format!("{url}/mcp"), topology.client_key()).await;
            mcp.tools().await.contains(&"notes__echo".to_owned()).then_some(mcp)
        })
        .await;
        let text = format!("through {proxy}");
        assert_eq!(mcp.text("notes__echo", json!({"text": text})).await, format!("notes: {text}"));
    }

    // Jobs run at every start: they change nothing the second time.
    assert!(topology.again("init").await.contains("its keys stay as they are"));
    topology.again("node-certificate").await;

    // One control less, and back again: nobody notices but those who ask it.
    assert_eq!(topology.stop("control-1").await.code(), Some(0));
    let mcp = Mcp::open(&format!("{}/mcp", topology.url("proxy-2", 5011)), topology.client_key()).await;
    assert_eq!(mcp.text("notes__echo", json!({"text": "alone"})).await, "notes: alone");
    second.server("notes").await.expect(200);
    topology.start_again("control-1").await;
    first.server("notes").await.expect(200);
    for service in ["proxy-1", "proxy-2", "control-1", "control-2"] {
        assert_eq!(topology.stop(service).await.code(), Some(0), "{service} drains");
    }
}
