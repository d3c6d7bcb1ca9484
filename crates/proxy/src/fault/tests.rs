use super::*;

#[test]
fn a_challenge_tells_what_there_is_to_tell() {
    let sign_in =
        |scope: Option<&str>| Some(SignIn { metadata: "http://x/m".to_owned(), scope: scope.map(str::to_owned) });
    for (fault, sign_in, header) in [
        (Fault::unauthenticated(), None, "Bearer"),
        (Fault::invalid("invalid_token"), None, "Bearer"),
        (Fault::unauthenticated(), sign_in(Some("mcp")), "Bearer resource_metadata=\"http://x/m\", scope=\"mcp\""),
        (
            Fault::invalid("invalid_token"),
            sign_in(None),
            "Bearer resource_metadata=\"http://x/m\", error=\"invalid_token\"",
        ),
        (Fault::insufficient("mcp"), None, "Bearer error=\"insufficient_scope\", scope=\"mcp\""),
        (
            Fault::insufficient("a b"),
            sign_in(Some("mcp")),
            "Bearer error=\"insufficient_scope\", resource_metadata=\"http://x/m\", scope=\"a b\"",
        ),
        (Fault::insufficient("a\"b"), None, "Bearer error=\"insufficient_scope\""),
    ] {
        let response = fault.with_sign_in(|| sign_in).response(None, None);
        assert_eq!(response.headers()[WWW_AUTHENTICATE], header);
    }
}

#[test]
fn faults_look_as_the_table_says() {
    for (fault, status, code) in [
        (Fault::Parse, 400, -32700),
        (Fault::unauthenticated(), 401, -32600),
        (Fault::insufficient("mcp"), 403, -32600),
        (Fault::Viewer, 403, -32600),
        (Fault::SessionUnknown, 404, -32600),
        (Fault::StreamTaken, 409, -32600),
        (Fault::TooLarge(1), 413, -31004),
        (Fault::Quota { what: "calls", retry_after: Duration::from_millis(300) }, 429, -31009),
        (Fault::Draining, 503, -31010),
        (Fault::Unavailable { class: "refused", retry_after: None }, 200, -31001),
        (Fault::Timeout { uncertain: true }, 200, -31002),
        (Fault::Uncertain, 200, -31013),
        (Fault::ConnectionRequired, 200, -31006),
        (Fault::NoCredential(Arc::new(NoCredential::for_test("reauth_required"))), 200, -31006),
        (Fault::Headers("Mcp-Method is missing".into()), 400, -32020),
        (Fault::Meta("_meta is missing"), 400, -32602),
        (Fault::Capability("{}".into()), 400, -32021),
        (Fault::Version { requested: "1999-01-01".to_owned() }, 400, -32022),
        (Fault::unknown_resource("x"), 200, -32602),
        (Fault::MethodUnknown, 200, -32601),
        (Fault::Params("name is missing"), 200, -32602),
        (Fault::Unknown { reason: "unknown_tool" }, 200, -32602),
    ] {
        let response = fault.response(Some(b"7"), Some("notes"));
        assert_eq!(response.status().as_u16(), status, "{fault:?}");
        let body: serde_json::Value = serde_json::from_slice(&fault.body(Some(b"7"), Some("notes"))).unwrap();
        assert_eq!(body["error"]["code"], code, "{fault:?}");
        assert_eq!(body["id"], 7);
        assert_eq!(body["error"]["data"]["origin"], "gateway");
        assert_eq!(body["error"]["data"]["server"], "notes");
    }
}

#[test]
fn a_refused_version_names_what_is_spoken() {
    for (requested, supported) in
        [("2031-01-01", Revision::ALL.map(Revision::as_str).to_vec()), ("2025-11-25", vec!["2026-07-28"])]
    {
        let fault = Fault::Version { requested: requested.to_owned() };
        let body: serde_json::Value = serde_json::from_slice(&fault.body(Some(b"1"), None)).unwrap();
        assert_eq!(body["error"]["code"], -32022);
        assert_eq!(body["error"]["data"]["supported"], serde_json::json!(supported));
        assert_eq!(body["error"]["data"]["requested"], requested);
    }
}

#[test]
fn what_is_missing_of_a_client_is_named_as_it_would_declare_it() {
    let fault = Fault::Capability(r#"{"elicitation":{"url":{}}}"#.into());
    let body: serde_json::Value = serde_json::from_slice(&fault.body(Some(b"1"), None)).unwrap();
    assert_eq!(body["error"]["data"]["requiredCapabilities"], serde_json::json!({ "elicitation": { "url": {} } }));
}

#[test]
fn an_unknown_resource_is_named_unless_that_takes_too_long() {
    for (uri, told) in [("x:y".to_owned(), true), ("x".repeat(URI), true), ("x".repeat(URI + 1), false)] {
        let body = Fault::unknown_resource(&uri).body(Some(b"1"), None);
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"]["data"].get("uri").is_some_and(|there| *there == *uri), told);
    }
}

#[test]
fn a_client_without_a_session_is_asked_to_connect_and_comes_again() {
    let mut why = NoCredential::for_test("reauth_required");
    let fault = Fault::NoCredential(Arc::new(why.clone())).input_required();
    assert!(matches!(fault, Fault::NoCredential(_)), "where there is no page there is nothing to ask for");
    why.login_url = Some("https://gw.example/connect".to_owned());
    let fault = Fault::NoCredential(Arc::new(why)).input_required();
    let response = fault.response(Some(b"\"a\""), Some("notes"));
    assert_eq!(response.status(), StatusCode::OK);
    let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!((&body["id"], &body["result"]["resultType"]), (&"a".into(), &"input_required".into()));
    let asked = &body["result"]["inputRequests"]["connect"];
    assert_eq!(asked["method"], "elicitation/create");
    assert_eq!(asked["params"]["url"], "https://gw.example/connect");
    assert!(asked["params"].get("elicitationId").is_none());
}

#[test]
fn the_status_of_an_error_without_a_session_depends_on_its_code() {
    for (error, status) in [
        (r#"{"code":-32601,"message":"x"}"#, Some(404)),
        (r#"{"message":"x","code":-32021}"#, Some(400)),
        (r#"{"code":-32602}"#, None),
        (r#"{"code":-32603}"#, None),
        (r#"{"code":-31001}"#, None),
        (r#"{"code":-32000}"#, None),
    ] {
        let status_of = Code::of(error.as_bytes()).unwrap().status();
        assert_eq!(status_of.map(|status| status.as_u16()), status, "{error}");
    }
    assert_eq!(Code::of(b"{}"), None);
    let code = Fault::MethodUnknown.response(None, None).extensions().get::<Code>().copied();
    assert_eq!(code.and_then(Code::status), Some(StatusCode::NOT_FOUND));
}
