//! Credentials that other programs write into a folder: `<root>/<tenant id>/<server>/global.json`,
//! `department-<name>.json` or `user-<login>.json`, names percent-encoded.
//!
//! The folder is looked through twice a second. A file that is another than the one that its connection has had last
//! becomes the connection's: a new token is a new generation, which ends no session with the upstream; other secrets are a
//! new credential. Files make no connections, and what is wrong with one stands in the record.

mod folder;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::{Clock, ConnectionStatus, Holder};
use store::{
    Actor, ConnectionPatch, ConnectionRecord, CredentialChange, NewCredential, PutToken, ServerRecord, Store,
    StoreError, TenantStore, Verdict,
};
use zeroize::Zeroizing;

use self::folder::{Entry, Named, Stamp};
use crate::Control;
use crate::auth::{AuthConfig, Credential, Token};
use crate::credentials::{Credentials, credential_place, is_renewable, token_place};
use crate::keyring::{Keyring, KeyringError};
use crate::references::{ReferenceError, read_closed};
use crate::timers::{micros, scaled};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(500);
/// When a file is tried again for which there is no connection, or that could not be stored.
const AGAIN: Duration = Duration::from_secs(5);
/// Files that are taken in one look; the others wait for the next.
const AT_ONCE: usize = 256;
/// How often a token is put when others come in between.
const TRIES: usize = 5;

/// The folder, and what is known of it.
pub(crate) struct Imports {
    root: Option<PathBuf>,
    store: Store,
    keyring: Arc<Keyring>,
    credentials: Credentials,
    clock: Arc<dyn Clock>,
    known: HashMap<PathBuf, Known>,
    files: Arc<AtomicU64>,
}

/// What is known of a file.
#[derive(Debug, Clone)]
struct Known {
    stamp: Stamp,
    entry: Entry,
    /// When it is tried again; `None`: when it changes.
    again: Option<i64>,
}

