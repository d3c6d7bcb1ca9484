//! The two keys of `gatehouse up`, kept readable in `keys.json` (0600) so that the paste block can be printed again.

use model::Secret;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::home::{self, Home};

/// The file's name in the data folder.
const FILE: &str = "keys.json";

/// The keys of a data folder.
#[derive(Debug)]
pub(crate) struct Keys {
    /// A platform admin's key.
    pub(crate) admin: Secret,
    /// The first MCP client's key.
    pub(crate) client: Secret,
}

#[derive(Serialize, Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    admin_key: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    client_key: std::borrow::Cow<'a, str>,
}

impl Keys {
    /// Reads the text of a keys file or the output of `gatehouse-control init --json`.
    pub(crate) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let written: Written<'_> = serde_json::from_str(text)?;
        Ok(Self {
            admin: Secret::new(written.admin_key.into_owned()),
            client: Secret::new(written.client_key.into_owned()),
        })
    }

    /// The keys of this folder; `None` where none are kept.
    pub(crate) fn of(home: &Home) -> Result<Option<Self>, Failure> {
        let path = home.file(FILE);
        let Some(text) = home::read_secret(&path)? else { return Ok(None) };
        let text = Secret::new(text);
        if text.expose().is_empty() {
            return Ok(None);
        }
        // The error would quote the text around the mistake: say where, not what.
        let keys = Self::parse(text.expose())
            .map_err(|error| Failure::NoKey(format!("{} is no keys file (line {})", path.display(), error.line())))?;
        Ok(Some(keys))
    }

    /// Says that keys are being made, by an empty file. Whoever finds it knows that the keys that were
    /// made last were lost before anybody saw them.
    pub(crate) fn await_new(home: &Home) -> Result<(), Failure> {
        home::replace(&home.file(FILE), 0o600, "")
    }

    /// Whether the keys that were made last were lost.
    pub(crate) fn are_lost(home: &Home) -> Result<bool, Failure> {
        Ok(home::read_secret(&home.file(FILE))?.is_some_and(|text| text.is_empty()))
    }

    /// Keeps the keys in this folder, readable for its owner only.
    pub(crate) fn keep(&self, home: &Home) -> Result<(), Failure> {
        let written = Written { admin_key: self.admin.expose().into(), client_key: self.client.expose().into() };
        let text =
            serde_json::to_string_pretty(&written).map_err(|error| Failure::caused("can't write the keys", error))?;
        let text = Secret::new(text + "\n");
        home::replace(&home.file(FILE), 0o600, text.expose())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_come_back_as_they_were_kept_and_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::find(Some(folder.path())).unwrap();
        assert!(Keys::of(&home).unwrap().is_none());
        assert!(!Keys::are_lost(&home).unwrap());
        Keys::await_new(&home).unwrap();
        assert!(Keys::of(&home).unwrap().is_none());
        assert!(Keys::are_lost(&home).unwrap());
        let keys = Keys { admin: Secret::new("a\"1".to_owned()), client: Secret::new("c2".to_owned()) };
        keys.keep(&home).unwrap();
        assert!(!Keys::are_lost(&home).unwrap());
        let read = Keys::of(&home).unwrap().unwrap();
        assert_eq!((read.admin.expose(), read.client.expose()), ("a\"1", "c2"));
        let mode = std::fs::metadata(home.file(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_broken_keys_file_is_refused_without_quoting_it() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::find(Some(folder.path())).unwrap();
        home::replace(&home.file(FILE), 0o600, r#"{"admin_key": "ghk_live_topsecret", "client_key": 7}"#).unwrap();
        let failure = Keys::of(&home).unwrap_err();
        assert!(!failure.to_string().contains("topsecret"), "{failure}");
        assert_eq!(failure.exit_code(), 4);
    }

    #[test]
    fn keys_never_print() {
        let keys = Keys { admin: Secret::new("ghk_a".to_owned()), client: Secret::new("ghk_b".to_owned()) };
        assert!(!format!("{keys:?}").contains("ghk_"));
    }
}
