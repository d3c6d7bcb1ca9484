//! The file that holds the key above all keys: 32 random bytes that nobody else may read.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::unistd::Uid;
use zeroize::Zeroizing;

use crate::VaultError;
use crate::derive::{self, Key};
use crate::reach::{is_closed, is_mounted_secret};

/// Makes the file. Never overwrites one: what it sealed would be lost.
pub(crate) fn create(path: &Path) -> Result<(), VaultError> {
    let key: Key = Zeroizing::new(derive::random()?);
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(key.as_slice())?;
        file.sync_all()?;
        // The name must survive a power cut too, or the database outlives its key.
        match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(|cause| VaultError::KeyFileUnwritable { path: path.to_owned(), cause })
}

/// Reads and judges the file. Mode and owner are those of the opened file, not of its name.
pub(crate) fn read(path: &Path) -> Result<Key, VaultError> {
    let unreadable = |cause| VaultError::KeyFileUnreadable { path: path.to_owned(), cause };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(VaultError::KeyFileKind { path: path.to_owned() });
    }
    if !is_closed(&metadata) {
        return Err(VaultError::KeyFileMode { path: path.to_owned(), mode: metadata.mode() & 0o7777 });
    }
    let user = Uid::effective().as_raw();
    if metadata.uid() != user && !is_mounted_secret(metadata.mode(), metadata.uid(), user) {
        return Err(VaultError::KeyFileOwner { path: path.to_owned(), owner: metadata.uid(), user });
    }
    // One byte of room more than a key has: a longer file is noticed and never read whole.
    let mut bytes = Zeroizing::new(Vec::with_capacity(33));
    file.take(33).read_to_end(&mut bytes).map_err(unreadable)?;
    let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| VaultError::KeyFileLength { path: path.to_owned() })?;
    let key = Zeroizing::new(key);
    if is_weak(&key) {
        return Err(VaultError::KeyFileWeak { path: path.to_owned() });
    }
    Ok(key)
}

/// One repeated byte, or text. 32 random bytes are all printable once in 10^13 files.
pub(crate) fn is_weak(key: &[u8; 32]) -> bool {
    let [first, rest @ ..] = key;
    rest.iter().all(|byte| byte == first)
        || key.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn file(folder: &tempfile::TempDir, bytes: &[u8], mode: u32) -> PathBuf {
        let path = folder.path().join("kek");
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    /// 32 bytes that look random enough.
    fn good() -> Vec<u8> {
        (0..32u8).map(|at| at.wrapping_mul(37) ^ 0x80).collect()
    }

    #[test]
    fn a_made_key_file_reads_back_and_is_closed_to_others() {
        let folder = folder();
        let path = folder.path().join("kek");
        create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let key = read(&path).unwrap();
        assert_eq!(key.as_slice(), std::fs::read(&path).unwrap());
    }

    #[test]
    fn a_key_file_is_never_overwritten() {
        let folder = folder();
        let path = file(&folder, &good(), 0o600);
        let refused = create(&path).unwrap_err();
        assert!(
            matches!(&refused, VaultError::KeyFileUnwritable { cause, .. } if cause.kind() == std::io::ErrorKind::AlreadyExists)
        );
        assert_eq!(std::fs::read(&path).unwrap(), good());
    }

    #[test]
    fn a_missing_key_file_is_refused() {
        let folder = folder();
        assert!(matches!(read(&folder.path().join("none")), Err(VaultError::KeyFileUnreadable { .. })));
        assert!(matches!(read(folder.path()), Err(VaultError::KeyFileKind { .. })));
    }

    #[test]
    fn a_key_file_that_others_can_reach_is_refused() {
        let folder = folder();
        for mode in [0o644, 0o640, 0o660, 0o604, 0o602, 0o601, 0o610] {
            let path = file(&folder, &good(), mode);
            assert!(
                matches!(read(&path), Err(VaultError::KeyFileMode { mode: found, .. }) if found == mode),
                "{mode:o}"
            );
        }
        for mode in [0o600, 0o400] {
            assert!(read(&file(&folder, &good(), mode)).is_ok(), "{mode:o}");
        }
    }

    #[test]
    fn only_32_bytes_are_a_key() {
        let folder = folder();
        for len in [0, 1, 16, 31, 33, 44, 64, 4096] {
            let path = file(&folder, &good().into_iter().cycle().take(len).collect::<Vec<_>>(), 0o600);
            assert!(matches!(read(&path), Err(VaultError::KeyFileLength { .. })), "{len}");
        }
    }

    #[test]
    fn a_password_is_not_a_key() {
        let folder = folder();
        for weak in
            [[0; 32].as_slice(), &[0xff; 32], b"correct horse battery staple 123", b"abcdefghijklmnopqrstuvwxyz01234\n"]
        {
            let path = file(&folder, weak, 0o600);
            assert!(matches!(read(&path), Err(VaultError::KeyFileWeak { .. })));
        }
    }

    #[test]
    fn every_refusal_names_the_file_and_shows_nothing_of_it() {
        let folder = folder();
        let path = file(&folder, b"correct horse battery staple 123", 0o600);
        let text = read(&path).unwrap_err().to_string();
        assert!(text.contains(path.to_str().unwrap()) && !text.contains("horse"), "{text}");
    }
}
