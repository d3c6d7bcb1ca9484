//! Peers that are slow on purpose, with every timer of the product divided.

use serde_json::json;
use tests::{Gatehouse, Mcp, Upstream, process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::misbehaving::{PROMISES, is_promised};
use crate::ways::mounted;

#[tokio::test]
async fn an_answer_that_only_drips_is_cut() {
    let house = Gatehouse::plan().env("GATEHOUSE_TIME_SCALE", "20").start().await;
    let upstream = Upstream::named("drip").await;
    house.admin().add("drip", &upstream.url()).await;
    let (_, codes) = PROMISES.iter().find(|(word, _)| *word == "drip").unwrap();
    for (path, tool) in [("/mcp", "drip__bad"), ("/servers/drip/mcp", "bad")] {
        let mcp = Mcp::open(&house.at(path), house.client_key()).await;
        let params = json!({"name": tool, "arguments": {"how": "drip", "text": path}});
        let answer = tests::patient(path, mcp.try_request("tools/call", params)).await;
        is_promised("drip", codes, &answer.unwrap_or_else(|error| panic!("{path}: {error}")).1, "drip");
        assert_eq!(upstream.calls(path), 1);
    }
}

#[tokio::test]
async fn a_client_that_never_finishes_its_request_is_cut_and_harms_nobody() {
    let house = Gatehouse::plan().env("GATEHOUSE_TIME_SCALE", "20").start().await;
    let _desk = mounted(&house.admin(), "desk").await;
    let authority = house.proxy().replace("http://", "");
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {authority}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\ncontent-length: 100\r\n\r\n",
        house.client_key()
    );
    let internal = head.replace("/mcp", "/add-remote-proxies").replace(house.client_key(), house.admin_key());
    for unfinished in ["POST /mcp HTTP/1.1\r\nhost: ", &format!("{head}{{\"jsonrpc\""), &format!("{internal}{{")] {
        let mut open = Vec::new();
        for _ in 0..20 {
            let mut stream = connect(&authority).await;
            stream.write_all(unfinished.as_bytes()).await.unwrap();
            open.push(stream);
        }
        let mcp = house.mcp().await;
        assert_eq!(mcp.text("desk__echo", json!({"text": "meanwhile"})).await, "desk: meanwhile");
        for mut stream in open {
            let mut answer = Vec::new();
            // Closed by the proxy, with or without a 408 before.
            let _ = tests::patient("the proxy lets go", stream.read_to_end(&mut answer)).await;
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
        }
    }
    assert!(process::runs(house.pid(tests::gatehouse::Plane::Proxy)));
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut() {
    let house = Gatehouse::plan().env("GATEHOUSE_TIME_SCALE", "20").start().await;
    let mcp = Mcp::open(&house.at("/servers/gatehouse/mcp"), house.client_key()).await;
    let request = echo(&house, &mcp, house.client_key(), 900_000);
    let mut stream = connect(&house.proxy().replace("http://", "")).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    tests::patient("the first answer begins", stream.read_exact(&mut status)).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    tests::patient("the proxy lets go", async { while stream.write_all(request.as_bytes()).await.is_ok() {} }).await;
    assert!(mcp.request("ping", json!({})).await["result"].is_object());
}

#[tokio::test]
async fn a_body_on_its_way_counts_as_a_call() {
    let house = Gatehouse::start().await;
    let tenant = json!({"name": "narrow", "title": "narrow", "limits": {"concurrent": 1}});
    house.admin().post("/api/v1/tenants", &tenant).await.expect(201);
    let key = house.admin().in_tenant("narrow").key("client").await;
    let mcp = Mcp::open(&house.at("/servers/gatehouse/mcp"), &key).await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let request = echo(&house, &mcp, &key, 1_000).replace("accept:", "expect: 100-continue\r\naccept:");
    let (head, _) = request.split_once("{").unwrap();
    let mut stream = connect(&house.proxy().replace("http://", "")).await;
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut reads_on = [0; 25];
    tests::patient("the body is waited for", stream.read_exact(&mut reads_on)).await.unwrap();
    assert_eq!(&reads_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(mcp.post(&ping).await.unwrap().status, 429);
    drop(stream);
    let answered = async || (mcp.post(&ping).await.unwrap().status == 200).then_some(());
    tests::eventually("the place is free again", answered).await;
}

/// A whole request to the built-in service whose answer is as large as its message.
fn echo(house: &Gatehouse, mcp: &Mcp, key: &str, size: usize) -> String {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "echo", "arguments": {"message": "x".repeat(size)}}})
    .to_string();
    format!(
        "POST /servers/gatehouse/mcp HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {key}\r\nmcp-session-id: {}\r\n\
         content-type: application/json\r\naccept: application/json, text/event-stream\r\ncontent-length: {}\r\n\r\n{body}",
        house.proxy().replace("http://", ""),
        mcp.session(),
        body.len()
    )
}

#[tokio::test]
async fn requests_that_smuggle_are_refused_and_their_connection_closed() {
    let house = Gatehouse::start().await;
    let authority = house.proxy().replace("http://", "");
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {authority}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\n",
        house.client_key()
    );
    let second = format!("GET /livez HTTP/1.1\r\nhost: {authority}\r\n\r\n");
    // A lone LF as the end of a line can't be told from CRLF here: the parser takes both.
    for smuggled in [
        format!("content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{second}"),
        format!("transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n{second}"),
        format!("transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n{second}"),
        "content-length: 5\r\ncontent-length: 6\r\n\r\nhello!".to_owned(),
        "x-folded: a\r\n b\r\ncontent-length: 0\r\n\r\n".to_owned(),
        (0..120).map(|n| format!("x-{n}: 1\r\n")).collect::<String>() + "content-length: 0\r\n\r\n",
        format!("x-big: {}\r\ncontent-length: 0\r\n\r\n", "y".repeat(600_000)),
        "host: evil.example\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned(),
    ] {
        let mut stream = connect(&authority).await;
        let request = format!("{head}{smuggled}");
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = tests::patient("the proxy closes", stream.read_to_end(&mut answer)).await;
        let answer = String::from_utf8_lossy(&answer);
        let shown: String = smuggled.chars().take(60).collect();
        assert!(!answer.contains("HTTP/1.1 200") && !answer.contains("HTTP/1.1 401"), "{shown}: {answer}");
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{shown}: {answer}");
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{shown}: {answer}");
    }
}

#[expect(clippy::disallowed_methods, reason = "a test that sends what no client library would")]
async fn connect(authority: &str) -> TcpStream {
    TcpStream::connect(authority).await.unwrap()
}
