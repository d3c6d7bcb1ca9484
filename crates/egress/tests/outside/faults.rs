//! Upstreams that misbehave: each has its error, and whether the request may have been seen.

use std::time::Duration;

use egress::{Egress, EgressError, Limits, Sent};
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use url::Url;

use crate::server::Server;
use crate::world::{dev, limits, post, tenant, text, upstream};

fn egress() -> Egress {
    Egress::new(dev()).unwrap()
}

#[tokio::test]
async fn a_truncated_body_is_an_error_and_never_an_end() {
    let server = Server::scripted(&[
        &["HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"],
        &["HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"],
        &["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"],
        &["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel"],
        &["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"],
        &["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"],
    ])
    .await;
    let upstream = upstream(&egress(), &server.url("/"));
    for turn in 1..=6 {
        let response = upstream.send(post("/", "x")).await.unwrap();
        let error = text(response).await.unwrap_err();
        assert!(matches!(error, EgressError::Truncated), "turn {turn}: {error:?}");
        assert_eq!((error.sent(), error.class(), upstream.idle()), (Sent::Maybe, "protocol", 0));
        assert_eq!(server.connections(), turn);
    }
}

#[tokio::test]
async fn chunks_that_make_no_sense_are_not_http() {
    let server = Server::scripted(&[
        &["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\nhello\r\n0\r\n\r\n"],
        &["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n"],
        &["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhelloXX"],
    ])
    .await;
    let upstream = upstream(&egress(), &server.url("/"));
    for turn in 1..=3 {
        let error = text(upstream.send(post("/", "x")).await.unwrap()).await.unwrap_err();
        assert!(matches!(error, EgressError::Http), "turn {turn}: {error:?}");
        assert_eq!(upstream.idle(), 0);
    }
}

#[tokio::test]
async fn garbage_instead_of_a_head_is_not_http() {
    let server = Server::scripted(&[
        &["SSH-2.0-OpenSSH_9.6\r\n"],
        &["HTTP/1.1 two hundred\r\n\r\n"],
        &["\0\u{1}\u{2}\u{3}garbage\r\n\r\n"],
        &["HTTP/1.1 200 OK\r\ncontent-length: ten\r\n\r\n"],
        &["HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"],
        &["HTTP/1.1 200 OK\r\nbad header\r\n\r\n"],
    ])
    .await;
    let upstream = upstream(&egress(), &server.url("/"));
    for turn in 1..=6 {
        let error = upstream.send(post("/", "x")).await.err().unwrap();
        assert!(matches!(error, EgressError::Http), "turn {turn}: {error:?}");
        assert_eq!((error.sent(), error.class()), (Sent::Maybe, "protocol"));
        assert_eq!(server.requests(), turn, "sent once and never again");
    }
}

#[tokio::test]
async fn an_endless_head_is_bounded() {
    let server = Server::start(|mut stream, _| async move {
        use tokio::io::AsyncWriteExt;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(b"x-more: and more and more and more and more\r\n").await.is_ok() {}
    })
    .await;
    let error = upstream(&egress(), &server.url("/")).send(post("/", "x")).await.err().unwrap();
    assert!(matches!(error, EgressError::Http), "{error:?}");
    server.closed(1).await;
}

#[tokio::test]
async fn a_connection_closed_after_the_request_may_have_been_acted_upon() {
    // The first request is answered; the second is read, and the connection closed without an answer.
    let server = Server::scripted(&[&["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", ""]]).await;
    let upstream = upstream(&egress(), &server.url("/"));
    text(upstream.send(post("/", "x")).await.unwrap()).await.unwrap();
    let error = upstream.send(post("/", "unsafe")).await.err().unwrap();
    assert!(matches!(error, EgressError::Closed(Sent::Maybe)), "{error:?}");
    assert_eq!((server.connections(), server.requests()), (1, 2), "sent once and never again");
}

#[tokio::test]
async fn a_head_cut_in_the_middle_may_have_been_acted_upon() {
    let server = Server::scripted(&[&["HTTP/1.1 200 OK\r\ncontent-le"]]).await;
    let error = upstream(&egress(), &server.url("/")).send(post("/", "x")).await.err().unwrap();
    assert!(matches!(error, EgressError::Closed(Sent::Maybe)), "{error:?}");
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn nobody_listening_is_a_refused_connection() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let upstream = upstream(&egress(), &format!("http://127.0.0.1:{port}/"));
    let error = upstream.send(post("/", "x")).await.err().unwrap();
    assert!(matches!(error, EgressError::Refused), "{error:?}");
    assert_eq!((error.sent(), error.class()), (Sent::No, "refused"));
}

#[tokio::test]
async fn an_upstream_that_says_nothing_times_out() {
    let (chunks, drip) = mpsc::unbounded_channel();
    let server = Server::dripping(drip).await;
    let url = Url::parse(&server.url("/")).unwrap();
    let short = Limits { first_byte: Duration::from_millis(50), ..limits() };
    let upstream = egress().upstream(tenant(), &url, short).unwrap();
    let error = upstream.send(post("/", "x")).await.err().unwrap();
    assert!(matches!(error, EgressError::FirstByteTimeout), "{error:?}");
    assert_eq!((error.sent(), error.class()), (Sent::Maybe, "timeout"));
    server.closed(1).await;
    drop(chunks);
}

#[tokio::test]
async fn the_limit_for_the_head_starts_anew_with_each_request_and_spares_the_body() {
    let (chunks, drip) = mpsc::unbounded_channel();
    let server = Server::dripping(drip).await;
    let url = Url::parse(&server.url("/")).unwrap();
    let short = Limits { first_byte: Duration::from_secs(5), ..limits() };
    let upstream = egress().upstream(tenant(), &url, short).unwrap();
    chunks.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n").unwrap();
    let response = upstream.send(post("/", "x")).await.unwrap();
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(60)).await;
    tokio::time::resume();
    chunks.send("slow").unwrap();
    assert_eq!(text(response).await.unwrap(), "slow", "a body may take its time");
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(3)).await;
    tokio::time::resume();
    chunks.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nagain").unwrap();
    assert_eq!(text(upstream.send(post("/", "x")).await.unwrap()).await.unwrap(), "again");
    assert_eq!(server.connections(), 1);
    // Nothing moves any more, so the clock runs to the next deadline.
    tokio::time::pause();
    let error = upstream.send(post("/", "x")).await.err().unwrap();
    assert!(matches!(error, EgressError::FirstByteTimeout), "{error:?}");
}

#[tokio::test]
async fn a_redirect_is_passed_on_and_not_followed() {
    let server = Server::scripted(&[&[
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
    ]])
    .await;
    let response = upstream(&egress(), &server.url("/")).send(post("/", "x")).await.unwrap();
    assert_eq!((response.status().as_u16(), server.connections()), (307, 1));
    assert!(response.into_body().frame().await.is_none());
}

#[tokio::test]
async fn plain_text_on_a_tls_port_is_a_tls_failure() {
    let server = Server::scripted(&[&["HTTP/1.1 400 Bad Request\r\n\r\n"]]).await;
    let refusing = Server::start(|mut stream, _| async move {
        use tokio::io::AsyncWriteExt;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    drop(server);
    let upstream = upstream(&egress(), &format!("https://{}/", refusing.addr));
    let error = upstream.send(post("/", "x")).await.err().unwrap();
    assert!(matches!(error, EgressError::Tls(_)), "{error:?}");
    assert_eq!((error.sent(), error.class()), (Sent::No, "tls"));
}
