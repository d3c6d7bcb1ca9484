//! The names under which a server's tools and prompts appear on the aggregate.

use sha2::{Digest, Sha256};

/// Longest exposed name (what many model APIs accept).
pub const MAX_NAME: usize = 64;
/// Characters of the hash tail: 40 bits.
const TAIL: usize = 8;

/// The exposed name: `{server}__{tool}`, at most 64 of `[A-Za-z0-9_-]`. A pure function of the two
/// names: it never depends on what else is mounted. If cleaning or cutting changed the tool's
/// name, it ends in a hash of the original, so that no two names of one server meet.
pub fn exposed(server: &str, tool: &str) -> String {
    let clean: String =
        tool.chars().map(|ch| if ch.is_ascii_alphanumeric() || matches!(ch, '_' | '-') { ch } else { '_' }).collect();
    let plain = format!("{server}__{clean}");
    if clean == tool && plain.len() <= MAX_NAME && !clean.is_empty() {
        return plain;
    }
    let mut cut = plain;
    cut.truncate(MAX_NAME - TAIL - 1);
    let digest = Sha256::digest(tool.as_bytes());
    let number = digest.iter().take(5).fold(0u64, |number, byte| (number << 8) | u64::from(*byte));
    let tail: String = (0..TAIL).map(|at| char::from(base32((number >> (5 * at)) & 31))).collect();
    format!("{cut}_{tail}")
}

/// The server's part of an exposed name. A slug holds no `_`, so the first `__` is the border.
pub fn server(exposed: &str) -> Option<&str> {
    exposed.split_once("__").map(|(server, _)| server)
}

fn base32(digit: u64) -> u8 {
    b"abcdefghijklmnopqrstuvwxyz234567".get(digit as usize).copied().unwrap_or(b'a')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_where_they_fit_and_marked_where_they_do_not() {
        assert_eq!(exposed("notes", "list_all"), "notes__list_all");
        let cleaned = exposed("notes", "list.all");
        assert!(cleaned.starts_with("notes__list_all_") && cleaned.len() == "notes__list_all_".len() + 8, "{cleaned}");
        assert_ne!(cleaned, exposed("notes", "list/all"));
        assert_ne!(exposed("notes", ""), exposed("notes", "_"));
        for tool in ["x".repeat(300), "ü".repeat(60), "a b".to_owned()] {
            let name = exposed("a-server-with-the-longest-name-x", &tool);
            assert!(name.len() <= MAX_NAME);
            assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'));
            assert_eq!(server(&name), Some("a-server-with-the-longest-name-x"));
        }
    }
}
