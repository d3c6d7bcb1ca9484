//! Where to go after signing in: a path of ours, never somewhere else.

/// Longest path that is carried along: an authorization request of a client fits, with everything it may say.
const MAX_RETURN: usize = 4096;

/// The path and query to return to, if it is one of ours: it begins with one slash, and a browser can make
/// nothing else of it.
pub(crate) fn own_path(text: &str) -> Option<&str> {
    let begins = text.starts_with('/') && !text.starts_with("//");
    // A browser reads `\` as `/` and drops tabs and line breaks.
    let plain = text.bytes().all(|byte| (0x21..=0x7e).contains(&byte) && byte != b'\\');
    let fits = text.len() <= MAX_RETURN && !text.contains('#');
    (begins && plain && fits && stays(text)).then_some(text)
}

/// Whether the reader that browsers agree on stays on the same host with it.
fn stays(text: &str) -> bool {
    const HERE: &str = "http://here.invalid";
    let joined = url::Url::parse(HERE).and_then(|here| here.join(text));
    joined.is_ok_and(|url| url.origin().ascii_serialization() == HERE && !url.path().starts_with("//"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_ours_are_returned_to() {
        for fits in ["/", "/account", "/oauth/acme/authorize?client_id=https%3A%2F%2Fa.example%2F&x=//y", "/a//b"] {
            assert_eq!(own_path(fits), Some(fits));
        }
        for elsewhere in [
            "",
            "account",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "https://evil.example/",
            "javascript:alert(1)",
            " /account",
            "/acc ount",
            "/account#x",
            "/.//evil.example",
            "/x/..//evil.example",
            "/\u{2028}/x",
            &format!("/{}", "a".repeat(MAX_RETURN)),
        ] {
            assert_eq!(own_path(elsewhere), None, "{elsewhere:?}");
        }
    }
}
