//! When the last good table is written: a second after a change, at once for a revocation.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::{Digest, ResourceName, Revision};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::last_good::LastGood;
use crate::table::Tables;
use crate::timers::scaled;

/// Changes that come within it are written together.
const DEBOUNCE: Duration = Duration::from_secs(1);

/// Writes the last good table. Clones share one writer.
#[derive(Clone)]
pub(super) struct Saver {
    shared: Arc<Shared>,
}

struct Shared {
    last_good: LastGood,
    tables: Arc<Tables>,
    /// What the table is at.
    revision: Mutex<Revision>,
    changed: Notify,
    stop: CancellationToken,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Saver {
    /// Starts the writer; it ends after `shutdown`, with a last write.
    pub(super) fn start(
        last_good: LastGood,
        tables: Arc<Tables>,
        revision: Revision,
        shutdown: CancellationToken,
    ) -> Self {
        let shared = Arc::new(Shared {
            last_good,
            tables,
            revision: Mutex::new(revision),
            changed: Notify::new(),
            stop: shutdown,
            writer: Mutex::new(None),
        });
        let writer = tokio::spawn(write(shared.clone()));
        *shared.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
        Self { shared }
    }

    /// What the table is at.
    pub(super) fn revision(&self) -> Revision {
        self.shared.revision()
    }

    /// The table is at `revision` now: write it soon.
    pub(super) fn changed(&self, revision: Revision) {
        self.shared.set(revision);
        self.shared.changed.notify_one();
    }

    /// The table is at `revision` now and something was taken from a key: on disk when this returns.
    pub(super) async fn revoked(
        &self,
        revision: Revision,
        revoked: Vec<(ResourceName, Digest)>,
    ) -> std::io::Result<()> {
        self.shared.set(revision);
        let shared = self.shared.clone();
        let written = spawn_blocking(move || shared.last_good.save_revocation(&revoked, || shared.state()));
        written.await.map_err(std::io::Error::other)?
    }

    /// A revocation that could not be written is written now. Until it is, control must not hear that
    /// the table is without what was revoked: after a restart it would not be.
    pub(super) async fn pay(&self) -> std::io::Result<()> {
        let shared = self.shared.clone();
        let paid = spawn_blocking(move || shared.last_good.pay(|| shared.state()));
        paid.await.map_err(std::io::Error::other)?
    }

    /// Waits for the last write after the shutdown.
    pub(super) async fn finish(&self) {
        let writer = self.shared.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            _ = writer.await;
        }
    }
}

impl Shared {
    fn revision(&self) -> Revision {
        *self.revision.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, revision: Revision) {
        *self.revision.lock().unwrap_or_else(PoisonError::into_inner) = revision;
    }

    /// The revision first: if the table moves on in between, the file claims less than it holds,
    /// which the next attach puts right.
    fn state(&self) -> (Revision, Vec<model::Resource>) {
        (self.revision(), self.tables.resources())
    }
}

async fn write(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.changed.notified() => tokio::select! {
                () = tokio::time::sleep(scaled(DEBOUNCE)) => (),
                () = shared.stop.cancelled() => (),
            },
            () = shared.stop.cancelled() => return,
        }
        let writing = shared.clone();
        let written = spawn_blocking(move || writing.last_good.save(|| writing.state())).await;
        if let Err(error) = written.map_err(std::io::Error::other).flatten() {
            tracing::error!(%error, alarm = true, "the last good table can't be written");
        }
        if shared.stop.is_cancelled() {
            return;
        }
    }
}
