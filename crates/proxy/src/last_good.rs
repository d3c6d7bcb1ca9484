//! The last good table on disk, from which the proxy starts when control is away.
//!
//! Two generations of the table, a small log of revocations and the fleet's sealing keys, each a
//! file of its own, authenticated with a key of this node and replaced atomically. No secret of a
//! tenant is in any of them. A revocation is in both generations before it is acknowledged, so no
//! file that survives a crash brings a revoked key back.

mod file;
mod revocations;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Digest, Resource, ResourceName, Revision, crash_here};
use wire::{FleetKeys, Peer, peers_from_bytes, peers_to_bytes, table_from_bytes, table_to_bytes};

use self::file::{Folder, Purpose};
use self::revocations::Revocations;
use crate::seal::{FleetKey, Sealer};
use crate::table::{Change, Tables};

const NEWEST: &str = "table";
const OLDER: &str = "table.1";
const KEYS: &str = "sealing-keys";
const PEERS: &str = "peers";

/// The folder of the last good table. Clones share it.
#[derive(Clone)]
pub struct LastGood {
    shared: Arc<Shared>,
}

struct Shared {
    folder: Folder,
    /// Held while files are written, so that an older state never overwrites a newer one.
    write: Mutex<Revocations>,
}

/// What was on disk.
#[derive(Debug, Default)]
pub struct Loaded {
    /// What the table was at.
    pub revision: Revision,
    /// What it held.
    pub resources: Vec<Resource>,
    /// The fleet's sealing keys as they were last fetched.
    pub keys: Option<FleetKeys>,
}

/// The folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LastGoodError {
    /// It can't be read or written.
    #[error("can't use {}", path.display())]
    File {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The node's key must be this process's alone.
    #[error("{} can be read by others: its mode must be 0600", path.display())]
    OpenToOthers {
        /// The key's file.
        path: PathBuf,
    },
    /// The node's key is not what this program wrote.
    #[error("{} is not a key of 32 bytes: remove it to start with an empty table", path.display())]
    Key {
        /// The key's file.
        path: PathBuf,
    },
    /// The machine has no randomness.
    #[error("no randomness for the node's key")]
    Random,
}

impl LastGood {
    /// Opens the folder; makes it and the node's key at the first start.
    pub fn open(dir: &Path) -> Result<Self, LastGoodError> {
        let folder = Folder::open(dir)?;
        let revocations = Revocations::load(&folder);
        Ok(Self { shared: Arc::new(Shared { folder, write: Mutex::new(revocations) }) })
    }

    /// The same for every start from this folder; tells nothing of the node's key.
    pub fn instance(&self) -> String {
        self.shared.folder.instance()
    }

