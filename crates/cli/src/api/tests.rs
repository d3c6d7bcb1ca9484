//! What is asked of control, and how its answers are read.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::*;

/// A control that answers what it was told to, in this order, and keeps what it was asked.
struct Double {
    target: Target,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Double {
    fn answering(answers: &[(u16, &'static str, Value)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let control = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let (heard, answers) = (asked.clone(), answers.to_vec());
        std::thread::spawn(move || {
            let mut answers = answers.into_iter();
            for stream in listener.incoming().map(Result::unwrap) {
                // One request for each connection: the client is told so.
                let Some((status, etag, body)) = answers.next() else { return };
                heard.lock().unwrap().push(request(&stream));
                let body = body.to_string();
                let head = format!(
                    "HTTP/1.1 {status} X\r\netag: {etag}\r\nconnection: close\r\ncontent-length: {}",
                    body.len()
                );
                (&stream).write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
            }
        });
        let target =
            Target { control, mcp: None, key: Some(Secret::new("k".to_owned())), tenant: None, authority: None };
        Self { target, asked }
    }

    fn api(&self) -> Api {
        Api::open(&self.target).unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Method, path, `If-Match` and body of a request on one line.
fn request(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut told = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let header = header.trim_end().to_ascii_lowercase();
        match header.split_once(": ") {
            Some(("if-match", version)) => told.push_str(&format!(" if {version}")),
            Some(("content-length", bytes)) => length = bytes.parse().unwrap(),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    format!("{told} {}", String::from_utf8(body).unwrap()).trim_end().to_owned()
}

#[tokio::test]
async fn a_change_and_a_removal_name_the_version_that_was_read() {
    let read = || (200, "\"7\"", json!({"name": "notes"}));
    let double = Double::answering(&[read(), (200, "\"8\"", json!({"title": "T"})), read(), (200, "", json!({}))]);
    let api = double.api();
    assert_eq!(api.change(&["servers", "notes"], &json!({"title": "T"})).await.unwrap(), json!({"title": "T"}));
    api.remove(&["servers", "notes"]).await.unwrap();
    let expected = [
        "GET /api/v1/servers/notes",
        "PATCH /api/v1/servers/notes if \"7\" {\"title\":\"T\"}",
        "GET /api/v1/servers/notes",
        "DELETE /api/v1/servers/notes if \"7\"",
    ];
    assert_eq!(double.asked(), expected);
}

#[tokio::test]
async fn what_changed_in_between_is_not_overwritten_and_told() {
    let stale = json!({"status": 412, "code": "stale", "detail": "changed meanwhile"});
    let double = Double::answering(&[(200, "\"7\"", json!({})), (412, "", stale)]);
    let failure = double.api().change(&["users", "ann"], &json!({"title": "T"})).await.unwrap_err();
    assert_eq!(failure.exit_code(), 6);
    assert!(failure.to_string().starts_with("users/ann: somebody else changed it"), "{failure}");
}

#[tokio::test]
async fn a_list_is_all_its_pages_or_as_many_as_are_wanted() {
    let pages =
        || [(200, "", json!({"items": [1, 2], "next": "c"})), (200, "", json!({"items": [3, 4], "next": null}))];
    let double = Double::answering(&pages());
    let all = double.api().list(&["audit"], &[("actor", "a")]).await.unwrap();
    assert_eq!(all["items"], json!([1, 2, 3, 4]));
    let expected = ["GET /api/v1/audit?actor=a&page_size=200", "GET /api/v1/audit?actor=a&page_size=200&cursor=c"];
    assert_eq!(double.asked(), expected);
    for (most, seen, asks) in [(2, json!([1, 2]), 1), (3, json!([1, 2, 3]), 2)] {
        let double = Double::answering(&pages());
        assert_eq!(double.api().first(&["audit"], &[], most).await.unwrap()["items"], seen);
        assert_eq!(double.asked().len(), asks);
    }
}

#[test]
fn a_name_is_one_segment_whatever_is_in_it() {
    for (path, query, expected) in [
        (&["servers"][..], &[][..], "/api/v1/servers"),
        (&["servers"], &[("search", "a&b"), ("cursor", "x")], "/api/v1/servers?search=a%26b&cursor=x"),
        (&["servers", "a/../b?c"], &[], "/api/v1/servers/a%2F..%2Fb%3Fc"),
        (&["servers", "notes", "test"], &[], "/api/v1/servers/notes/test"),
    ] {
        assert_eq!(rest_path(path, query), expected);
    }
}

#[test]
fn what_is_not_there_is_named() {
    assert_eq!(named(&rest_path(&["servers", "notes", "tools"], &[])), "servers/notes");
    assert_eq!(named(&rest_path(&["keys"], &[("cursor", "x")])), "keys");
}

fn refusal(status: StatusCode, body: &'static [u8]) -> Option<Failure> {
    read(status, &HeaderMap::new(), Bytes::from_static(body)).unwrap_err().map(Failure::Refused)
}

#[test]
fn refusals_carry_what_control_said() {
    let failure = refusal(StatusCode::CONFLICT, br#"{"detail":"taken","code":"name_taken"}"#).unwrap();
    assert_eq!(
        (failure.exit_code(), failure.to_string().as_str()),
        (6, "taken (name_taken)\n  `set` changes the one that is there")
    );
}

#[test]
fn an_answer_without_a_body_is_null() {
    assert_eq!(read(StatusCode::NO_CONTENT, &HeaderMap::new(), Bytes::new()).unwrap().body, Value::Null);
}

#[test]
fn what_control_would_not_say_is_a_strangers() {
    for (status, body) in
        [(StatusCode::OK, &b"<html>"[..]), (StatusCode::NOT_FOUND, b"<html>"), (StatusCode::UNAUTHORIZED, b"{}")]
    {
        assert!(refusal(status, body).is_none(), "{status}");
    }
    assert!(refusal(StatusCode::BAD_GATEWAY, b"<html>").is_some());
}
