//! Exposed names: always of the allowed letters, never too long, and no two of one server alike.

use std::collections::BTreeMap;

use mcp::names::{MAX_NAME, exposed, server};

/// Lines: the first names the server, the others its tools.
pub(crate) fn check(lines: &[u8]) {
    let lines = String::from_utf8_lossy(lines);
    let mut lines = lines.split('\n');
    // Slugs hold no underscore and are short.
    let slug: String = lines.next().unwrap_or_default().chars().filter(|ch| slug_letter(*ch)).take(32).collect();
    let mut seen = BTreeMap::new();
    for tool in lines.take(64) {
        let name = exposed(&slug, tool);
        assert!(name.len() <= MAX_NAME, "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')), "{name}");
        assert_eq!(server(&name), Some(&*slug), "{name}");
        assert_eq!(exposed(&slug, tool), name, "another name each time");
        let plain = format!("{slug}__{tool}");
        let fits = plain.len() <= MAX_NAME && !tool.is_empty() && plain.bytes().all(is_letter);
        assert_eq!(name == plain, fits, "{plain}");
        let other = seen.insert(name, tool);
        assert!(other.is_none_or(|other| other == tool), "{other:?} and {tool:?} meet");
    }
}

fn slug_letter(ch: char) -> bool {
    ch.is_ascii_alphanumeric() || ch == '-'
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}
