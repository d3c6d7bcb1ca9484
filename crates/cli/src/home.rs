//! The folder of `gatehouse up`: which one it is and the files in it that the command itself reads and writes.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// No file that this command reads from the folder is larger.
const LARGEST_FILE: u64 = 64 << 10;

/// A data folder, by its absolute path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Home(PathBuf);

impl Home {
    /// The folder that was named, else `~/.gatehouse`.
    pub(crate) fn find(named: Option<&Path>) -> Result<Self, Failure> {
        let path = match named {
            Some(path) => path.to_owned(),
            None => std::env::home_dir()
                .ok_or_else(|| Failure::Usage("no home folder: name one with --data-dir".to_owned()))?
                .join(".gatehouse"),
        };
        std::path::absolute(&path)
            .map(Self)
            .map_err(|error| Failure::caused(format!("can't use {} as data folder", path.display()), error))
    }

    /// Makes the folder, for its owner only, where it is missing.
    pub(crate) fn create(&self) -> Result<(), Failure> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(|error| Failure::caused(format!("can't make {}", self.0.display()), error))
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// A file of the folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Takes the folder for one `up`. The lock ends with the process, however it ends.
    pub(crate) fn lock(&self) -> Result<File, Failure> {
        let path = self.file("lock");
        let told = |error| Failure::caused(format!("can't lock {}", path.display()), error);
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(told)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => {
                Err(Failure::Taken(format!("another `gatehouse up` runs on {}", self.0.display())))
            }
            Err(fs::TryLockError::Error(error)) => Err(told(error)),
        }
    }
}

/// Reads a small text file; `None` where there is none.
pub(crate) fn read_small(path: &Path) -> Result<Option<String>, Failure> {
    let told = |error| Failure::caused(format!("can't read {}", path.display()), error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(told(error)),
    };
    let mut text = String::new();
    file.take(LARGEST_FILE).read_to_string(&mut text).map_err(told)?;
    Ok(Some(text))
}

/// Reads a small text file that holds a secret: refused where others than its owner may read it.
pub(crate) fn read_secret(path: &Path) -> Result<Option<String>, Failure> {
    if let Ok(metadata) = fs::metadata(path)
        && metadata.permissions().mode() & 0o077 != 0
    {
        let path = path.display();
        return Err(Failure::NoKey(format!("{path} can be read by others: run `chmod 600 {path}` first")));
    }
    read_small(path)
}

/// Replaces a file as a whole, with this mode from its first byte on: a reader sees the old text or the new.
pub(crate) fn replace(path: &Path, mode: u32, text: &str) -> Result<(), Failure> {
    let beside = path.with_extension("new");
    let write = || -> io::Result<()> {
        // A left-over of a run that was killed here might have another mode.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().create_new(true).write(true).mode(mode).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|error| Failure::caused(format!("can't write {}", path.display()), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_taken_by_one_up_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::find(Some(folder.path())).unwrap();
        let first = home.lock().unwrap();
        assert_eq!(home.lock().unwrap_err().exit_code(), 6);
        drop(first);
        assert!(home.lock().is_ok());
    }

    #[test]
    fn a_new_folder_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::find(Some(&folder.path().join("a/b"))).unwrap();
        home.create().unwrap();
        assert_eq!(fs::metadata(home.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_replaced_file_has_its_mode_and_its_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        fs::write(folder.path().join("keys.new"), "left over").unwrap();
        replace(&path, 0o600, "one").unwrap();
        replace(&path, 0o600, "two").unwrap();
        assert_eq!(read_secret(&path).unwrap().as_deref(), Some("two"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        replace(&path, 0o644, "{}").unwrap();
        assert_eq!(read_secret(&path).unwrap_err().exit_code(), 4);
        assert_eq!(read_small(&folder.path().join("absent")).unwrap(), None);
    }
}
