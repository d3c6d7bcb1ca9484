//! How connections are made, used again, and given up.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use egress::{Dialer, Egress, Limits, SystemDialer};
use futures::future::join_all;
use http::Response;
use http_body_util::{BodyExt, Full};
use tokio::net::TcpListener;
use tokio::sync::{Barrier, mpsc, watch};
use url::Url;

use crate::server::Server;
use crate::world::{dev, limits, post, tenant, text, upstream};

fn egress() -> Egress {
    Egress::new(dev()).unwrap()
}

#[tokio::test]
async fn a_connection_is_used_again_after_its_body_was_read() {
    let server = Server::echo().await;
    let upstream = upstream(&egress(), &server.url("/mcp"));
    for turn in 0..100 {
        let said = format!("turn {turn}");
        assert_eq!(text(upstream.send(post("/mcp", said.clone())).await.unwrap()).await.unwrap(), said);
        assert_eq!(upstream.idle(), 1);
    }
    assert_eq!((server.connections(), server.requests()), (1, 100));
}

#[tokio::test]
async fn an_empty_body_gives_its_connection_back_at_once() {
    let server = Server::answering(|_| async { Response::builder().status(202).body(Full::default()).unwrap() }).await;
    let upstream = upstream(&egress(), &server.url("/"));
    for _ in 0..3 {
        let response = upstream.send(post("/", "note")).await.unwrap();
        assert_eq!((response.status().as_u16(), upstream.idle()), (202, 1), "nobody has to read what isn't there");
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn chunked_and_length_delimited_bodies_give_their_connection_back() {
    let server = Server::scripted(&[&[
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nz",
    ]])
    .await;
    let upstream = upstream(&egress(), &server.url("/"));
    for expected in ["hello world", "abc", "", "", "z"] {
        assert_eq!(text(upstream.send(post("/", "x")).await.unwrap()).await.unwrap(), expected);
    }
    assert_eq!((server.connections(), server.requests()), (1, 5));
}

#[tokio::test]
async fn the_host_header_is_the_origin_s_and_no_other() {
    let server = Server::answering(|request| async move {
        let hosts: Vec<_> = request.headers().get_all("host").iter().map(|host| host.to_str().unwrap()).collect();
        Response::new(Full::new(Bytes::from(format!("{} {}", hosts.join(","), request.uri()))))
    })
    .await;
    let upstream = upstream(&egress(), &server.url("/ignored"));
    let mut request = post("/mcp?x=1", "");
    request.headers_mut().insert("host", "evil.example".parse().unwrap());
    let said = text(upstream.send(request).await.unwrap()).await.unwrap();
    assert_eq!(said, format!("{} /mcp?x=1", server.addr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_at_once_get_their_own_answers() {
    let together = Arc::new(Barrier::new(64));
    let server = Server::answering(move |request| {
        let together = Arc::clone(&together);
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            together.wait().await;
            Response::new(Full::new(body))
        }
    })
    .await;
    let upstream = upstream(&egress(), &server.url("/"));
    let calls = (0..64).map(|caller| {
        let upstream = upstream.clone();
        tokio::spawn(async move {
            for turn in 0..20 {
                // Of different sizes, so that some need more than one read.
                let said = format!("{caller}/{turn}/").repeat(1 + caller * turn * 20);
                let heard = text(upstream.send(post("/", said.clone())).await.unwrap()).await.unwrap();
                assert!(heard == said, "caller {caller} in turn {turn} got another's answer");
            }
        })
    });
    for done in join_all(calls).await {
        done.unwrap();
    }
    assert_eq!((server.requests(), upstream.idle()), (64 * 20, 64));
    assert_eq!(server.connections(), 64, "one for each caller, used again and again");
}

#[tokio::test]
async fn no_more_idle_connections_are_kept_than_the_limit_says() {
    let server = Server::echo().await;
    let url = Url::parse(&server.url("/")).unwrap();
    let upstream = egress().upstream(tenant(), &url, Limits { idle_connections: 2, ..limits() }).unwrap();
    let held = join_all((0..5).map(|_| upstream.send(post("/", "x")))).await;
    for response in held {
        text(response.unwrap()).await.unwrap();
    }
    assert_eq!((server.connections(), upstream.idle()), (5, 2));
    server.closed(3).await;
}

#[tokio::test]
async fn connections_that_the_upstream_closed_while_idle_cost_no_call() {
    let (hang_up, told) = watch::channel(0);
    let server = Server::hanging_up("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", told).await;
    let upstream = upstream(&egress(), &server.url("/"));
    for round in 1..=20 {
        let three = join_all((0..3).map(|_| upstream.send(post("/", "x")))).await;
        for response in three {
            assert_eq!(text(response.unwrap()).await.unwrap(), "ok");
        }
        assert_eq!(upstream.idle(), 3);
        hang_up.send(round).unwrap();
        server.closed(3 * round).await;
        look_at_sockets().await;
    }
    assert_eq!((server.connections(), server.requests()), (60, 60));
}

/// A round through the kernel: what happened to other sockets before it is known to the runtime after it.
async fn look_at_sockets() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (dialed, accepted) = tokio::join!(SystemDialer.dial(listener.local_addr().unwrap()), listener.accept());
    drop((dialed.unwrap(), accepted.unwrap()));
}

#[tokio::test]
async fn a_connection_that_is_to_be_closed_is_not_kept() {
    let server = Server::scripted(&[
        &["HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\na"],
        &["HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nb"],
        &["HTTP/1.1 200 OK\r\n\r\nuntil the end"],
        &["HTTP/1.1 200 OK\r\nkeep-alive: timeout=1\r\ncontent-length: 1\r\n\r\nd"],
        &["HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\neHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"],
        &["HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nf"],
    ])
    .await;
    let upstream = upstream(&egress(), &server.url("/"));
    for (turn, expected) in ["a", "b", "until the end", "d", "e", "f"].into_iter().enumerate() {
        assert_eq!(upstream.idle(), 0, "before turn {turn}");
        assert_eq!(text(upstream.send(post("/", "x")).await.unwrap()).await.unwrap(), expected);
    }
    assert_eq!(server.connections(), 6);
}

#[tokio::test]
async fn a_connection_that_rested_too_long_is_dropped_without_being_asked_for() {
    let server = Server::echo().await;
    let upstream = upstream(&egress(), &server.url("/"));
    text(upstream.send(post("/", "x")).await.unwrap()).await.unwrap();
    assert_eq!(upstream.idle(), 1);
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(10)).await;
    tokio::time::resume();
    assert_eq!(upstream.idle(), 0);
    server.closed(1).await;
    text(upstream.send(post("/", "x")).await.unwrap()).await.unwrap();
    assert_eq!((server.connections(), upstream.idle()), (2, 1));
}

#[tokio::test]
async fn a_body_dropped_early_closes_its_connection() {
    let (chunks, drip) = mpsc::unbounded_channel();
    let server = Server::dripping(drip).await;
    let upstream = upstream(&egress(), &server.url("/"));
    chunks.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nbeginning").unwrap();
    let mut response = upstream.send(post("/", "x")).await.unwrap();
    let frame = response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "beginning");
    drop(response);
    server.closed(1).await;
    assert_eq!(upstream.idle(), 0);
}

#[tokio::test]
async fn a_request_given_up_closes_its_connection() {
    let (_chunks, drip) = mpsc::unbounded_channel();
    let server = Server::dripping(drip).await;
    let upstream = upstream(&egress(), &server.url("/"));
    let mut call = Box::pin(upstream.send(post("/", "x")));
    while server.requests() == 0 {
        tokio::select! {
            biased;
            _ = &mut call => panic!("there is no answer"),
            () = tokio::task::yield_now() => {}
        }
    }
    drop(call);
    server.closed(1).await;
    assert_eq!(upstream.idle(), 0);
}

#[tokio::test]
async fn events_are_passed_on_as_they_come() {
    let (chunks, drip) = mpsc::unbounded_channel();
    let server = Server::dripping(drip).await;
    let upstream = upstream(&egress(), &server.url("/"));
    chunks.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n").unwrap();
    let mut body = upstream.send(post("/", "x")).await.unwrap().into_body();
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        chunks.send(Box::leak(format!("{:x}\r\n{event}\r\n", event.len()).into_boxed_str())).unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), event);
    }
    chunks.send("0\r\n\r\n").unwrap();
    assert!(body.frame().await.is_none() && body.frame().await.is_none());
    assert_eq!(upstream.idle(), 1);
}

