//! The folder itself: which files are for whom, and whether one has changed.

use std::collections::HashSet;
use std::fs::{self, DirEntry, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use model::{ServerName, TenantId};
use uuid::Uuid;

/// The most files that are looked at; what comes after is left alone, loudly.
pub(super) const MOST: usize = 10_000;

/// A file that is for somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    /// The tenant's folder, which it must not leave.
    pub(super) own: PathBuf,
    pub(super) tenant: TenantId,
    /// A slug.
    pub(super) server: String,
    pub(super) named: Named,
}

/// Whom a file is for, as its name says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Named {
    Global,
    Department(String),
    User(String),
}

/// What changes with a file: another one in its place has another inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    seconds: i64,
    nanos: i64,
    size: u64,
    inode: u64,
    mode: u32,
}

impl Stamp {
    fn of(about: &Metadata) -> Self {
        Self {
            seconds: about.mtime(),
            nanos: about.mtime_nsec(),
            size: about.size(),
            inode: about.ino(),
            mode: about.mode(),
        }
    }

    /// Microseconds since 1970.
    pub(super) fn written_at(self) -> i64 {
        self.seconds.saturating_mul(1_000_000).saturating_add(self.nanos / 1_000)
    }
}

/// All files that are for somebody, in the order of their paths. What is for nobody is left alone.
pub(super) fn scan(root: &Path) -> io::Result<Vec<(Entry, Stamp)>> {
    let mut found = Vec::new();
    let mut whose = HashSet::new();
    for (own, name) in children(root)? {
        let Some(tenant) = Uuid::parse_str(&name).ok().filter(|id| id.to_string() == name).map(TenantId) else {
            continue;
        };
        for (folder, server) in children(&own)? {
            if server.parse::<ServerName>().is_err() {
                continue;
            }
            for (path, name) in children(&folder)? {
                let Some(named) = Named::parse(&name) else { continue };
                // A link counts by what it leads to.
                let Ok(about) = fs::metadata(&path) else { continue };
                if !about.is_file() {
                    continue;
                }
                if !whose.insert((tenant, server.clone(), named.clone())) {
                    tracing::warn!(%tenant, server, "two files of `import_dir` are for the same connection: one is used");
                    continue;
                }
                if found.len() >= MOST {
                    tracing::error!(most = MOST, "`import_dir` has more files than are looked at");
                    return Ok(found);
                }
                let entry = Entry { path, own: own.clone(), tenant, server: server.clone(), named };
                found.push((entry, Stamp::of(&about)));
            }
        }
    }
    Ok(found)
}

/// What is in a folder, by name, in their order. A folder that is gone, or is none, is empty.
fn children(folder: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let read = |entry: io::Result<DirEntry>| {
        let entry = entry.ok()?;
        let name = entry.file_name().into_string().ok()?;
        Some((entry.path(), name))
    };
    let mut children: Vec<_> = entries.filter_map(read).collect();
    children.sort();
    Ok(children)
}

impl Named {
    /// Reads a file's name; `None` for a file of somebody else.
    fn parse(name: &str) -> Option<Self> {
        let name = name.strip_suffix(".json")?;
        if name == "global" {
            return Some(Self::Global);
        }
        let (word, encoded) = name.split_once('-')?;
        let name = decoded(encoded).filter(|name| !name.is_empty())?;
        match word {
            "department" => Some(Self::Department(name)),
            "user" => Some(Self::User(name)),
            _ => None,
        }
    }
}

/// A percent-encoded name.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (code, after) = rest.split_at_checked(2)?;
        let code = std::str::from_utf8(code).ok().filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r62_names_of_files_are_of_one_holder_each() {
        for (name, named) in [
            ("global.json", Some(Named::Global)),
            ("user-ann.json", Some(Named::User("ann".into()))),
            ("user-ann%40a.example.json", Some(Named::User("ann@a.example".into()))),
            ("user-a-b.json", Some(Named::User("a-b".into()))),
            ("user-a%2Fb.json", Some(Named::User("a/b".into()))),
            ("user-global.json", Some(Named::User("global".into()))),
            ("department-sales%20eu.json", Some(Named::Department("sales eu".into()))),
            ("department-%C3%BC.json", Some(Named::Department("ü".into()))),
            ("user-.json", None),
            ("user-%4.json", None),
            ("user-%zz.json", None),
            ("user-%ff.json", None),
            ("global.json.tmp", None),
            (".user-ann.json", None),
            ("team-ann.json", None),
        ] {
            assert_eq!(Named::parse(name), named, "{name}");
        }
    }
}
