//! Prepares a deployment that has its own configuration: what its files and its database lack is made,
//! what is there stays. Made to be run before each start, by one process at a time.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use model::SystemClock;
use store::Store;
use vault::LocalKek;

use super::{InitError, Made, first_tenant};
use crate::Config;
use crate::pki::Pki;

/// Makes the key file, the plane's certificates, the schema, a first tenant and its two keys. `show`
/// gets the keys when everything else is there; if it fails, `new_keys` makes others.
pub async fn prepare(
    config: &Config,
    new_keys: bool,
    show: impl FnOnce(&Made) -> io::Result<()>,
) -> Result<(), InitError> {
    let store = Store::connect(config.database.expose(), Arc::new(SystemClock)).await?;
    // Whatever was ever committed raised it.
    let known = store.platform().revision().await?.seq > 0;
    if let Some(file) = &config.kek.file {
        key_file(file, known)?;
    }
    Pki::found(&config.pki_dir)?;
    let made = if known && !new_keys { Made::Existing } else { first_tenant(&store).await? };
    store.close().await?;
    show(&made).map_err(InitError::Show)
}

/// A new key file beside a database that was sealed with another one would lose what is in it.
fn key_file(path: &Path, known: bool) -> Result<(), InitError> {
    if path.exists() {
        return Ok(());
    }
    if known {
        let loss = "what it sealed in the database can't be read without it";
        return Err(InitError::Gone { path: path.to_owned(), loss });
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|cause| InitError::File { path: folder.to_owned(), cause })?;
    }
    Ok(LocalKek::init(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path) -> Config {
        let database = format!("sqlite://{}?mode=rwc", dir.join("gatehouse.db").display());
        let (kek, pki) = (dir.join("secrets/kek"), dir.join("pki"));
        Config::parse(&format!("database = {database:?}\nkek_file = {kek:?}\npki_dir = {pki:?}\n")).unwrap()
    }

    /// What a run shows: whether keys, and the admin's.
    async fn run(dir: &Path, new_keys: bool) -> Result<Option<String>, InitError> {
        let mut shown = None;
        prepare(&config(dir), new_keys, |made| {
            if let Made::Keys { admin, .. } = made {
                shown = Some(admin.expose().to_owned());
            }
            Ok(())
        })
        .await?;
        Ok(shown)
    }

    #[tokio::test]
    async fn the_first_run_makes_everything_and_later_ones_change_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let first = run(dir.path(), false).await.unwrap();
        assert!(first.is_some());
        let ca = || fs::read(dir.path().join("pki/ca.pem")).unwrap();
        let before = ca();
        assert!(!dir.path().join("pki/proxy.pem").exists(), "nodes get theirs one by one");
        assert_eq!(run(dir.path(), false).await.unwrap(), None);
        let again = run(dir.path(), true).await.unwrap();
        assert!(again.is_some() && again != first);
        assert_eq!(ca(), before);
    }

    #[tokio::test]
    async fn a_lost_key_file_is_not_made_anew_beside_the_data_that_needs_it() {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), false).await.unwrap();
        let kek = dir.path().join("secrets/kek");
        fs::remove_file(&kek).unwrap();
        for new_keys in [false, true] {
            let refused = run(dir.path(), new_keys).await.unwrap_err();
            assert!(matches!(&refused, InitError::Gone { path, .. } if *path == kek), "{refused}");
        }
        assert!(!kek.exists());
    }
}
