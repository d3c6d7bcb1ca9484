//! New keys in place of old ones, while everything is in use: the KEK above all data keys, or data keys above all that
//! tenants have sealed.
//!
//! Work goes page by page, and how far it is stands in the database: whichever replica finds a job that nobody works on
//! goes on with it. Nothing is written over: a value that somebody changed meanwhile is theirs, and sealed under the new
//! key already. Data keys that nothing refers to any more are destroyed at the end, when no writer can hold one still.

mod cursor;

use std::sync::Arc;
use std::time::Duration;

use model::{Clock, TenantId, crash_here};
use store::{Actor, JobState, KeyState, Resealed, Store, StoreError, TenantKey, VaultJob};
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;
use vault::PLATFORM;

use self::cursor::Cursor;
use crate::keyring::{Keyring, KeyringError};
use crate::timers::{micros, scaled};

/// Rows of one transaction.
const PAGE: u32 = 200;
/// For how long a job is somebody's who says nothing.
const LEASE: Duration = Duration::from_secs(15);
/// How often is looked for a job that nobody works on.
const EVERY: Duration = Duration::from_secs(5);
/// Between two pages: others want the database too.
const PAUSE: Duration = Duration::from_millis(20);
/// How long somebody who sealed with the key of before may take to write it: longer than any change is given.
const SETTLED: Duration = Duration::from_secs(60);

/// How long a data key seals. What it may seal by then is far below what the cipher bears, as each value has a key of its
/// own made of it.
const LIFE: i64 = 365 * 24 * 3_600 * 1_000_000;
/// How often is looked for data keys that are older, and how many are begun with each time: the others have time.
const LOOK: Duration = Duration::from_secs(3_600);
const AT_ONCE: usize = 20;

/// What is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// All data keys are wrapped under the KEK that writes.
    Kek,
    /// The data keys of a tenant, or of all and the platform, make room for new ones.
    DataKeys(Option<TenantId>),
}

impl What {
    const KEK: &str = "kek";
    const TENANT: &str = "tenant";

    fn words(self) -> (&'static str, Option<TenantId>) {
        match self {
            Self::Kek => (Self::KEK, None),
            Self::DataKeys(tenant) => (Self::TENANT, tenant),
        }
    }

    fn of(job: &VaultJob) -> Option<Self> {
        match job.what.as_str() {
            Self::KEK => Some(Self::Kek),
            Self::TENANT => Some(Self::DataKeys(job.tenant)),
            _ => None,
        }
    }
}

