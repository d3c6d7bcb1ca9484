//! Strings: read and written as serde_json does, and messages around them that can't be broken out of.

use mcp::{Envelope, Kind, Params, Span, unescape, write};

/// Any text, once as it is between quotes and once written by us.
pub(crate) fn check(bytes: &[u8]) {
    let quoted = [b"\"", bytes, b"\""].concat();
    // What is no JSON string is refused by the scan before anybody unescapes it.
    if let Some(value) = super::reference::value(&quoted) {
        let text = unescape(value.as_bytes());
        assert_eq!(text.as_deref(), super::reference::string(value).as_deref());
    } else {
        let _ = unescape(&quoted);
    }
    let text = String::from_utf8_lossy(bytes);
    let mut written = Vec::new();
    write::string(&mut written, &text);
    let read: String = serde_json::from_slice(&written).expect("what is written is JSON");
    assert_eq!(read, text);
    assert_eq!(unescape(&written).as_deref(), Some(&*text));
    messages(&text, &written);
}

/// The text as the error of an answer, and as a name that is put into a request.
fn messages(text: &str, written: &[u8]) {
    let answer = write::error(Some(b"7"), -32603, text, Some(written));
    let envelope = Envelope::scan(&answer).expect("an error is a message");
    assert_eq!((envelope.kind, envelope.id.map(|id| id.of(&answer))), (Kind::Response, Some(&b"7"[..])));
    let error: serde_json::Value =
        serde_json::from_slice(envelope.error.expect("it is one").of(&answer)).expect("JSON");
    assert_eq!((error["message"].as_str(), error["data"].as_str()), (Some(text), Some(text)));

    let message = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"s__a","arguments":{}}}"#;
    let params = Envelope::scan(message).expect("a request").params.expect("params");
    let patch = write::Patch { span: params.name.expect("a name"), with: written };
    let request = write::request("9", "tools/call", message, Some(params.all), &[patch]);
    let envelope = Envelope::scan(&request).expect("a request stays one");
    let params = envelope.params.expect("params");
    assert_eq!(Params::text(params.name, &request).as_deref(), Some(text));
    assert_eq!(params.arguments.map(|span| span.of(&request)), Some(&b"{}"[..]));

    let told = write::notification("notifications/x", written, Some(Span::whole(written)), &[]);
    assert!(Envelope::scan(&told).is_err(), "params that are a string");
    let result = write::result(b"\"id\"", written);
    let envelope = Envelope::scan(&result).expect("a result is a message");
    assert_eq!(envelope.result.map(|span| span.of(&result)), Some(written));
}
