//! Which scopes a login asks for: what the server challenged with, else all that it knows, else none; and whatever it
//! asked for since with a 403.

/// Scopes of one login.
const MOST: usize = 64;
/// Characters of all of them together.
const MAX_TEXT: usize = 2048;
/// What makes an authorization server give refresh tokens, where it knows it.
pub(super) const OFFLINE: &str = "offline_access";

/// What there is to choose from.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known<'a> {
    /// What an admin wrote.
    pub(super) configured: Option<&'a str>,
    /// Of the server's 401.
    pub(super) challenged: Option<&'a str>,
    /// Of the server's metadata.
    pub(super) resource: Option<&'a [String]>,
    /// Of the authorization server's.
    pub(super) issuer: Option<&'a [String]>,
    /// What 403s asked for, and what earlier logins for this connection asked for.
    pub(super) more: &'a [String],
}

/// The scopes to ask for; `None`: say nothing of it, so that the authorization server chooses.
pub(super) fn wanted(known: Known<'_>) -> Option<String> {
    let mut all: Vec<&str> = match (known.configured.map(words), known.challenged.map(words), known.resource) {
        (Some(configured), ..) if !configured.is_empty() => configured,
        (_, Some(challenged), _) if !challenged.is_empty() => challenged,
        // RFC 9728: what only concerns the authorization server does not belong there.
        (_, _, Some(resource)) => resource.iter().map(String::as_str).filter(|scope| *scope != OFFLINE).collect(),
        _ => Vec::new(),
    };
    all.extend(known.more.iter().map(String::as_str));
    let offline = known.issuer.is_some_and(|scopes| scopes.iter().any(|scope| scope == OFFLINE));
    if !all.is_empty() && offline {
        all.push(OFFLINE);
    }
    joined(all.into_iter().filter(|scope| is_scope(scope)))
}

/// Two lists of scopes as one, in their order and each once; `None` for nothing.
pub(super) fn union(first: Option<&str>, second: Option<&str>) -> Option<String> {
    let all = first.into_iter().chain(second).flat_map(words);
    joined(all.filter(|scope| is_scope(scope)))
}

/// Whether all of the second are among the first.
pub(super) fn covers(have: &str, wanted: &str) -> bool {
    let have = words(have);
    words(wanted).iter().all(|scope| have.contains(scope))
}

/// The single scopes of a text.
pub(super) fn words(text: &str) -> Vec<&str> {
    text.split_ascii_whitespace().collect()
}

fn joined<'a>(scopes: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut all: Vec<&str> = Vec::new();
    let mut length = 0;
    for scope in scopes {
        if !all.contains(&scope) && all.len() < MOST && length + scope.len() < MAX_TEXT {
            length += scope.len() + 1;
            all.push(scope);
        }
    }
    (!all.is_empty()).then(|| all.join(" "))
}

/// RFC 6749, 3.3.
fn is_scope(scope: &str) -> bool {
    !scope.is_empty() && scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<String> {
        words(text).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn what_is_asked_for_is_the_challenge_else_the_metadata_else_nothing() {
        let of_resource = list("read write offline_access");
        let offline = list("openid offline_access");
        let plain = list("openid");
        let more = list("admin read");
        let none = Known::default();
        for (known, expected) in [
            (none, None),
            (Known { challenged: Some("read"), resource: Some(&of_resource), ..none }, Some("read")),
            (Known { challenged: Some(" "), resource: Some(&of_resource), ..none }, Some("read write")),
            (Known { resource: Some(&of_resource), ..none }, Some("read write")),
            (Known { resource: Some(&[]), ..none }, None),
            (Known { configured: Some("own"), challenged: Some("read"), ..none }, Some("own")),
            // Added only where it is known, and to something.
            (Known { challenged: Some("read"), issuer: Some(&offline), ..none }, Some("read offline_access")),
            (Known { challenged: Some("read"), issuer: Some(&plain), ..none }, Some("read")),
            (Known { issuer: Some(&offline), ..none }, None),
            (Known { configured: Some("offline_access"), issuer: Some(&offline), ..none }, Some("offline_access")),
            // A step up keeps what was asked for before.
            (Known { challenged: Some("read"), more: &more, ..none }, Some("read admin")),
            (Known { more: &more, ..none }, Some("admin read")),
            (Known { challenged: Some("a\"b re\\ad \u{e9} ok"), ..none }, Some("ok")),
        ] {
            assert_eq!(wanted(known).as_deref(), expected, "{known:?}");
        }
    }

    #[test]
    fn a_list_of_scopes_is_bounded_and_each_stands_once() {
        assert_eq!(union(Some("a b"), Some("b c a")).as_deref(), Some("a b c"));
        assert_eq!(union(None, Some("  ")), None);
        let many = (0..200).map(|at| format!("scope-{at}")).collect::<Vec<_>>().join(" ");
        assert_eq!(words(&union(Some(&many), None).unwrap()).len(), MOST);
        let long = format!("{} {}", "x".repeat(MAX_TEXT + 1), "y");
        assert_eq!(union(Some(&long), None).as_deref(), Some("y"));
        assert!(covers("a b c", "c a") && covers("a", "") && !covers("a", "a b"));
    }
}