    /// When control was last heard of, in microseconds since 1970: a proxy that starts again alone
    /// does not get a new day of trust. `None` without a table.
    pub fn heard(&self) -> Option<i64> {
        let modified = self.shared.folder.modified(NEWEST)?;
        let since = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_micros()).ok()
    }

    /// Control is there at `now`, microseconds since 1970: kept as the time of the newest generation.
    pub fn note_heard(&self, now: i64) {
        let at = std::time::UNIX_EPOCH + std::time::Duration::from_micros(now.max(0) as u64);
        if let Err(error) = self.shared.folder.set_modified(NEWEST, at) {
            tracing::debug!(%error, "the time of the last good table can't be kept");
        }
    }

    /// What is on disk: the newest generation; if that can't be believed, the older one, but only
    /// if it holds every revocation; else nothing. Never a part of a table.
    pub fn load(&self) -> Loaded {
        let revocations = self.write();
        let folder = &self.shared.folder;
        let read = |name| folder.read(Purpose::Table, name).and_then(|bytes| table_from_bytes(&bytes).ok());
        let table = match read(NEWEST) {
            Some(mut table) => {
                // A crash between the log and the table leaves a revoked key in the table, and a grant out of it.
                table.resources.retain_mut(|resource| !revocations.revokes(resource) || shut_out(resource));
                revocations.take_back(&mut table.resources);
                Some(table)
            }
            None => {
                let older = read(OLDER);
                let mut usable = older.filter(|table| {
                    revocations.readable() && !table.resources.iter().any(|resource| revocations.revokes(resource))
                });
                if let Some(table) = &mut usable {
                    revocations.take_back(&mut table.resources);
                }
                let first_start = !folder.has(NEWEST) && usable.is_none();
                if !first_start {
                    tracing::warn!(
                        older_serves = usable.is_some(),
                        "the newest generation of the last good table can't be used"
                    );
                }
                usable
            }
        };
        let keys = folder.read(Purpose::Keys, KEYS).and_then(|bytes| file::unpack_keys(&bytes));
        let (revision, resources) = table.map(|table| (table.revision, table.resources)).unwrap_or_default();
        Loaded { revision, resources, keys }
    }

    /// Loads what is on disk into `tables` and `sealer`; answers what the table is at.
    pub fn restore(&self, tables: &Tables, sealer: &Sealer) -> Revision {
        let Loaded { revision, resources, keys } = self.load();
        let rejected = tables.apply(Change { replace_all: true, upserts: resources, removes: vec![] });
        for (name, reason) in rejected {
            tracing::warn!(%name, reason, "a resource of the last good table was not taken");
        }
        if let Some(keys) = keys {
            set_keys(sealer, &keys);
        }
        revision
    }

    /// Writes the state that `now` answers as the newest generation; the newest becomes the older
    /// one, unless a revocation is owed, which goes first. `now` is asked when nothing newer can be
    /// written in between.
    pub(crate) fn save(&self, now: impl FnOnce() -> (Revision, Vec<Resource>)) -> io::Result<()> {
        let mut revocations = self.write();
        let (revision, resources) = now();
        let folder = &self.shared.folder;
        let forgiven = revocations.forgive(&resources);
        if revocations.owed() {
            return write_revocations(folder, &mut revocations, revision, &resources);
        }
        if forgiven {
            revocations.save(folder)?;
        }
        let staged = folder.stage(Purpose::Table, NEWEST, &table_to_bytes(revision, &resources))?;
        crash_here("lkg.written");
        folder.keep_as(NEWEST, OLDER)?;
        folder.commit(staged)?;
        crash_here("lkg.renamed");
        Ok(())
    }

    /// Writes a state in which `revoked` versions of resources no longer count: into the log and
    /// both generations, all synced before this returns. If that can't be done the generations are
    /// removed: better an empty table after a restart than a revoked key in it. If even that fails
    /// the revocation is owed: every later save tries it again.
    pub(crate) fn save_revocation(
        &self,
        revoked: &[(ResourceName, Digest)],
        now: impl FnOnce() -> (Revision, Vec<Resource>),
    ) -> io::Result<()> {
        let mut revocations = self.write();
        revocations.add(revoked);
        let (revision, resources) = now();
        revocations.forgive(&resources);
        write_revocations(&self.shared.folder, &mut revocations, revision, &resources)
    }

    /// Writes what is owed to the disk; nothing happens if nothing is.
    pub(crate) fn pay(&self, now: impl FnOnce() -> (Revision, Vec<Resource>)) -> io::Result<()> {
        let mut revocations = self.write();
        if !revocations.owed() {
            return Ok(());
        }
        let (revision, resources) = now();
        write_revocations(&self.shared.folder, &mut revocations, revision, &resources)
    }

    /// Keeps the fleet's sealing keys, so that session ids survive a restart without control.
    pub(crate) fn save_keys(&self, keys: &FleetKeys) -> io::Result<()> {
        let _write = self.write();
        let folder = &self.shared.folder;
        let staged = folder.stage(Purpose::Keys, KEYS, &file::pack_keys(keys))?;
        folder.commit(staged)
    }

    /// Keeps who the other proxies of the pool are.
    pub(crate) fn save_peers(&self, peers: &[Peer]) -> io::Result<()> {
        let _write = self.write();
        let folder = &self.shared.folder;
        let staged = folder.stage(Purpose::Peers, PEERS, &peers_to_bytes(peers))?;
        folder.commit(staged)
    }

    /// Who they were when control was last heard of; nobody if that is not known.
    pub(crate) fn load_peers(&self) -> Vec<Peer> {
        let kept = self.shared.folder.read(Purpose::Peers, PEERS);
        kept.and_then(|bytes| peers_from_bytes(&bytes).ok()).unwrap_or_default()
    }

    fn write(&self) -> MutexGuard<'_, Revocations> {
        self.shared.write.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a user whose version was revoked as one who may not come in; without a record they would be a stranger, and
/// some issuers let strangers in. Answers whether that is what it was.
fn shut_out(resource: &mut Resource) -> bool {
    let Resource::User(user) = resource else { return false };
    user.active = false;
    true
}

fn write_revocations(
    folder: &Folder,
    revocations: &mut Revocations,
    revision: Revision,
    resources: &[Resource],
) -> io::Result<()> {
    let bytes = table_to_bytes(revision, resources);
    let mut written = || {
        revocations.save(folder)?;
        let older = folder.stage(Purpose::Table, OLDER, &bytes)?;
        let newest = folder.stage(Purpose::Table, NEWEST, &bytes)?;
        crash_here("lkg.written");
        folder.commit(older)?;
        folder.commit(newest)
    };
    if let Err(error) = written() {
        tracing::error!(%error, alarm = true, "a revocation can't be written: the last good table is removed");
        folder.remove(&[NEWEST, OLDER])?;
    }
    revocations.paid();
    crash_here("lkg.renamed");
    Ok(())
}

/// Hands keys over to the sealer.
pub(crate) fn set_keys(sealer: &Sealer, keys: &FleetKeys) {
    let key = |key: &wire::SealingKey| FleetKey { id: key.id, key: key.key };
    sealer.set_keys(key(&keys.current), keys.previous.as_ref().map(key));
}

#[cfg(test)]
mod tests;
