//! Connections: whose credential is used at a server. Made, changed and removed here, one for each server and holder;
//! what they become for requests is [`crate::credentials`]' matter.
//!
//! A credential is sealed before it is stored, for its connection and version alone, and leaves a keyed fingerprint of
//! each secret, by which a leaked one is found. People put an active connection aside and take it up again; out of
//! `reauth_required` and `invalid` leads only a login, a new credential or a good test.

mod health;
mod holder;
mod material;
mod revoke;
mod trial;

use std::sync::Arc;

use model::{ConnectionId, ConnectionStatus, Generation, Holder, ResourceName, Revision, Scope, Secret, crash_here};
use store::{
    Actor, Committed, ConnectionPatch, ConnectionRecord, CredentialChange, NewConnection, NewCredential, Reference,
    ServerRecord, StoreError, TenantStore,
};

use crate::auth::{AuthConfig, Credential};
use crate::keyring::{Keyring, KeyringError};
use crate::proxies::{CommandError, Effective};
use crate::references::{ReferenceError, References};
use crate::rest::code::Code;
use crate::rest::fields::{Change, FieldError};
use crate::servers::Servers;

pub(crate) use self::health::{Shown, TokenState};
pub(crate) use self::holder::Asker;
pub(crate) use self::material::{seal, within};
pub(crate) use self::revoke::revoke;
pub(crate) use self::trial::{Outcome, test};

/// How often a change is tried again because somebody else changed the credential in between.
const MAX_ATTEMPTS: u32 = 3;

/// What somebody gives as credential.
pub(crate) enum Given {
    /// The credential itself.
    Credential(Credential),
    /// Where it is kept.
    Reference(Reference),
}

/// A connection that somebody wants made.
pub(crate) struct Create {
    /// How many share it; the first that fits when absent.
    pub(crate) scope: Option<Scope>,
    /// The department or the user, by id, name or login.
    pub(crate) holder: Option<String>,
    pub(crate) display_name: Option<String>,
    pub(crate) external_subject: Option<String>,
    pub(crate) given: Change<Given>,
    /// A JSON object.
    pub(crate) meta: Option<String>,
    pub(crate) status: Option<ConnectionStatus>,
}

/// What somebody wants changed.
pub(crate) struct Patch {
    pub(crate) display_name: Option<Option<String>>,
    pub(crate) external_subject: Option<Option<String>>,
    pub(crate) given: Change<Given>,
    /// A JSON object.
    pub(crate) meta: Option<String>,
    pub(crate) status: Option<ConnectionStatus>,
}

impl Patch {
    /// Changes nothing.
    pub(crate) fn nothing() -> Self {
        Self { display_name: None, external_subject: None, given: Change::Keep, meta: None, status: None }
    }
}

/// A record, and how far its change has come.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) record: ConnectionRecord,
    pub(crate) effective: Effective,
}

