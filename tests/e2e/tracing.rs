//! A trace crosses client, proxy and upstream, and a collector that is away costs nobody anything.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tests::collector::{Collector, SeenSpan};
use tests::gatehouse::Plane;
use tests::mcp::POST;
use tests::{Answer, Gatehouse, Http, Mcp, Upstream, eventually};

use crate::ways::{mounted, nowhere};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const SERVER: i32 = 2;
const CLIENT: i32 = 3;

/// A house whose spans and metrics reach `collector` quickly.
async fn watched(collector: &Collector, more: &[(&str, &str)]) -> Gatehouse {
    let mut plan = Gatehouse::plan()
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .env("OTEL_METRIC_EXPORT_INTERVAL", "250");
    for (name, value) in more {
        plan = plan.env(name, value);
    }
    plan.start().await
}

/// Posts a call in a session, under a trace.
async fn call_under(house: &Gatehouse, mcp: &Mcp, path: &str, parent: &str, tool: &str) -> Answer {
    let bearer = format!("Bearer {}", house.client_key());
    let mut headers = POST.to_vec();
    headers.extend([
        ("authorization", bearer.as_str()),
        ("mcp-session-id", mcp.session()),
        ("mcp-protocol-version", mcp.revision()),
        ("traceparent", parent),
        ("tracestate", "vendor=7"),
    ]);
    let message = json!({"jsonrpc": "2.0", "id": 99, "method": "tools/call",
        "params": {"name": tool, "arguments": {"text": "sesame"}}});
    Http::default().send("POST", &house.at(path), &headers, message.to_string()).await.unwrap()
}

