//! Files that are whole, ours and private: SHA-256 against damage, HMAC against strangers, 0600,
//! written beside and renamed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use wire::{FleetKeys, SealingKey};
use zeroize::Zeroizing;

use super::LastGoodError;

const MAGIC: &[u8; 8] = b"GHFILE\0\x01";
const NODE_KEY: &str = "node.key";
/// 64 MiB of push and what surrounds it; more is not ours.
const MAX_BYTES: u64 = 80 << 20;

/// What a file is for; a file of one purpose is never taken for another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A generation of the table.
    Table = 1,
    /// The log of revocations.
    Revocations = 2,
    /// The fleet's sealing keys.
    Keys = 3,
    /// The other proxies of the pool.
    Peers = 4,
}

/// The folder, and the key that authenticates its files.
pub(super) struct Folder {
    dir: PathBuf,
    mac: hmac::Key,
}

/// A file that is written and synced, and not yet in its place.
pub(super) struct Staged {
    at: PathBuf,
    to: PathBuf,
}

impl Folder {
    /// Makes the folder and the key if they aren't there.
    pub(super) fn open(dir: &Path) -> Result<Self, LastGoodError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed(dir))?;
        let path = dir.join(NODE_KEY);
        if !path.exists() {
            let mut key = Zeroizing::new([0; 32]);
            SystemRandom::new().fill(key.as_mut_slice()).map_err(|_| LastGoodError::Random)?;
            let staged = stage(dir, NODE_KEY, key.as_slice()).map_err(failed(&path))?;
            fs::rename(&staged.at, &staged.to).and_then(|()| sync(dir)).map_err(failed(&path))?;
        }
        if fs::metadata(&path).map_err(failed(&path))?.mode() & 0o077 != 0 {
            return Err(LastGoodError::OpenToOthers { path });
        }
        let key = Zeroizing::new(fs::read(&path).map_err(failed(&path))?);
        if key.len() != 32 {
            return Err(LastGoodError::Key { path });
        }
        Ok(Self { dir: dir.to_owned(), mac: hmac::Key::new(hmac::HMAC_SHA256, &key) })
    }

    /// A name for the folder that is made of its key and doesn't tell it.
    pub(super) fn instance(&self) -> String {
        let tag = hmac::sign(&self.mac, b"gatehouse/instance");
        tag.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The content of a file that is whole, ours and for this purpose; `None` for any other.
    pub(super) fn read(&self, purpose: Purpose, name: &str) -> Option<Vec<u8>> {
        let path = self.dir.join(name);
        let size = fs::metadata(&path).ok()?.len();
        if size > MAX_BYTES {
            tracing::warn!(path = %path.display(), "a file is too large to be ours");
            return None;
        }
        let bytes = fs::read(&path).ok()?;
        let content = self.open_bytes(purpose, &bytes);
        if content.is_none() {
            tracing::warn!(path = %path.display(), "a file is damaged or not ours");
        }
        content
    }

    /// Writes and syncs a file beside its place.
    pub(super) fn stage(&self, purpose: Purpose, name: &str, content: &[u8]) -> io::Result<Staged> {
        let head = [&MAGIC[..], &[purpose as u8]].concat();
        let sum = digest(&SHA256, content);
        let mut mac = hmac::Context::with_key(&self.mac);
        [&head, content, sum.as_ref()].into_iter().for_each(|part| mac.update(part));
        let bytes = Zeroizing::new([&head, content, sum.as_ref(), mac.sign().as_ref()].concat());
        stage(&self.dir, name, &bytes)
    }

    /// Puts a staged file into its place, for good.
    pub(super) fn commit(&self, staged: Staged) -> io::Result<()> {
        fs::rename(&staged.at, &staged.to)?;
        sync(&self.dir)
    }

    /// Makes `as_name` what `name` is now; `name` stays. Nothing happens if there is no `name`.
    pub(super) fn keep_as(&self, name: &str, as_name: &str) -> io::Result<()> {
        let temporary = self.dir.join(format!("{as_name}.new"));
        _ = fs::remove_file(&temporary);
        match fs::hard_link(self.dir.join(name), &temporary) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            linked => linked.and_then(|()| fs::rename(&temporary, self.dir.join(as_name))),
        }
    }

    /// Removes files, for good. What can't be removed keeps none of the others.
    pub(super) fn remove(&self, names: &[&str]) -> io::Result<()> {
        let removed = names.iter().map(|name| match fs::remove_file(self.dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        });
        // All are tried before the first error counts.
        let removed: Vec<_> = removed.collect();
        removed.into_iter().collect::<io::Result<()>>()?;
        sync(&self.dir)
    }

    /// When a file was last written, or said to be.
    pub(super) fn modified(&self, name: &str) -> Option<SystemTime> {
        fs::metadata(self.dir.join(name)).ok()?.modified().ok()
    }

    /// Says when a file was last written.
    pub(super) fn set_modified(&self, name: &str, at: SystemTime) -> io::Result<()> {
        fs::File::options().write(true).open(self.dir.join(name))?.set_modified(at)
    }

    /// Whether there is a file of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.dir.join(name).exists()
    }

    fn open_bytes(&self, purpose: Purpose, bytes: &[u8]) -> Option<Vec<u8>> {
        let (signed, tag) = bytes.split_last_chunk::<32>()?;
        hmac::verify(&self.mac, signed, tag).ok()?;
        let (rest, sum) = signed.split_last_chunk::<32>()?;
        let content = rest.strip_prefix(MAGIC)?.strip_prefix(&[purpose as u8])?;
        (digest(&SHA256, content).as_ref() == sum).then(|| content.to_vec())
    }
}

fn stage(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<Staged> {
    let (at, to) = (dir.join(format!("{name}.new")), dir.join(name));
    _ = fs::remove_file(&at);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&at)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(Staged { at, to })
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> LastGoodError {
    let path = path.to_owned();
    move |source| LastGoodError::File { path, source }
}

/// `id | key`, the current one first.
pub(super) fn pack_keys(keys: &FleetKeys) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(72));
    for key in [Some(&keys.current), keys.previous.as_ref()].into_iter().flatten() {
        bytes.extend(key.id.to_be_bytes());
        bytes.extend(key.key);
    }
    bytes
}

/// Reads what [`pack_keys`] wrote.
pub(super) fn unpack_keys(bytes: &[u8]) -> Option<FleetKeys> {
    let mut keys = bytes.chunks(36).map(|chunk| {
        let (id, key) = chunk.split_first_chunk::<4>()?;
        Some(SealingKey { id: u32::from_be_bytes(*id), key: key.try_into().ok()? })
    });
    let current = keys.next()??;
    Some(FleetKeys { current, previous: keys.next().flatten() })
}