/// Why a connection was not made, changed or tried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// The store refused or failed.
    #[error("the store refused")]
    Store(#[from] StoreError),
    /// The credential can't be sealed, or its fingerprint not made.
    #[error("the keyring refused")]
    Keyring(#[from] KeyringError),
    /// The key that opens secrets can't be had now.
    #[error("secrets can't be opened now")]
    Sealed,
    /// Nobody could ask the upstream.
    #[error("the upstream could not be asked")]
    Command(#[source] CommandError),
    /// What was given does not fit.
    #[error("fields don't fit")]
    Fields(Vec<FieldError>),
    /// The caller may make connections of their own only, and of this server none.
    #[error("this needs an admin")]
    Forbidden,
    /// There is one for this server and holder.
    #[error("there is one already")]
    Exists(ConnectionId),
    /// People can't lead it there.
    #[error("from {} to {} leads no way for people", from.as_str(), to.as_str())]
    Transition {
        /// Where it is.
        from: ConnectionStatus,
        /// Where it should go.
        to: ConnectionStatus,
    },
    /// What is stored can't be opened; it stays as it is.
    #[error("the stored credential can't be opened")]
    Unreadable,
    /// There is nothing to try.
    #[error("there is no usable credential")]
    Required {
        /// What the server accepts, in its order.
        scopes: Vec<Scope>,
        /// Whether somebody can log in at its authorization server.
        login: bool,
    },
}

/// The one way to change connections.
#[derive(Clone)]
pub(crate) struct Connections {
    keyring: Arc<Keyring>,
    references: References,
    servers: Servers,
}

impl Connections {
    /// `references` says which places may be referred to, `servers` how far a change has come.
    pub(crate) fn new(keyring: Arc<Keyring>, references: References, servers: Servers) -> Self {
        Self { keyring, references, servers }
    }

    /// Makes a connection. Nothing is saved unless everything fits its server.
    pub(crate) async fn create(
        &self,
        tenant: &TenantStore,
        actor: &Actor,
        asker: Asker,
        server: &ServerRecord,
        create: Create,
    ) -> Result<Changed, ConnectionError> {
        let holder = asker.holder(tenant, accepted(server), create.scope, create.holder.as_deref()).await?;
        if !asker.may_make(holder, accepted(server)) {
            return Err(ConnectionError::Forbidden);
        }
        fits(server, holder.scope())?;
        asker.may_give(&create.given)?;
        let mut new = NewConnection {
            display_name: create.display_name,
            external_subject: create.external_subject,
            ..NewConnection::new(ConnectionId::fresh(), server.spec.id, holder)
        };
        new.status = create.status.unwrap_or(new.status);
        new.meta = create.meta.unwrap_or(new.meta);
        if let Change::Set(given) = create.given {
            self.check(server, &given)?;
            let kept = self.kept(tenant.id(), new.id, 1, &given).await?;
            new.fingerprints = kept.fingerprints;
            match kept.credential {
                NewCredential::Sealed(sealed) => new.credential = Some(sealed),
                NewCredential::Reference(reference) => new.reference = Some(reference),
                NewCredential::Cleared => (),
            }
        }
        crash_here("connection.sealed");
        match tenant.create_connection(actor, new).await {
            Ok(committed) => Ok(self.told(committed).await),
            Err(StoreError::ConnectionExists) => Err(exists(tenant, server, holder).await?),
            // Deleted since it was looked up.
            Err(StoreError::NoUser) => Err(holder::gone(Code::User)),
            Err(StoreError::NoDepartment) => Err(holder::gone(Code::Department)),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes a connection. What isn't named stays, above all a credential that can't be opened.
    pub(crate) async fn patch(
        &self,
        tenant: &TenantStore,
        actor: &Actor,
        server: &ServerRecord,
        record: &ConnectionRecord,
        expected: Option<Generation>,
        patch: &Patch,
    ) -> Result<Changed, ConnectionError> {
        let renewed = matches!(patch.given, Change::Set(_));
        if let Some(to) = patch.status {
            lawful(record.status, to, renewed)?;
        }
        let taken_up = patch.status == Some(ConnectionStatus::Active) && record.status != ConnectionStatus::Active;
        if renewed || taken_up {
            fits(server, record.holder.scope())?;
        }
        if let Change::Set(given) = &patch.given {
            self.check(server, given)?;
        }
        let committed = self.committed(tenant, actor, record, expected, patch).await?;
        Ok(self.told(committed).await)
    }

    /// Sets the status that people may set: puts an active connection aside, or takes up one that was put aside.
    pub(crate) async fn status(
        &self,
        tenant: &TenantStore,
        actor: &Actor,
        server: &ServerRecord,
        record: &ConnectionRecord,
        expected: Option<Generation>,
        status: ConnectionStatus,
    ) -> Result<Changed, ConnectionError> {
        let patch = Patch { status: Some(status), ..Patch::nothing() };
        self.patch(tenant, actor, server, record, expected, &patch).await
    }

    /// Removes a connection: no proxy uses it any more.
    pub(crate) async fn remove(
        &self,
        tenant: &TenantStore,
        actor: &Actor,
        id: ConnectionId,
        expected: Option<Generation>,
    ) -> Result<Effective, ConnectionError> {
        let committed = tenant.delete_connection(actor, id, expected).await?;
        crash_here("connection.removed");
        Ok(self.settled(committed.revision, id).await)
    }

    /// The tenant's connections that use this secret, whatever it is called in them.
    pub(crate) async fn find(
        &self,
        tenant: &TenantStore,
        secret: &Secret,
    ) -> Result<Vec<ConnectionRecord>, ConnectionError> {
        let fingerprint = self.keyring.fingerprint(tenant.id(), secret.expose().as_bytes()).await?;
        Ok(tenant.connections_with_fingerprint(fingerprint).await?)
    }

    /// Puts single secrets of the global connection in place, or takes them away, and leaves the others as they are. The
    /// connection is made where there is none. `None` where nothing had to change.
    pub(crate) async fn set_fields(
        &self,
        tenant: &TenantStore,
        actor: &Actor,
        server: &ServerRecord,
        fields: &[(&str, Option<Secret>)],
    ) -> Result<Option<Changed>, ConnectionError> {
        for _ in 1..MAX_ATTEMPTS {
            match self.set_fields_once(tenant, actor, server, fields).await {
                Err(ConnectionError::Exists(_) | ConnectionError::Store(StoreError::Stale { .. })) => (),
                set => return set,
            }
        }
        self.set_fields_once(tenant, actor, server, fields).await
    }

    /// The names of the secrets that the global connection has.
    pub(crate) async fn fields(
        &self,
        tenant: &TenantStore,
        server: &ServerRecord,
    ) -> Result<Vec<String>, ConnectionError> {
        let Some(record) = tenant.connection_of(server.spec.id, Holder::Global).await? else { return Ok(Vec::new()) };
        let credential = self.opened(&record).await?;
        Ok(credential.iter().flat_map(Credential::names).map(str::to_owned).collect())
    }

    async fn set_fields_once(
        &self,
        tenant: &TenantStore,
        actor: &Actor,
        server: &ServerRecord,
        fields: &[(&str, Option<Secret>)],
    ) -> Result<Option<Changed>, ConnectionError> {
        let record = tenant.connection_of(server.spec.id, Holder::Global).await?;
        let before = match &record {
            Some(record) => self.opened(record).await?,
            None => None,
        };
        let mut credential = before.unwrap_or_else(Credential::empty);
        let mut changes = false;
        for (name, secret) in fields {
            let secret = secret.as_ref().map(Secret::expose);
            changes |= credential.text(name) != secret;
            credential.set(name, secret);
        }
        if !changes {
            return Ok(None);
        }
        fits(server, Scope::Global)?;
        let given = if credential.is_empty() { Change::Clear } else { Change::Set(Given::Credential(credential)) };
        let committed = match (record, given) {
            (Some(record), given) => {
                let (patch, expected) = (Patch { given, ..Patch::nothing() }, Some(record.generation));
                self.committed(tenant, actor, &record, expected, &patch).await?
            }
            (None, Change::Set(Given::Credential(credential))) => {
                let mut new = NewConnection::new(ConnectionId::fresh(), server.spec.id, Holder::Global);
                let (sealed, fingerprints) = seal(&self.keyring, tenant.id(), new.id, 1, &credential).await?;
                (new.credential, new.fingerprints) = (Some(sealed), fingerprints);
                match tenant.create_connection(actor, new).await {
                    Err(StoreError::ConnectionExists) => return Err(exists(tenant, server, Holder::Global).await?),
                    made => made?,
                }
            }
            (None, _) => return Ok(None),
        };
        Ok(Some(self.told(committed).await))
    }

    /// Seals for the version that comes next, and commits. Where the caller takes any generation, a change that came in
    /// between is only a reason to seal anew.
    async fn committed(
        &self,
        tenant: &TenantStore,
        actor: &Actor,
        record: &ConnectionRecord,
        expected: Option<Generation>,
        patch: &Patch,
    ) -> Result<Committed<ConnectionRecord>, ConnectionError> {
        let mut version = record.credential_version;
        for attempt in 1.. {
            let credential = match &patch.given {
                Change::Keep => None,
                Change::Clear => {
                    let (to, fingerprints) = (NewCredential::Cleared, Vec::new());
                    Some(CredentialChange { to, version: version + 1, fingerprints })
                }
                Change::Set(given) => {
                    let kept = self.kept(tenant.id(), record.id, version + 1, given).await?;
                    let (to, fingerprints) = (kept.credential, kept.fingerprints);
                    Some(CredentialChange { to, version: version + 1, fingerprints })
                }
            };
            crash_here("connection.sealed");
            let change = ConnectionPatch {
                display_name: patch.display_name.clone(),
                external_subject: patch.external_subject.clone(),
                status: patch.status,
                meta: patch.meta.clone(),
                credential,
                ..ConnectionPatch::default()
            };
            match tenant.patch_connection(actor, record.id, expected, change).await {
                Err(StoreError::Stale { .. }) if expected.is_none() && attempt < MAX_ATTEMPTS => {
                    let now = tenant.connection(record.id).await?.ok_or(StoreError::NotFound)?;
                    if let Some(to) = patch.status {
                        lawful(now.status, to, matches!(patch.given, Change::Set(_)))?;
                    }
                    version = now.credential_version;
                }
                committed => return Ok(committed?),
            }
        }
        Err(StoreError::NotFound.into())
    }

    /// Refuses a credential that does not fit its server, and a place that may not be referred to.
    fn check(&self, server: &ServerRecord, given: &Given) -> Result<(), ConnectionError> {
        match given {
            Given::Credential(credential) => material::fits(&settings(server)?, credential),
            Given::Reference(reference) => self.references.check(reference).map_err(outside),
        }
    }

    /// A change that was committed, and how far it has come.
    pub(crate) async fn told(&self, committed: Committed<ConnectionRecord>) -> Changed {
        crash_here("connection.committed");
        let record = committed.value;
        let effective = self.settled(committed.revision, record.id).await;
        Changed { record, effective }
    }

    async fn settled(&self, revision: Revision, id: ConnectionId) -> Effective {
        self.servers.settled(revision, ResourceName::Connection(id)).await
    }
}

/// How a server is authenticated to.
pub(crate) fn settings(server: &ServerRecord) -> Result<AuthConfig, ConnectionError> {
    AuthConfig::from_stored(&server.auth).ok_or(ConnectionError::Store(StoreError::Corrupt { what: "server.auth" }))
}

/// The scopes that a server accepts, in its order.
pub(crate) fn accepted(server: &ServerRecord) -> &[Scope] {
    server.spec.binding.as_ref().map_or(&[], |binding| &binding.scopes)
}

/// Refuses a scope that a server does not accept.
fn fits(server: &ServerRecord, scope: Scope) -> Result<(), ConnectionError> {
    let accepted = accepted(server);
    if accepted.contains(&scope) {
        return Ok(());
    }
    let words: Vec<&str> = accepted.iter().map(|scope| scope.as_str()).collect();
    let detail = match words.as_slice() {
        [] => "the server takes no connections".to_owned(),
        words => format!("the server accepts {}", words.join(", ")),
    };
    let (field, code) = ("scope_type".to_owned(), Code::ScopeNotAccepted);
    Err(ConnectionError::Fields(vec![FieldError { field, code, detail }]))
}

/// Where people may lead a connection. Only a new credential leads out of what the upstream refused.
fn lawful(from: ConnectionStatus, to: ConnectionStatus, renewed: bool) -> Result<(), ConnectionError> {
    use ConnectionStatus::{Active, Disabled, Invalid, ReauthRequired};
    match (from, to) {
        (Active | Disabled, Active | Disabled) => Ok(()),
        (ReauthRequired | Invalid, Active | Disabled) if renewed => Ok(()),
        (from, to) => Err(ConnectionError::Transition { from, to }),
    }
}

/// Which one stands in the way of another for the same server and holder.
async fn exists(
    tenant: &TenantStore,
    server: &ServerRecord,
    holder: Holder,
) -> Result<ConnectionError, ConnectionError> {
    let there = tenant.connection_of(server.spec.id, holder).await?;
    // Removed in the same moment: the caller may try again.
    Ok(there.map_or(ConnectionError::Store(StoreError::Interrupted), |there| ConnectionError::Exists(there.id)))
}

/// A place that may not be referred to, as a mistake of the body.
fn outside(error: ReferenceError) -> ConnectionError {
    let (field, code) = ("reference".to_owned(), Code::ReferenceOutside);
    ConnectionError::Fields(vec![FieldError { field, code, detail: error.to_string() }])
}
