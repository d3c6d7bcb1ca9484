//! The folder with certificates and keys: whole files or none, keys closed to others.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::Certified;

/// Why certificates can't be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file can't be read or written.
    #[error("can't use {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A private key that others may read is no private key.
    #[error("{} can be read by others: its mode must be 0600", path.display())]
    OpenToOthers {
        /// Which file.
        path: PathBuf,
    },
    /// A part of the CA is gone while certificates of it are there.
    #[error("{} is lost: restore it, or remove the whole folder to make a new plane", path.display())]
    LostAuthority {
        /// Which file.
        path: PathBuf,
    },
    /// The CA's key is not in the folder.
    #[error("the folder has no ca.key: certificates of this plane are made elsewhere")]
    NoAuthority,
    /// A certificate can't be made or understood.
    #[error("a certificate can't be made or understood")]
    Certificate(#[source] rcgen::Error),
    /// A certificate can't be read.
    #[error("a certificate can't be read")]
    Unreadable(#[from] super::PeerError),
    /// The pool is no slug.
    #[error("`{0}` is no name for a pool: 1 to 32 of a-z, 0-9 and -")]
    PoolName(String),
}

/// Makes the folder, closed to others.
pub(super) fn folder(dir: &Path) -> Result<(), PkiError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed(dir))
}

/// Whether both files are there.
pub(super) fn exists(dir: &Path, pair: (&str, &str)) -> bool {
    missing(dir, pair).is_none()
}

/// The file of the two that isn't there.
pub(super) fn missing(dir: &Path, (cert, key): (&str, &str)) -> Option<PathBuf> {
    [cert, key].map(|file| dir.join(file)).into_iter().find(|file| !file.exists())
}

/// Reads a certificate and its key.
pub(super) fn read(dir: &Path, (cert, key): (&str, &str)) -> Result<Certified, PkiError> {
    let (cert, key) = (dir.join(cert), dir.join(key));
    let about = fs::metadata(&key).map_err(failed(&key))?;
    if !vault::is_closed(&about) {
        return Err(PkiError::OpenToOthers { path: key });
    }
    Ok(Certified {
        cert: fs::read_to_string(&cert).map_err(failed(&cert))?,
        key: fs::read_to_string(&key).map_err(failed(&key))?,
    })
}

/// Reads a file that everybody may read.
pub(super) fn read_public(dir: &Path, file: &str) -> Result<String, PkiError> {
    let path = dir.join(file);
    fs::read_to_string(&path).map_err(failed(&path))
}

/// Writes both files, the certificate last: where it is, the key that belongs to it is too.
pub(super) fn write(dir: &Path, (cert, key): (&str, &str), certified: &Certified) -> Result<(), PkiError> {
    replace(&dir.join(key), &certified.key, 0o600)?;
    replace(&dir.join(cert), &certified.cert, 0o644)
}

/// Writes a file that everybody may read.
pub(super) fn write_public(dir: &Path, file: &str, text: &str) -> Result<(), PkiError> {
    replace(&dir.join(file), text, 0o644)
}

fn replace(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let temporary = path.with_extension("new");
    let written = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    written().map_err(failed(path))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> PkiError {
    let path = path.to_owned();
    move |source| PkiError::File { path, source }
}