/// Why a file is not the connection's yet.
#[derive(Debug, thiserror::Error)]
enum ImportError {
    /// There is nobody to have it.
    #[error("no connection is there for it")]
    NoConnection,
    /// The file is of no use.
    #[error("{0}")]
    File(&'static str, Box<ConnectionRecord>),
    /// The vault.
    #[error("it can't be sealed now")]
    Keyring(#[from] KeyringError),
    /// The database.
    #[error("it can't be stored now")]
    Store(#[from] StoreError),
    /// What is stored can't be read.
    #[error("the credential before it can't be opened now")]
    Closed,
}

impl Imports {
    /// Looks at nothing yet; shows how many files there are.
    pub(crate) fn of(root: Option<PathBuf>, control: &Control) -> Self {
        let files = Arc::<AtomicU64>::default();
        let seen = files.clone();
        let most = u64::try_from(folder::MOST).unwrap_or(u64::MAX);
        control.metrics.bound("import_files", most, move || seen.load(Ordering::Relaxed));
        Self {
            root,
            store: control.store.clone(),
            keyring: control.keyring.clone(),
            credentials: control.credentials.clone(),
            clock: control.clock.clone(),
            known: HashMap::new(),
            files,
        }
    }

    /// Looks for as long as the process lives, if there is a folder.
    pub(crate) async fn run_forever(mut self) {
        let mut failing = false;
        loop {
            match self.look().await {
                Ok(()) => failing = false,
                Err(error) => {
                    if !failing {
                        tracing::error!(%error, "`import_dir` can't be read");
                    }
                    failing = true;
                }
            }
            tokio::time::sleep(scaled(EVERY)).await;
        }
    }

    /// Takes what has changed since the last look.
    async fn look(&mut self) -> std::io::Result<()> {
        let Some(root) = self.root.clone() else { return Ok(()) };
        let found = tokio::task::spawn_blocking(move || folder::scan(&root)).await.map_err(std::io::Error::other)??;
        self.files.store(u64::try_from(found.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
        let now = self.clock.now_micros();
        let present: HashSet<&PathBuf> = found.iter().map(|(entry, _)| &entry.path).collect();
        let gone: Vec<PathBuf> = self.known.keys().filter(|path| !present.contains(path)).cloned().collect();
        let changed: Vec<(Entry, Stamp)> = found
            .iter()
            .filter(|(entry, stamp)| {
                self.known
                    .get(&entry.path)
                    .is_none_or(|known| known.stamp != *stamp || known.again.is_some_and(|again| again <= now))
            })
            .take(AT_ONCE)
            .cloned()
            .collect();
        for path in gone {
            if let Some(known) = self.known.remove(&path) {
                self.lost(&known.entry).await;
            }
        }
        for (entry, stamp) in changed {
            let outcome = self.take(&entry, stamp).await;
            let again = self.told(&entry, outcome).await.then(|| now.saturating_add(micros(scaled(AGAIN))));
            self.known.insert(entry.path.clone(), Known { stamp, entry, again });
        }
        Ok(())
    }

    /// Says what became of a file; whether it is to be tried again though it stays the same.
    async fn told(&self, entry: &Entry, outcome: Result<bool, ImportError>) -> bool {
        match outcome {
            Ok(taken) => {
                if taken {
                    tracing::info!(tenant = %entry.tenant, server = entry.server, "a credential was imported from a file");
                }
                false
            }
            Err(ImportError::File(why, record)) => {
                self.note(&record, "import_unreadable", why).await;
                false
            }
            Err(error) => {
                tracing::debug!(tenant = %entry.tenant, server = entry.server, error = %telemetry::chain(&error),
                    "a credential can't be imported from a file yet");
                true
            }
        }
    }

    async fn lost(&self, entry: &Entry) {
        match self.connection(entry).await {
            Ok((_, record)) => self.note(&record, "import_missing", "the file that it is imported from is gone").await,
            // Nobody misses it.
            Err(ImportError::NoConnection) => (),
            Err(error) => {
                tracing::debug!(error = %telemetry::chain(&error), "a file is gone, its record can't be read")
            }
        }
    }

    async fn note(&self, record: &ConnectionRecord, code: &str, message: &str) {
        tracing::warn!(connection = %record.id, tenant = %record.tenant, message, "a credential can't be imported");
        let verdict = Verdict::Refused { status: None, code: code.to_owned(), message: message.to_owned() };
        let tenant = self.store.tenant(record.tenant);
        if let Err(error) = tenant.verdict(record.id, record.token_generation, verdict).await {
            tracing::warn!(connection = %record.id, error = %telemetry::chain(&error), "that can't be noted now");
        }
    }

    /// The connection that a file is for.
    async fn connection(&self, entry: &Entry) -> Result<(ServerRecord, ConnectionRecord), ImportError> {
        let tenant = self.store.tenant(entry.tenant);
        let server = tenant.server_by_name(&entry.server).await?.ok_or(ImportError::NoConnection)?;
        let holder = holder(&tenant, &entry.named).await?.ok_or(ImportError::NoConnection)?;
        let record = tenant.connection_of(server.spec.id, holder).await?.ok_or(ImportError::NoConnection)?;
        Ok((server, record))
    }

    /// Makes the content the connection's, if it is another than the last one; whether it was.
    async fn take(&self, entry: &Entry, stamp: Stamp) -> Result<bool, ImportError> {
        let (server, record) = self.connection(entry).await?;
        let (own, path) = (entry.own.clone(), entry.path.clone());
        let read = tokio::task::spawn_blocking(move || {
            let own = std::fs::canonicalize(own).map_err(|_| ReferenceError::Missing)?;
            read_closed(&own, &path)
        });
        let bytes = match read.await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(why)) => return Err(ImportError::File(said(why), record.into())),
            Err(_) => return Err(ImportError::Closed),
        };
        let digest = self.keyring.fingerprint(record.tenant, &bytes).await?.to_vec();
        if record.import_digest.as_ref() == Some(&digest) {
            return Ok(false);
        }
        let text = std::str::from_utf8(&bytes).ok();
        let Some(credential) = text.and_then(|text| Credential::parse_str(text).ok()) else {
            return Err(ImportError::File("the file that it is imported from holds no credential", record.into()));
        };
        self.put(&server, record, &credential, stamp, digest).await.map(|()| true)
    }

    async fn put(
        &self,
        server: &ServerRecord,
        record: ConnectionRecord,
        credential: &Credential,
        stamp: Stamp,
        digest: Vec<u8>,
    ) -> Result<(), ImportError> {
        let before = self.credentials.open_credential(&record).await.map_err(|_| ImportError::Closed)?;
        let before = before.unwrap_or_else(Credential::empty);
        // What expires in so many seconds does so from when it was written.
        let token = Token::from_credential(credential, stamp.written_at());
        let actor = Actor::system("import");
        let tenant = self.store.tenant(record.tenant);
        let id = record.id;
        match token {
            Some(token) if others(credential) == others(&before) => {
                let record = self.put_token(&tenant, server, record, &before, &token).await?;
                let waits = matches!(record.status, ConnectionStatus::ReauthRequired | ConnectionStatus::Invalid);
                let patch = ConnectionPatch {
                    status: waits.then_some(ConnectionStatus::Active),
                    import_digest: Some(Some(digest)),
                    ..ConnectionPatch::default()
                };
                // Whoever puts it aside in the same moment is not overruled.
                tenant.patch_connection(&actor, id, Some(record.generation), patch).await?;
            }
            _ => {
                let version = record.credential_version + 1;
                let sealed = self.keyring.seal(credential_place(&record), version, &credential.to_json()).await?;
                let fingerprints = self.keyring.fingerprints(record.tenant, &credential.secret_values()).await?;
                let change = CredentialChange { to: NewCredential::Sealed(sealed), version, fingerprints };
                let patch = ConnectionPatch {
                    credential: Some(change),
                    import_digest: Some(Some(digest)),
                    ..ConnectionPatch::default()
                };
                tenant.patch_connection(&actor, id, Some(record.generation), patch).await?;
            }
        }
        Ok(())
    }

    /// Puts a token over whatever generation there is: what was written last counts.
    async fn put_token(
        &self,
        tenant: &TenantStore,
        server: &ServerRecord,
        mut record: ConnectionRecord,
        credential: &Credential,
        token: &Token,
    ) -> Result<ConnectionRecord, ImportError> {
        let config = AuthConfig::from_stored(&server.auth).unwrap_or_default();
        let mut tries = 0;
        loop {
            tries += 1;
            let next = record.token_generation + 1;
            let put = PutToken {
                lease: None,
                expected_generation: record.token_generation,
                token: self.keyring.seal(token_place(&record), next, &token.to_json()).await?,
                expires_at: token.expires_at,
                refreshable: is_renewable(&config, Some(token), credential),
                fingerprints: self.keyring.fingerprints(record.tenant, &token.secret_values()).await?,
            };
            match tenant.put_token(record.id, put).await {
                Ok(committed) => return Ok(committed.value),
                Err(StoreError::TokenStale { .. }) if tries < TRIES => {
                    record = tenant.connection(record.id).await?.ok_or(ImportError::NoConnection)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

async fn holder(tenant: &TenantStore, named: &Named) -> Result<Option<Holder>, StoreError> {
    Ok(match named {
        Named::Global => Some(Holder::Global),
        Named::Department(name) => tenant.department_by_name(name).await?.map(|it| Holder::Department(it.id)),
        Named::User(login) => tenant.user_by_login(login).await?.map(|it| Holder::User(it.id)),
    })
}

/// The secrets that are no token.
fn others(credential: &Credential) -> Vec<(String, Zeroizing<String>)> {
    let names = credential.names().into_iter().filter(|name| !matches!(*name, "access_token" | "refresh_token"));
    let value = |name| credential.secret(name).map(ToString::to_string).unwrap_or_default();
    let mut others: Vec<_> = names.map(|name| (name.to_owned(), Zeroizing::new(value(name)))).collect();
    others.sort_by(|(one, _), (other, _)| one.cmp(other));
    others
}

fn said(error: ReferenceError) -> &'static str {
    match error {
        ReferenceError::Open => "the file that it is imported from can be read by others: it must have the mode 0600",
        ReferenceError::Outside => "the file that it is imported from is a link out of the tenant's folder",
        ReferenceError::Malformed => "the file that it is imported from holds no credential of at most 16 KiB",
        ReferenceError::Missing | ReferenceError::NoSource => "the file that it is imported from is gone",
        ReferenceError::Unavailable => "the file that it is imported from can't be read",
    }
}
