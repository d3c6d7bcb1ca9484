//! The public methods of a handle, as the source has them.

use std::collections::BTreeSet;
use std::path::Path;

/// The names of all public methods in `impl HANDLE` blocks of a file's text.
pub(crate) fn methods(text: &str, handle: &str) -> Vec<String> {
    let (mut inside, mut found) = (false, Vec::new());
    for line in text.lines() {
        if line.starts_with("impl") {
            inside = line.trim_end_matches(['{', ' ']) == format!("impl {handle}");
        }
        if line == "}" {
            inside = false;
        }
        let line = line.trim_start();
        let Some(name) = line.strip_prefix("pub async fn ").or_else(|| line.strip_prefix("pub fn ")) else { continue };
        if inside {
            found.push(name.split(['(', '<']).next().unwrap().to_owned());
        }
    }
    found
}

/// The same of every file below `crates/store/src`.
pub(crate) fn all_methods(handle: &str) -> BTreeSet<String> {
    let (mut open, mut found) = (vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")], BTreeSet::new());
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.extend(methods(&std::fs::read_to_string(path).unwrap(), handle));
        }
    }
    found
}