/// The values of `traceparent` that an upstream was sent.
fn handed_on(upstream: &Upstream) -> BTreeSet<String> {
    let headers = upstream.headers();
    let values = headers.iter().filter_map(|headers| headers.get("traceparent")?.to_str().ok());
    values.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_trace_of_one_call_crosses_client_proxy_and_upstream() {
    let collector = Collector::start().await;
    let house = watched(&collector, &[("OTEL_EXPORTER_OTLP_HEADERS", "x-token=open%20sesame")]).await;
    let upstream = mounted(&house.admin(), "notes").await;
    let mcp = house.mcp_of("notes").await;
    call_under(&house, &mcp, "/servers/notes/mcp", PARENT, "echo").await.expect(200);

    let here = |span: &SeenSpan| span.trace == TRACE && span.kind == SERVER;
    let server = collector.span("the call's span arrives", here).await;
    assert_eq!((server.service.as_str(), server.name.as_str()), ("gatehouse-proxy", "tools/call echo"));
    assert_eq!(server.parent, "00f067aa0ba902b7");
    for (key, value) in [
        ("mcp.method.name", "tools/call"),
        ("gen_ai.tool.name", "echo"),
        ("gen_ai.operation.name", "execute_tool"),
        ("jsonrpc.request.id", "99"),
        ("gatehouse.tenant", "default"),
        ("gatehouse.server", "notes"),
        ("http.response.status_code", "200"),
    ] {
        assert_eq!(server.attributes.get(key).map(String::as_str), Some(value), "{key} of {server:?}");
    }
    assert!(!server.failed);
    let below = |span: &SeenSpan| span.trace == TRACE && span.kind == CLIENT;
    let client = collector.span("the span of the request to the upstream arrives", below).await;
    assert_eq!(client.parent, server.id);
    let expected = format!("00-{TRACE}-{}-01", client.id);
    assert!(handed_on(&upstream).contains(&expected), "{:?}", handed_on(&upstream));
    let with_state = upstream.headers().iter().filter(|headers| headers.contains_key("tracestate")).count();
    assert_eq!(with_state, 1, "the client's state goes on with its call");

    let rest = |span: &SeenSpan| span.service == "gatehouse-control" && span.name == "POST /api/v1/servers";
    collector.span("the span of the add arrives", rest).await;
    let passes = |span: &SeenSpan| span.service == "gatehouse-control" && span.name == "reconcile";
    collector.span("the span of a pass arrives", passes).await;
    assert_eq!(collector.header("x-token"), BTreeSet::from(["open sesame".to_owned()]));
    assert!(!format!("{:?}", collector.spans()).contains("sesame"), "an argument or a secret stands in a span");
}

#[tokio::test]
async fn an_error_of_the_gateway_names_the_trace() {
    let collector = Collector::start().await;
    let house = watched(&collector, &[]).await;
    let body = json!({"name": "gone", "url": nowhere(), "skip_validation": true});
    house.admin().post("/api/v1/servers", &body).await.expect(201);
    let upstream = mounted(&house.admin(), "notes").await;
    let mcp = house.mcp_of("notes").await;
    upstream.end();
    let answer = eventually("the upstream is missed", || async {
        let answer = call_under(&house, &mcp, "/servers/notes/mcp", PARENT, "echo").await.json();
        answer["error"].is_object().then_some(answer)
    })
    .await;
    assert_eq!(answer["error"]["data"]["trace_id"], TRACE, "{answer}");
    let failed = |span: &SeenSpan| span.trace == TRACE && span.kind == SERVER && span.failed;
    let span = collector.span("the failed call's span arrives", failed).await;
    assert_eq!(span.attributes["error.type"], answer["error"]["data"]["reason"].as_str().unwrap());
}

#[tokio::test]
async fn a_collector_behind_tls_is_known_by_its_ca() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let collector = Collector::start_with_tls(&made.cert.pem(), &made.signing_key.serialize_pem()).await;
    let _house = watched(&collector, &[("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.to_str().unwrap())]).await;
    for service in ["gatehouse-control", "gatehouse-proxy"] {
        eventually(&format!("the metrics of {service} arrive"), || async {
            (!collector.metrics(service).is_empty()).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn the_log_of_a_pass_names_its_trace() {
    let collector = Collector::start().await;
    let house = watched(&collector, &[("GATEHOUSE_LOG", "info,control=debug")]).await;
    let _notes = mounted(&house.admin(), "notes").await;
    eventually("a line of a pass has the trace of a pass", || async {
        let log = std::fs::read_to_string(house.dir().join("up.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("mounts are as intended")).collect();
        let passes = collector.spans().into_iter().filter(|span| span.name == "reconcile");
        passes.map(|span| span.trace).any(|trace| lines.iter().any(|line| line.contains(&trace))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn pushes_and_commands_have_spans_and_a_command_goes_on_in_the_proxy() {
    let collector = Collector::start().await;
    let house = watched(&collector, &[]).await;
    let upstream = mounted(&house.admin(), "notes").await;
    let pushed = |span: &SeenSpan| span.name == "push" && span.attributes.contains_key("gatehouse.snapshot");
    let push = collector.span("the span of a push arrives", pushed).await;
    assert_eq!((push.service.as_str(), push.failed), ("gatehouse-control", false));
    assert!(push.attributes["gatehouse.node"].starts_with("default/"), "{push:?}");

    let call = json!({"tool": "echo", "arguments": {"text": "sesame"}});
    house.admin().post("/api/v1/servers/notes/call", &call).await.expect(200);
    let named = |name: &str| {
        let name = name.to_owned();
        move |span: &SeenSpan| span.name == name
    };
    let rest = collector.span("the span of REST arrives", named("POST /api/v1/servers/{server}/call")).await;
    let of_call = |span: &SeenSpan| span.name == "command call" && span.trace == rest.trace;
    let asked = collector.span("control's span arrives", |span| of_call(span) && span.kind == CLIENT).await;
    let done = collector.span("the proxy's span arrives", |span| of_call(span) && span.kind == SERVER).await;
    assert_eq!((asked.service.as_str(), done.service.as_str()), ("gatehouse-control", "gatehouse-proxy"));
    assert_eq!((&asked.parent, &done.parent), (&rest.id, &asked.id));
    let below = |span: &SeenSpan| span.parent == done.id && span.kind == CLIENT;
    let sent = collector.span("the span of the request to the upstream arrives", below).await;
    let expected = format!("00-{}-{}-01", rest.trace, sent.id);
    assert!(handed_on(&upstream).contains(&expected), "{:?}", handed_on(&upstream));
    assert!(!format!("{:?}", collector.spans()).contains("sesame"), "an argument stands in a span");
}

#[tokio::test]
async fn both_processes_send_the_metrics_that_they_show() {
    let collector = Collector::start().await;
    let house = watched(&collector, &[("OTEL_TRACES_EXPORTER", "none")]).await;
    let listeners = tests::prometheus::Listeners::of(&house);
    for (service, listener) in [("gatehouse-proxy", &listeners.proxy), ("gatehouse-control", &listeners.control)] {
        eventually(&format!("the metrics of {service} arrive"), || async {
            let shown: BTreeSet<String> = tests::prometheus::exposed(listener).await.into_keys().collect();
            (shown.len() > 10 && shown == collector.metrics(service)).then_some(())
        })
        .await;
    }
    assert!(collector.spans().is_empty(), "spans were switched off");
}

#[tokio::test]
async fn a_trace_that_is_not_sampled_leaves_nothing_but_its_id() {
    let collector = Collector::start().await;
    let house = watched(&collector, &[("OTEL_TRACES_SAMPLER", "parentbased_always_on")]).await;
    let upstream = mounted(&house.admin(), "notes").await;
    let mcp = house.mcp_of("notes").await;
    let unsampled = PARENT.replace("-01", "-00");
    call_under(&house, &mcp, "/servers/notes/mcp", &unsampled, "echo").await.expect(200);
    assert!(handed_on(&upstream).contains(&unsampled), "{:?}", handed_on(&upstream));
    let later = PARENT.replace(TRACE, "0af7651916cd43dd8448eb211c80319c");
    call_under(&house, &mcp, "/servers/notes/mcp", &later, "echo").await.expect(200);
    collector.span("a later call's span arrives", |span| span.trace == later[3..35]).await;
    assert!(collector.spans().iter().all(|span| span.trace != TRACE));
}

#[tokio::test]
async fn a_collector_that_is_away_or_named_wrongly_costs_nobody_a_call() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", nowhere()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "sesame".to_owned()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/sesame".to_owned()),
    ] {
        let plan = Gatehouse::plan().env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
        let mut house = plan.env(name, &value).env("OTEL_BSP_MAX_QUEUE_SIZE", "4").start().await;
        let _notes = mounted(&house.admin(), "notes").await;
        let mcp = house.mcp_of("notes").await;
        for at in 0..20 {
            assert_eq!(mcp.text("echo", json!({"text": at.to_string()})).await, format!("notes: {at}"));
        }
        house.wait_ready(Plane::Proxy).await;
        assert_eq!(house.end().await, Some(0));
        let log = std::fs::read_to_string(house.dir().join("up.log")).unwrap_or_default();
        assert!(value.starts_with("http://") || log.contains(name), "nothing was said of {name}:\n{log}");
        assert!(!log.contains("sesame"), "{log}");
    }
}

#[tokio::test]
async fn what_was_recorded_is_sent_before_the_process_ends() {
    let collector = Collector::start().await;
    let plan = Gatehouse::plan().env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint());
    let mut house = plan.env("OTEL_BSP_SCHEDULE_DELAY", "600000").start().await;
    let _notes = mounted(&house.admin(), "notes").await;
    let mcp = house.mcp_of("notes").await;
    mcp.text("echo", json!({"text": "last words"})).await;
    assert_eq!(house.end().await, Some(0));
    let names: BTreeSet<String> = collector.spans().into_iter().map(|span| span.name).collect();
    assert!(names.contains("tools/call echo") && names.contains("POST /api/v1/servers"), "{names:?}");
    let metrics: Value = json!(collector.metrics("gatehouse-proxy"));
    assert!(metrics.as_array().is_some_and(|names| names.len() > 10), "{metrics}");
}