/// Why a job can't go on now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RotationError {
    /// The database.
    #[error("the database can't be used")]
    Store(#[from] StoreError),
    /// The vault, or whoever holds the KEK.
    #[error("the vault can't be used")]
    Keyring(#[from] KeyringError),
}

/// What became of one stretch of work.
enum Step {
    /// There is more.
    On,
    /// Somebody may still write with the key of before.
    Wait,
    /// Nothing is left; what could not be done, if anything.
    End(Option<String>),
    /// Another replica has the job.
    Lost,
}

/// Does the jobs of all replicas that this one can have.
pub(crate) struct Rotation {
    store: Store,
    keyring: Arc<Keyring>,
    clock: Arc<dyn Clock>,
    /// New at every start: a job of an earlier life is not ours.
    owner: Uuid,
    wanted: Notify,
}

impl Rotation {
    /// Does nothing until [`Rotation::run_forever`].
    pub(crate) fn new(store: Store, keyring: Arc<Keyring>, clock: Arc<dyn Clock>) -> Self {
        Self { store, keyring, clock, owner: Uuid::new_v4(), wanted: Notify::new() }
    }

    /// Begins a job that somebody asks for, or tells the one that is under way already.
    pub(crate) async fn begin(&self, actor: &Actor, what: What) -> Result<VaultJob, StoreError> {
        let platform = self.store.platform();
        let total = match what {
            What::Kek => platform.keks_in_use().await?.iter().map(|(_, keys)| keys).sum(),
            What::DataKeys(tenant) => platform.sealed_value_count(tenant).await?,
        };
        let (word, tenant) = what.words();
        let job = platform.begin_vault_job(actor, word, tenant, total).await?;
        self.wanted.notify_one();
        Ok(job)
    }

    /// Goes on with whatever nobody works on, for as long as the process lives.
    pub(crate) async fn run_forever(&self) {
        let mut look = Instant::now();
        loop {
            if Instant::now() >= look {
                look = Instant::now() + LOOK;
                if let Err(error) = self.begin_what_is_due().await {
                    tracing::warn!(error = %telemetry::chain(&error), "nobody knows now whether data keys are too old");
                }
            }
            if let Err(error) = self.work().await {
                tracing::warn!(error = %telemetry::chain(&error), "the rotation of keys can't go on now");
            }
            tokio::select! {
                () = self.wanted.notified() => (),
                () = tokio::time::sleep(scaled(EVERY)) => (),
            }
        }
    }

    /// Begins to rotate data keys that have sealed for a year. The platform's own go with all others.
    async fn begin_what_is_due(&self) -> Result<(), StoreError> {
        let oldest = self.clock.now_micros().saturating_sub(LIFE);
        let (mut after, mut due) = (None, Vec::new());
        while due.len() < AT_ONCE {
            let rows = self.store.platform().tenant_keys_after(after, PAGE).await?;
            let old = rows.iter().filter(|row| row.state == KeyState::Primary && row.created_at <= oldest);
            due.extend(old.map(|row| row.tenant));
            after = rows.last().map(|row| (row.tenant, row.id));
            if after.is_none() {
                break;
            }
        }
        due.truncate(AT_ONCE);
        for tenant in due {
            let of_one = (tenant != PLATFORM).then_some(tenant);
            let job = self.begin(&Actor::system("rotation"), What::DataKeys(of_one)).await?;
            tracing::info!(%tenant, since = job.created_at, "a data key is a year old and makes room for a new one");
        }
        Ok(())
    }

    /// Works on every job that can be had, to its end.
    pub(crate) async fn work(&self) -> Result<(), RotationError> {
        let jobs = self.store.platform().vault_jobs().await?;
        for job in jobs.iter().filter(|job| job.state == JobState::Running) {
            let Some(what) = What::of(job) else { continue };
            let platform = self.store.platform();
            let taken = platform.take_vault_job(&job.what, job.tenant, self.owner, scaled(LEASE)).await?;
            if let Some(job) = taken {
                self.finish(what, job).await?;
            }
        }
        Ok(())
    }

    async fn finish(&self, what: What, mut job: VaultJob) -> Result<(), RotationError> {
        let platform = self.store.platform();
        loop {
            let step = match what {
                What::Kek => self.rewrap_some(&mut job).await?,
                What::DataKeys(tenant) => self.reseal_some(tenant, &mut job).await?,
            };
            crash_here("rotation.page");
            match step {
                Step::On => tokio::time::sleep(scaled(PAUSE)).await,
                Step::Wait => {
                    // The others' jobs can wait that long, and this one stays ours.
                    tokio::time::sleep(scaled(EVERY)).await;
                    if !platform.advance_vault_job(&job, job.cursor.as_deref(), job.done, scaled(LEASE)).await? {
                        return Ok(());
                    }
                }
                Step::Lost => return Ok(()),
                Step::End(failure) => {
                    platform.end_vault_job(&job, failure.as_deref()).await?;
                    match failure {
                        Some(why) => tracing::error!(what = job.what, why, "keys were rotated but for some"),
                        None => tracing::info!(what = job.what, done = job.done, "keys were rotated"),
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Notes how far the job is; `None` if it is another's.
    async fn note(&self, job: &mut VaultJob, cursor: &Cursor, done: u64) -> Result<Step, StoreError> {
        let text = cursor.to_string();
        let kept = self.store.platform().advance_vault_job(job, Some(&text), done, scaled(LEASE)).await?;
        (job.cursor, job.done) = (Some(text), done);
        Ok(if kept { Step::On } else { Step::Lost })
    }

    /// Wraps the next page of data keys under the KEK that writes.
    async fn rewrap_some(&self, job: &mut VaultJob) -> Result<Step, RotationError> {
        let (after, mut failed) = match Cursor::parse(job.cursor.as_deref()) {
            Some(Cursor::Keys { after, failed }) => (after, failed),
            _ => (None, 0),
        };
        let rows = self.store.platform().tenant_keys_after(after, PAGE).await?;
        let Some(last) = rows.last().map(|row| (row.tenant, row.id)) else {
            let why = format!("{failed} data keys can't be opened: the key above them is not configured here");
            return Ok(Step::End((failed > 0).then_some(why)));
        };
        for row in &rows {
            match self.keyring.rewrap(row).await {
                // One that was changed meanwhile is somebody else's doing: the writing KEK's, or destroyed.
                Ok(_) => (),
                Err(KeyringError::Unreadable(error)) => {
                    tracing::error!(tenant = %row.tenant, key = row.id, %error, "a data key can't be opened");
                    failed += 1;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let done = job.done.saturating_add(rows.len() as u64);
        Ok(self.note(job, &Cursor::Keys { after: Some(last), failed }, done).await?)
    }

    /// New keys first, then the values page by page, then the end of the old keys.
    async fn reseal_some(&self, tenant: Option<TenantId>, job: &mut VaultJob) -> Result<Step, RotationError> {
        match Cursor::parse(job.cursor.as_deref()) {
            None | Some(Cursor::Keys { .. }) => {
                self.make_keys(tenant, job.created_at).await?;
                crash_here("rotation.keys_made");
                Ok(self.note(job, &Cursor::first_values(false), 0).await?)
            }
            Some(Cursor::Values { last, at, failed, held }) => {
                self.reseal_page(tenant, job, last, at.as_deref(), failed, held).await
            }
            Some(Cursor::Settling) => {
                let since = self.newest(tenant).await?;
                if self.clock.now_micros().saturating_sub(since) < micros(scaled(SETTLED)) {
                    return Ok(Step::Wait);
                }
                // Whatever was written late is found by a second look, which is the last one.
                Ok(self.note(job, &Cursor::first_values(true), job.done).await?)
            }
        }
    }

    /// A new primary key for each tenant that has one of before the job.
    async fn make_keys(&self, tenant: Option<TenantId>, began: i64) -> Result<(), RotationError> {
        let mut after = None;
        loop {
            let rows = match tenant {
                Some(tenant) => self.store.platform().tenant_keys(tenant).await?,
                None => self.store.platform().tenant_keys_after(after, PAGE).await?,
            };
            let old = |row: &&TenantKey| row.state == KeyState::Primary && row.created_at < began;
            for row in rows.iter().filter(old) {
                let keys = self.store.platform().tenant_keys(row.tenant).await?;
                match self.keyring.make_key(row.tenant, &keys).await {
                    // A tenant that was deleted meanwhile has nothing to seal.
                    Ok(_) | Err(KeyringError::Store(StoreError::NotFound)) => (),
                    Err(error) => return Err(error.into()),
                }
            }
            after = rows.last().map(|row| (row.tenant, row.id));
            if tenant.is_some() || after.is_none() {
                return Ok(());
            }
        }
    }

    /// When the newest of the keys that seal was made.
    async fn newest(&self, tenant: Option<TenantId>) -> Result<i64, StoreError> {
        let (mut after, mut newest) = (None, 0);
        loop {
            let rows = match tenant {
                Some(tenant) => self.store.platform().tenant_keys(tenant).await?,
                None => self.store.platform().tenant_keys_after(after, PAGE).await?,
            };
            let sealing = rows.iter().filter(|row| row.state == KeyState::Primary);
            newest = sealing.map(|row| row.created_at).fold(newest, i64::max);
            after = rows.last().map(|row| (row.tenant, row.id));
            if tenant.is_some() || after.is_none() {
                return Ok(newest);
            }
        }
    }

    async fn reseal_page(
        &self,
        tenant: Option<TenantId>,
        job: &mut VaultJob,
        last: bool,
        at: Option<&str>,
        mut failed: u64,
        mut held: bool,
    ) -> Result<Step, RotationError> {
        let page = self.store.platform().sealed_values_after(tenant, at, PAGE).await?;
        let read = page.values.len() as u64;
        let mut resealed = Vec::new();
        for value in page.values {
            match self.resealed(&value).await {
                Ok(Some(sealed)) => resealed.push(Resealed { value, sealed }),
                Ok(None) => (),
                Err(KeyringError::Unreadable(error)) => {
                    let (tenant, kind, record) = (value.tenant, value.kind, value.record);
                    tracing::error!(%tenant, kind, %record, %error, "a secret can't be opened and is left as it is");
                    (failed, held) = (failed + u64::from(last), true);
                }
                Err(error) => return Err(error.into()),
            }
        }
        let late = resealed.len() as u64;
        if late > 0 && self.store.platform().replace_sealed_values(resealed).await? < late {
            // Somebody was first with at least one: with the new key, unless they began before it was there.
            held |= last;
        }
        let done = if last { job.done } else { job.done.saturating_add(read).min(job.total.max(job.done)) };
        match page.next {
            Some(next) => {
                let cursor = Cursor::Values { last, at: Some(next), failed, held };
                Ok(self.note(job, &cursor, done).await?)
            }
            None if !last => Ok(self.note(job, &Cursor::Settling, job.total).await?),
            None => {
                if !held {
                    self.destroy_old(tenant).await?;
                }
                let why = format!("{failed} secrets can't be opened: they were left as they are, and so were the keys");
                Ok(Step::End((failed > 0).then_some(why)))
            }
        }
    }

    /// The value under the key that seals now; `None` if it is already.
    async fn resealed(&self, value: &store::SealedValue) -> Result<Option<Vec<u8>>, KeyringError> {
        let sealing = self.keyring.sealing_id(value.tenant).await?;
        if Some(Keyring::key_of_value(value)?) == sealing {
            return Ok(None);
        }
        self.keyring.reseal(value).await.map(Some)
    }

    /// Destroys the keys that only open: nothing is sealed under them any more.
    async fn destroy_old(&self, tenant: Option<TenantId>) -> Result<(), StoreError> {
        let platform = self.store.platform();
        let mut after = None;
        loop {
            let rows = match tenant {
                Some(tenant) => platform.tenant_keys(tenant).await?,
                None => platform.tenant_keys_after(after, PAGE).await?,
            };
            for row in rows.iter().filter(|row| row.state == KeyState::Enabled) {
                if platform.destroy_tenant_key(row.tenant, row.id).await? {
                    tracing::info!(tenant = %row.tenant, key = row.id, "a data key was destroyed; backups of before need it");
                }
            }
            after = rows.last().map(|row| (row.tenant, row.id));
            if tenant.is_some() || after.is_none() {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests;