#[tokio::test]
async fn large_bodies_go_both_ways_whole() {
    let server = Server::echo().await;
    let upstream = upstream(&egress(), &server.url("/"));
    let sent: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    for _ in 0..3 {
        let response = upstream.send(post("/", sent.clone())).await.unwrap();
        assert!(response.into_body().collect().await.unwrap().to_bytes() == sent);
    }
    assert_eq!(server.connections(), 1);
}

/// Counts the wakes of a task and hands them on.
struct Counting(AtomicUsize, Waker);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        self.1.wake_by_ref();
    }
}

#[tokio::test]
async fn a_call_wakes_its_task_once() {
    let server = Server::echo().await;
    let upstream = upstream(&egress(), &server.url("/"));
    let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
    let counting = Arc::new(Counting(AtomicUsize::new(0), waker));
    let mut calls = Box::pin(async {
        for _ in 0..101 {
            text(upstream.send(post("/", "x")).await.unwrap()).await.unwrap();
        }
    });
    poll_fn(|_| calls.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&counting))))).await;
    // Connecting takes one or two; a few more are left for a server that writes in two pieces.
    let wakes = counting.0.load(Ordering::SeqCst);
    assert!((100..120).contains(&wakes), "{wakes} wakes for 101 calls");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_wake_is_lost_while_many_tasks_read_in_small_pieces() {
    const PIECES: usize = 200;
    let server = Server::start(|mut stream, _| async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        stream.set_nodelay(true).unwrap();
        let mut request = [0; 1024];
        while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
            for _ in 0..PIECES {
                stream.write_all(b"4\r\nabcd\r\n").await.unwrap();
            }
            stream.write_all(b"0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let upstream = upstream(&egress(), &server.url("/"));
    let readers = (0..16).map(|_| {
        let upstream = upstream.clone();
        tokio::spawn(async move {
            for _ in 0..20 {
                let heard = text(upstream.send(post("/", "x")).await.unwrap()).await.unwrap();
                assert!(heard == "abcd".repeat(PIECES));
            }
        })
    });
    for reader in join_all(readers).await {
        reader.unwrap();
    }
    assert_eq!(upstream.idle(), server.connections());
}
