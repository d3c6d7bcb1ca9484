//! Schemes that an app may have for itself.
//!
//! RFC 8252 (7.1) wants a domain of the app's maker in it, turned round, so that no two apps have the same. Apps that
//! many people have do without: Cursor is called by `cursor:`, Visual Studio Code by `vscode:`. So any scheme may be
//! one, but not those that mean something to browsers and systems already: a code that is sent there would be run,
//! shown, stored, sent on, or read by whoever listens. Who has registered a scheme on a machine is not ours to know;
//! a code alone is worth nothing without the verifier of the client that asked for it (PKCE).

/// Never an app's own.
const KNOWN: [&str; 61] = [
    // What runs or shows what it is given, or reads the machine.
    "about",
    "blob",
    "data",
    "feed",
    "file",
    "filesystem",
    "jar",
    "javascript",
    "livescript",
    "local",
    "mhtml",
    "mocha",
    "res",
    "resource",
    "vbscript",
    "view-source",
    "wyciwyg",
    "x-javascript",
    // Networks: somebody else's machine.
    "coap",
    "coaps",
    "dav",
    "davs",
    "dns",
    "ftp",
    "ftps",
    "git",
    "gopher",
    "http",
    "https",
    "imap",
    "irc",
    "ldap",
    "ldaps",
    "nfs",
    "nntp",
    "pop",
    "rtsp",
    "sftp",
    "smb",
    "ssh",
    "telnet",
    "vnc",
    "webcal",
    "ws",
    "wss",
    // People: a code would be written to them.
    "callto",
    "facetime",
    "mailto",
    "sip",
    "sips",
    "sms",
    "smsto",
    "tel",
    // What the system itself starts.
    "android-app",
    "hcp",
    "intent",
    "its",
    "mk",
    "search",
    "shell",
    "steam",
];

/// Nor what begins so: browsers' own pages, and what Windows and Apple open by themselves.
const FAMILIES: [&str; 17] = [
    "brave",
    "chrome",
    "devtools",
    "edge",
    "firefox",
    "itms",
    "microsoft-edge",
    "moz-",
    "ms-",
    "onenote",
    "opera",
    "safari-",
    "search-",
    "shell-",
    "view-source",
    "vivaldi",
    "x-apple",
];

/// Whether an app may have it; the scheme is in small letters, as a parsed URL has it. One of one letter is a drive.
pub(super) fn is_private(scheme: &str) -> bool {
    scheme.len() >= 2 && !KNOWN.contains(&scheme) && !FAMILIES.iter().any(|family| scheme.starts_with(family))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_may_have_what_means_nothing_else() {
        for scheme in
            ["cursor", "vscode", "vscode-insiders", "windsurf", "claude", "com.example.app", "zed", "my-app+1"]
        {
            assert!(is_private(scheme), "{scheme}");
        }
        for scheme in [
            "",
            "c",
            "http",
            "https",
            "javascript",
            "data",
            "file",
            "ftp",
            "ws",
            "wss",
            "blob",
            "about",
            "view-source",
            "vbscript",
            "filesystem",
            "mailto",
            "tel",
            "sms",
            "intent",
            "jar",
            "shell",
            "search",
            "search-ms",
            "ms-settings",
            "ms-msdt",
            "ms-word",
            "chrome",
            "chrome-extension",
            "moz-extension",
            "edge",
            "microsoft-edge",
            "res",
            "mk",
            "its",
            "android-app",
            "x-apple.systempreferences",
        ] {
            assert!(!is_private(scheme), "{scheme}");
        }
    }

    #[test]
    fn whatever_way_it_is_written_a_url_has_it_in_small_letters() {
        for text in ["JavaScript:alert(1)", "VIEW-SOURCE:x", "Ms-Settings:x", "FILE:///x"] {
            let url = url::Url::parse(text).unwrap();
            assert!(!is_private(url.scheme()), "{text}");
        }
    }
}
