//! Secrets that are known again wherever they turn up: raw, in base64 of any alignment (so in a `Basic` too), in hex,
//! in a URL.
//!
//! Every secret that the harness makes is marked. What Gatehouse answers to [`Admin`](crate::Admin) and
//! [`Mcp`](crate::Mcp), and every file that it leaves in its folder, is searched for the mark in each test.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem::Finder;
use uuid::Uuid;

/// What stands in every secret. Its characters look different in each form, and may all stand in a token.
pub const MARK: &str = "Kanari/en+Vogel";

/// A form that a secret can be written in, and what the mark is in it.
struct Form {
    name: &'static str,
    finder: Finder<'static>,
}

static FORMS: LazyLock<Vec<Form>> = LazyLock::new(|| {
    forms(MARK)
        .into_iter()
        .map(|(name, text)| Form { name, finder: Finder::new(text.as_bytes()).into_owned() })
        .collect()
});

/// A new secret; `what` says in a failing test whose it was.
pub fn secret(what: &str) -> String {
    format!("{what}-{MARK}-{}", Uuid::new_v4().simple())
}

/// A text in every form, with the form's name. Of base64 only what doesn't depend on what stands around it.
pub fn forms(text: &str) -> Vec<(&'static str, String)> {
    let mut forms = vec![
        ("raw", text.to_owned()),
        ("JSON with escaped slashes", text.replace('/', "\\/")),
        ("URL", url::form_urlencoded::byte_serialize(text.as_bytes()).collect()),
        ("hex", hex(text, false)),
        ("HEX", hex(text, true)),
    ];
    for before in 0..3 {
        let mut bytes = vec![0; before];
        bytes.extend_from_slice(text.as_bytes());
        let (first, last) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
        for (name, coded) in [("base64", STANDARD_NO_PAD.encode(&bytes)), ("base64url", URL_SAFE_NO_PAD.encode(&bytes))]
        {
            forms.push((name, coded[first..last].to_owned()));
        }
    }
    forms
}

fn hex(text: &str, large: bool) -> String {
    let mut hex = String::new();
    for byte in text.bytes() {
        let _ = if large { write!(hex, "{byte:02X}") } else { write!(hex, "{byte:02x}") };
    }
    hex
}

/// The form in which a marked secret stands in there, if one does.
pub fn found(bytes: &[u8]) -> Option<&'static str> {
    FORMS.iter().find(|form| form.finder.find(bytes).is_some()).map(|form| form.name)
}

/// Panics, with what stands around it, if a marked secret stands in there.
pub fn none_in(what: &str, bytes: &[u8]) {
    for form in FORMS.iter() {
        if let Some(at) = form.finder.find(bytes) {
            let around = &bytes[at.saturating_sub(200)..(at + 200).min(bytes.len())];
            panic!("a secret ({}) stands in {what}: {}", form.name, String::from_utf8_lossy(around));
        }
    }
}

/// Every file below a folder in which a marked secret stands, with its form.
pub fn found_below(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => all.extend(found_below(&path)),
            Ok(kind) if kind.is_file() => {
                // A file that goes away meanwhile holds nothing.
                let bytes = std::fs::read(&path).unwrap_or_default();
                all.extend(found(&bytes).map(|form| format!("{} ({form})", path.display())));
            }
            _ => (),
        }
    }
    all
}
