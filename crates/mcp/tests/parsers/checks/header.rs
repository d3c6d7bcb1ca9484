//! The rules for header fields: what passes them can stand in a request, and nothing of ours passes.

use mcp::headers::{is_name, is_value, may_be_configured, passes_upstream};
use mcp::param_headers::{decoded, encoded};

/// Lines: each a name, a colon and a value.
pub(crate) fn check(lines: &[u8]) {
    for line in lines.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = String::from_utf8_lossy(parts.next().unwrap_or_default());
        let value = String::from_utf8_lossy(parts.next().unwrap_or_default());
        if is_name(&name) {
            let parsed = http::HeaderName::try_from(&*name).expect("what is a name for us is one for HTTP");
            assert_eq!(
                may_be_configured(&name),
                may_be_configured(parsed.as_str()),
                "{name}: letters make a difference"
            );
            // Nobody sets what the client's own request brings.
            assert!(
                !(passes_upstream(parsed.as_str()) && may_be_configured(&name))
                    || name.eq_ignore_ascii_case("accept-language")
            );
        }
        if is_value(&value) {
            let parsed = http::HeaderValue::try_from(&*value).expect("what is a value for us is one for HTTP");
            assert_eq!(parsed.to_str().expect("it is ASCII"), &*value);
        }
        there_and_back(&value);
    }
}

/// Any text can be said in a header, and what a header says can be said again.
fn there_and_back(text: &str) {
    let said = encoded(text);
    http::HeaderValue::try_from(&*said).expect("what is encoded can be sent");
    assert_eq!(decoded(said.as_bytes()).as_deref(), Some(text), "{said:?}");
    assert_eq!(decoded(format!(" \t{said} ").as_bytes()).as_deref(), Some(text), "{said:?}");
    if let Some(meant) = decoded(text.as_bytes()) {
        assert_eq!(decoded(encoded(&meant).as_bytes()).as_deref(), Some(&*meant));
    }
}
