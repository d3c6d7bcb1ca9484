//! The plain client for addresses that an operator configured.

use std::time::Duration;

use bytes::Bytes;
use egress::EgressError;
use egress::operator::Client;
use http::{Method, Response};
use http_body_util::{BodyExt, Full};
use tokio::sync::mpsc;
use url::Url;

use crate::server::Server;

fn client(base: &str) -> Client {
    Client::new(Url::parse(base).unwrap()).unwrap()
}

#[tokio::test]
async fn a_request_carries_path_headers_and_body_and_brings_all_of_the_answer() {
    let server = Server::answering(|request| async move {
        let (head, body) = request.into_parts();
        let said = format!("{} {} {:?} ", head.method, head.uri, head.headers["x-key"]);
        let body = [Bytes::from(said), body.collect().await.unwrap().to_bytes()].concat();
        Response::builder().status(201).header("etag", "\"3\"").body(Full::new(body.into())).unwrap()
    })
    .await;
    for (base, path, seen) in [("", "/api/v1/servers?limit=2", "/api/v1/servers?limit=2"), ("/base/", "/x", "/base/x")]
    {
        let client = client(&server.url(base));
        let sent = Some(Bytes::from_static(b"{}"));
        let (status, headers, body) = client.request(Method::POST, path, &[("x-key", "k")], sent).await.unwrap();
        assert_eq!((status.as_u16(), &headers["etag"]), (201, &"\"3\"".parse().unwrap()));
        assert_eq!(body, format!("POST {seen} \"k\" {{}}"));
    }
}

#[tokio::test]
async fn the_loopback_name_is_resolved() {
    let server = Server::echo().await;
    let client = client(&format!("http://localhost:{}", server.addr.port()));
    let answer = client.request(Method::GET, "/", &[], None).await.unwrap();
    assert_eq!((answer.0.as_u16(), answer.2), (200, Bytes::new()));
}

#[tokio::test]
async fn an_answer_larger_than_16_mib_is_refused() {
    let server =
        Server::answering(|_| async { Response::new(Full::new(vec![b'x'; 16 * 1024 * 1024 + 1].into())) }).await;
    let error = client(&server.url("/")).request(Method::GET, "/", &[], None).await.unwrap_err();
    assert!(matches!(error, EgressError::TooLarge), "{error:?}");
}

#[tokio::test]
async fn a_server_that_says_nothing_times_out() {
    let (chunks, drip) = mpsc::unbounded_channel();
    let server = Server::dripping(drip).await;
    let client = client(&server.url("/")).within(Duration::from_millis(50));
    let error = client.request(Method::GET, "/", &[], None).await.unwrap_err();
    assert!(matches!(error, EgressError::FirstByteTimeout), "{error:?}");
    drop(chunks);
}

#[tokio::test]
async fn a_header_or_path_that_is_none_is_refused_before_anything_is_sent() {
    let server = Server::echo().await;
    let client = client(&server.url("/"));
    for (path, header) in [("/a b", ("x", "y")), ("/", ("x", "a\r\nb: c")), ("/", ("a b", "c"))] {
        let error = client.request(Method::GET, path, &[header], None).await.unwrap_err();
        assert!(matches!(error, EgressError::Target), "{error:?}");
    }
    assert_eq!(server.connections(), 0);
    assert!(Client::new(Url::parse("ftp://127.0.0.1/").unwrap()).is_err());
}
