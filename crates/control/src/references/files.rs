//! Credentials in files of a folder.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use model::TenantId;
use zeroize::Zeroizing;

use super::{MAX_CREDENTIAL, ReferenceError};

/// What lies below `<root>/<tenant>/`. Links that stay there are followed: mounted secrets are made of them.
pub(super) fn read(root: &Path, tenant: TenantId, name: &[String]) -> Result<Zeroizing<Vec<u8>>, ReferenceError> {
    let root = fs::canonicalize(root).map_err(of_io)?;
    // Not a link to another tenant's folder either.
    let own = root.join(tenant.to_string());
    let path = name.iter().fold(own.clone(), |path, segment| path.join(segment));
    read_closed(&own, &path)
}

/// The content of a file that lies in the folder `own`, links followed, and that nobody else can read.
pub(crate) fn read_closed(own: &Path, path: &Path) -> Result<Zeroizing<Vec<u8>>, ReferenceError> {
    let real = fs::canonicalize(path).map_err(|error| match of_io(error) {
        // A link that leads to itself, or through a file.
        ReferenceError::Unavailable if fs::symlink_metadata(path).is_ok_and(|it| it.is_symlink()) => {
            ReferenceError::Outside
        }
        why => why,
    })?;
    if !real.starts_with(own) {
        return Err(ReferenceError::Outside);
    }
    let named = fs::symlink_metadata(&real).map_err(of_io)?;
    if !named.is_file() {
        return Err(if named.is_symlink() { ReferenceError::Outside } else { ReferenceError::Malformed });
    }
    let file = File::open(&real).map_err(of_io)?;
    let opened = file.metadata().map_err(of_io)?;
    // Somebody put something else in its place, or moved a folder on the way, since it was looked at.
    let moved = fs::canonicalize(path).map_err(of_io)? != real;
    if moved || (opened.dev(), opened.ino()) != (named.dev(), named.ino()) {
        return Err(ReferenceError::Unavailable);
    }
    if !vault::is_closed(&opened) {
        return Err(ReferenceError::Open);
    }
    // One byte of room more than a credential may have: a longer file is noticed and never read whole.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_CREDENTIAL + 1));
    let most = u64::try_from(MAX_CREDENTIAL + 1).unwrap_or(u64::MAX);
    file.take(most).read_to_end(&mut bytes).map_err(of_io)?;
    if bytes.len() > MAX_CREDENTIAL { Err(ReferenceError::Malformed) } else { Ok(bytes) }
}

fn of_io(error: std::io::Error) -> ReferenceError {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => ReferenceError::Missing,
        _ => ReferenceError::Unavailable,
    }
}
