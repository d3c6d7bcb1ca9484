//! A connection as it is stored, created and changed; and its row.
//!
//! What is sealed is opaque here. Its place is (tenant, `connection`, id, `credential`, `credential_version`) and
//! (tenant, `connection`, id, `token`, `token_generation`): who seals says for which of these, and is told that it is
//! too late if it is not the next one.

use std::fmt;
use std::time::Duration;

use model::{
    Binding, ConnectionId, ConnectionSpec, ConnectionStatus, DepartmentId, Generation, Holder, Scope, ServerId,
    TenantId, UserId,
};
use sea_orm::ActiveValue::{NotSet, Set};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::bounds::{self, META_BYTES};
use crate::entity::connection;
use crate::{StoreError, row_text};

/// Bytes of what is kept of a failure.
const FAILURE_BYTES: usize = 1_000;

/// A connection record.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionRecord {
    /// The record's id.
    pub id: ConnectionId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The server that it is for.
    pub server: ServerId,
    /// Whom it is for. There is at most one for each server and holder.
    pub holder: Holder,
    /// The department's name or the user's login.
    pub holder_name: Option<String>,
    /// Free text for people.
    pub display_name: Option<String>,
    /// What the upstream calls the holder.
    pub external_subject: Option<String>,
    /// What it may be used for.
    pub status: ConnectionStatus,
    /// Raised by every change that somebody made, not by tokens that were obtained.
    pub generation: Generation,
    /// What a person gave, sealed for `credential_version`.
    pub credential: Option<Vec<u8>>,
    /// Where what a person would give is kept instead.
    pub reference: Option<Reference>,
    /// Raised when a person replaces the credential or signs in again.
    pub credential_version: i64,
    /// What was obtained with it, sealed for `token_generation`.
    pub token: Option<Vec<u8>>,
    /// Raised by every new token and every new credential; never lowered.
    pub token_generation: i64,
    /// When the token ends, microseconds since 1970.
    pub token_expires_at: Option<i64>,
    /// Whether another token can be had without anybody's help.
    pub refreshable: bool,
    /// What people note: a JSON object, at most 4 KiB.
    pub meta: String,
    /// What went wrong last, until something goes right.
    pub last_error: Option<LastError>,
    /// When it was last seen to work, microseconds since 1970; to the minute.
    pub last_success_at: Option<i64>,
    /// Which file it was imported from last, if it was.
    pub import_digest: Option<Vec<u8>>,
    /// The key, the user or the part of Gatehouse that made it.
    pub created_by: Option<String>,
    /// Who changed it last.
    pub updated_by: Option<String>,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// Microseconds since 1970.
    pub updated_at: i64,
}

/// Where a credential is kept that control looks up whenever it needs it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// The name of the source.
    pub source: String,
    /// The name within the tenant's part of it.
    pub name: String,
}

/// What went wrong last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// A word for programs.
    pub code: String,
    /// For people; cut at 1000 bytes.
    pub message: String,
    /// Microseconds since 1970.
    pub at: i64,
}

/// How a connection fares, for lists: each is in exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectionHealth {
    /// It is used.
    Active,
    /// Somebody has to do something: sign in again, give a credential, or remove it.
    Attention,
    /// Somebody put it aside.
    Disabled,
}

/// How many connections fare how; they add up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConnectionSummary {
    /// All of them.
    pub total: u64,
    /// See [`ConnectionHealth::Active`].
    pub active: u64,
    /// See [`ConnectionHealth::Attention`].
    pub attention: u64,
    /// See [`ConnectionHealth::Disabled`].
    pub disabled: u64,
}

/// A connection to be made: at credential version 1 and token generation 1.
#[derive(Clone)]
pub struct NewConnection {
    /// Chosen by the caller, so that secrets can be sealed for it.
    pub id: ConnectionId,
    /// See [`ConnectionRecord::server`].
    pub server: ServerId,
    /// See [`ConnectionRecord::holder`].
    pub holder: Holder,
    /// See [`ConnectionRecord::display_name`].
    pub display_name: Option<String>,
    /// See [`ConnectionRecord::external_subject`].
    pub external_subject: Option<String>,
    /// See [`ConnectionRecord::status`].
    pub status: ConnectionStatus,
    /// Sealed for version 1.
    pub credential: Option<Vec<u8>>,
    /// See [`ConnectionRecord::reference`].
    pub reference: Option<Reference>,
    /// Of the secrets in the credential, at most 64.
    pub fingerprints: Vec<[u8; 16]>,
    /// Sealed for generation 1.
    pub token: Option<Vec<u8>>,
    /// See [`ConnectionRecord::token_expires_at`].
    pub token_expires_at: Option<i64>,
    /// See [`ConnectionRecord::refreshable`].
    pub refreshable: bool,
    /// Of the secrets in the token, at most 64.
    pub token_fingerprints: Vec<[u8; 16]>,
    /// See [`ConnectionRecord::meta`].
    pub meta: String,
    /// See [`ConnectionRecord::import_digest`].
    pub import_digest: Option<Vec<u8>>,
}

impl NewConnection {
    /// An active one of which nothing else was said, and that has no credential yet.
    pub fn new(id: ConnectionId, server: ServerId, holder: Holder) -> Self {
        Self {
            id,
            server,
            holder,
            display_name: None,
            external_subject: None,
            status: ConnectionStatus::Active,
            credential: None,
            reference: None,
            fingerprints: Vec::new(),
            token: None,
            token_expires_at: None,
            refreshable: false,
            token_fingerprints: Vec::new(),
            meta: "{}".to_owned(),
            import_digest: None,
        }
    }
}

/// What to change of a connection; `None` leaves a field alone, `Some(None)` clears it. Which statuses may follow
/// which is the caller's to judge.
#[derive(Clone, Default)]
pub struct ConnectionPatch {
    /// See [`ConnectionRecord::display_name`].
    pub display_name: Option<Option<String>>,
    /// See [`ConnectionRecord::external_subject`].
    pub external_subject: Option<Option<String>>,
    /// See [`ConnectionRecord::status`]. One that becomes active has no last error any more.
    pub status: Option<ConnectionStatus>,
    /// See [`ConnectionRecord::meta`]: replaces all of it.
    pub meta: Option<String>,
    /// What a person gave now. It takes the token away, raises version and generation, and makes a connection active
    /// again that was not disabled, unless `status` says otherwise.
    pub credential: Option<CredentialChange>,
    /// See [`ConnectionRecord::last_success_at`].
    pub last_success_at: Option<i64>,
    /// See [`ConnectionRecord::last_error`].
    pub last_error: Option<Option<LastError>>,
    /// See [`ConnectionRecord::import_digest`].
    pub import_digest: Option<Option<Vec<u8>>>,
}

/// A credential in place of the one before.
#[derive(Clone)]
pub struct CredentialChange {
    /// What it is.
    pub to: NewCredential,
    /// For which version: one more than [`ConnectionRecord::credential_version`]; `Stale` otherwise.
    pub version: i64,
    /// Of its secrets, at most 64.
    pub fingerprints: Vec<[u8; 16]>,
}

/// What a credential is.
#[derive(Clone)]
pub enum NewCredential {
    /// What the vault made of it.
    Sealed(Vec<u8>),
    /// Where it is kept.
    Reference(Reference),
    /// There is none any more.
    Cleared,
}

/// A token that was obtained with the credential.
#[derive(Clone)]
pub struct PutToken {
    /// Who refreshes, where a lease was taken: `LeaseLost` if another one has it by now. It ends with this.
    pub lease: Option<Uuid>,
    /// The generation of which it was made: `TokenStale` if that is not the newest any more. It was sealed for the next
    /// one.
    pub expected_generation: i64,
    /// What the vault made of it.
    pub token: Vec<u8>,
    /// See [`ConnectionRecord::token_expires_at`].
    pub expires_at: Option<i64>,
    /// See [`ConnectionRecord::refreshable`].
    pub refreshable: bool,
    /// Of its secrets, at most 64, in place of those of the token before.
    pub fingerprints: Vec<[u8; 16]>,
}

/// What a person obtained by signing in at the upstream.
#[derive(Clone)]
pub struct PutLogin {
    /// The credential version when the person set out: if it has risen since, somebody else was later, and this is
    /// `Stale`.
    pub expected_version: i64,
    /// See [`PutToken::expected_generation`].
    pub expected_generation: i64,
    /// See [`PutToken::token`].
    pub token: Vec<u8>,
    /// See [`ConnectionRecord::token_expires_at`].
    pub expires_at: Option<i64>,
    /// See [`ConnectionRecord::refreshable`].
    pub refreshable: bool,
    /// Of its secrets, at most 64. Those of the credential before go.
    pub fingerprints: Vec<[u8; 16]>,
    /// What is to stay of the credential, sealed for the next version; `None` takes it away, like a reference.
    pub credential: Option<Vec<u8>>,
    /// What the upstream calls who signed in; `None` leaves it alone.
    pub external_subject: Option<String>,
}

/// Whether a token may be refreshed now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseOutcome {
    /// Yes, of this record, until the lease ends.
    Leased(ConnectionRecord),
    /// Another one does it.
    Busy {
        /// Until then at most, microseconds since 1970 by the database's clock.
        until: i64,
        /// How long that is.
        left: Duration,
    },
    /// There is another token by now.
    Newer(ConnectionRecord),
}

/// What an upstream said to a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It works.
    Accepted,
    /// It does not, or another one could not be had.
    Refused {
        /// What becomes of the connection, unless it is disabled; `None` leaves it alone.
        status: Option<ConnectionStatus>,
        /// See [`LastError::code`].
        code: String,
        /// See [`LastError::message`].
        message: String,
    },
}

/// Which connections to list, in the order of their making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectionPage {
    /// Only those for this server.
    pub server: Option<ServerId>,
    /// Only those for this holder.
    pub holder: Option<Holder>,
    /// Only those that fare so.
    pub health: Option<ConnectionHealth>,
    /// Only those with this text in display name, external subject or the holder's name or title, whatever the case (of
    /// ASCII letters on SQLite); or those whose scope it names.
    pub search: Option<String>,
    /// Only those after this one.
    pub after: Option<ConnectionId>,
    /// At most this many, 1 to 500.
    pub limit: u32,
}

/// What is not in the record, but hidden from who looks at it by mistake.
fn shown(sealed: Option<&Vec<u8>>) -> &'static str {
    if sealed.is_some() { "sealed" } else { "none" }
}

/// Without the sealed bytes.
impl fmt::Debug for ConnectionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionRecord")
            .field("id", &self.id)
            .field("tenant", &self.tenant)
            .field("server", &self.server)
            .field("holder", &self.holder)
            .field("holder_name", &self.holder_name)
            .field("display_name", &self.display_name)
            .field("external_subject", &self.external_subject)
            .field("status", &self.status)
            .field("generation", &self.generation)
            .field("credential", &shown(self.credential.as_ref()))
            .field("reference", &self.reference)
            .field("credential_version", &self.credential_version)
            .field("token", &shown(self.token.as_ref()))
            .field("token_generation", &self.token_generation)
            .field("token_expires_at", &self.token_expires_at)
            .field("refreshable", &self.refreshable)
            .field("meta", &self.meta)
            .field("last_error", &self.last_error)
            .field("last_success_at", &self.last_success_at)
            .field("created_by", &self.created_by)
            .field("updated_by", &self.updated_by)
            .field("created_at", &self.created_at)
            .field("updated_at", &self.updated_at)
            .finish_non_exhaustive()
    }
}

impl LastError {
    /// With the message cut.
    pub(crate) fn new(code: String, mut message: String, at: i64) -> Self {
        let end = (0..=FAILURE_BYTES.min(message.len())).rev().find(|end| message.is_char_boundary(*end));
        message.truncate(end.unwrap_or_default());
        Self { code, message, at }
    }
}

impl ConnectionRecord {
    pub(crate) fn new(tenant: TenantId, by: String, new: &NewConnection, now: i64) -> Result<Self, StoreError> {
        let record = Self {
            id: new.id,
            tenant,
            server: new.server,
            holder: new.holder,
            holder_name: None,
            display_name: new.display_name.clone(),
            external_subject: new.external_subject.clone(),
            status: new.status,
            generation: Generation(1),
            credential: new.credential.clone(),
            reference: new.reference.clone(),
            credential_version: 1,
            token: new.token.clone(),
            token_generation: 1,
            token_expires_at: new.token_expires_at,
            refreshable: new.refreshable,
            meta: new.meta.clone(),
            last_error: None,
            last_success_at: None,
            import_digest: new.import_digest.clone(),
            created_by: Some(by.clone()),
            updated_by: Some(by),
            created_at: now,
            updated_at: now,
        };
        record.check_size()?;
        Ok(record)
    }

    fn check_size(&self) -> Result<(), StoreError> {
        bounds::fits(self.meta.len(), "bytes of a connection's notes", META_BYTES)?;
        for sealed in self.credential.iter().chain(&self.token) {
            bounds::fits_sealed(sealed)?;
        }
        Ok(())
    }

    /// The record with the patch applied; generation, time and who changed it are left alone. `Stale` for a credential
    /// that was sealed for another version, `Bound` for what is too long.
    pub(crate) fn patched(&self, patch: &ConnectionPatch) -> Result<Self, StoreError> {
        let ConnectionPatch { display_name, external_subject, status, meta, credential, .. } = patch;
        let mut record = self.clone();
        record.display_name = display_name.clone().unwrap_or(record.display_name);
        record.external_subject = external_subject.clone().unwrap_or(record.external_subject);
        record.meta = meta.clone().unwrap_or(record.meta);
        record.import_digest = patch.import_digest.clone().unwrap_or(record.import_digest);
        if let Some(change) = credential {
            if change.version != self.credential_version + 1 {
                return Err(StoreError::Stale { current: self.generation });
            }
            record.renew();
            (record.credential, record.reference) = match change.to.clone() {
                NewCredential::Sealed(sealed) => (Some(sealed), None),
                NewCredential::Reference(reference) => (None, Some(reference)),
                NewCredential::Cleared => (None, None),
            };
            let given = record.credential.is_some() || record.reference.is_some();
            if given && record.status != ConnectionStatus::Disabled {
                record.status = ConnectionStatus::Active;
            }
        }
        if let Some(status) = status {
            record.status = *status;
            if *status == ConnectionStatus::Active && self.status != ConnectionStatus::Active {
                record.last_error = None;
            }
        }
        record.last_success_at = patch.last_success_at.or(record.last_success_at);
        record.last_error = patch.last_error.clone().unwrap_or(record.last_error);
        record.check_size()?;
        Ok(record)
    }

    /// Takes away what the next credential replaces: all secrets, and what is known of them.
    fn renew(&mut self) {
        self.credential_version += 1;
        self.token_generation += 1;
        (self.credential, self.reference, self.token) = (None, None, None);
        (self.token_expires_at, self.refreshable, self.last_error) = (None, false, None);
    }

    /// The record with another token; `TokenStale` if it was made of an older one.
    pub(crate) fn with_token(&self, put: PutToken) -> Result<Self, StoreError> {
        self.check_generation(put.expected_generation)?;
        let mut record = self.clone();
        record.token_generation += 1;
        record.token = Some(put.token);
        (record.token_expires_at, record.refreshable) = (put.expires_at, put.refreshable);
        record.last_error = None;
        record.check_size()?;
        Ok(record)
    }

    /// The record as somebody signed in for it; `Stale` if there was a later one, `TokenStale` if the token was sealed
    /// for another generation.
    pub(crate) fn with_login(&self, put: PutLogin) -> Result<Self, StoreError> {
        if self.credential_version != put.expected_version {
            return Err(StoreError::Stale { current: self.generation });
        }
        self.check_generation(put.expected_generation)?;
        let mut record = self.clone();
        record.renew();
        (record.credential, record.token) = (put.credential, Some(put.token));
        (record.token_expires_at, record.refreshable) = (put.expires_at, put.refreshable);
        record.external_subject = put.external_subject.or(record.external_subject);
        record.status = ConnectionStatus::Active;
        record.check_size()?;
        Ok(record)
    }

    /// The record without its token, which nothing can renew.
    pub(crate) fn without_token(
        &self,
        expected_generation: i64,
        status: ConnectionStatus,
        error: LastError,
    ) -> Result<Self, StoreError> {
        self.check_generation(expected_generation)?;
        let mut record = self.clone();
        (record.token, record.token_expires_at, record.refreshable) = (None, None, false);
        record.last_error = Some(LastError::new(error.code, error.message, error.at));
        if record.status != ConnectionStatus::Disabled {
            record.status = status;
        }
        Ok(record)
    }

    fn check_generation(&self, expected: i64) -> Result<(), StoreError> {
        let current = self.token_generation;
        if current == expected { Ok(()) } else { Err(StoreError::TokenStale { current }) }
    }

    /// Whether there is anything to authenticate with.
    pub fn has_credentials(&self) -> bool {
        self.credential.is_some() || self.reference.is_some() || self.token.is_some()
    }

    /// How it fares with a server that says this of its authentication.
    pub fn health(&self, binding: Option<&Binding>) -> ConnectionHealth {
        let accepted = binding.is_some_and(|binding| binding.scopes.contains(&self.holder.scope()));
        let needless = binding.is_some_and(|binding| binding.exchange);
        match self.status {
            ConnectionStatus::Disabled => ConnectionHealth::Disabled,
            ConnectionStatus::Active if accepted && (needless || self.has_credentials()) => ConnectionHealth::Active,
            _ => ConnectionHealth::Attention,
        }
    }

    /// What proxies hold of it while it is intended.
    pub fn spec(&self) -> ConnectionSpec {
        let department = matches!(self.holder, Holder::Department(_)).then(|| self.holder_name.clone()).flatten();
        ConnectionSpec {
            id: self.id,
            tenant: self.tenant,
            server: self.server,
            holder: self.holder,
            department,
            status: self.status,
            credential_version: self.credential_version,
            token_generation: self.token_generation,
        }
    }

    /// The same, `None` if proxies need not know of it whatever server and holder are. One that was refused stays known
    /// to them: without it they would use a wider one.
    pub(crate) fn intended(&self) -> Option<ConnectionSpec> {
        let wanted = match self.status {
            ConnectionStatus::Active => self.has_credentials(),
            ConnectionStatus::ReauthRequired | ConnectionStatus::Invalid => true,
            ConnectionStatus::Disabled => false,
        };
        wanted.then(|| self.spec())
    }

    /// How the audit and the book of answers name it.
    pub(crate) fn object(&self) -> String {
        format!("connection/{}", self.id)
    }

    /// What the audit row keeps: that there are secrets, and the names of notes.
    pub(crate) fn redacted(&self) -> Value {
        let holder = holder_id(self.holder);
        json!({
            "server": self.server.to_string(),
            "scope": self.holder.scope().as_str(),
            "holder": (self.holder != Holder::Global).then(|| holder.to_string()),
            "display_name": self.display_name,
            "external_subject": self.external_subject,
            "status": self.status.as_str(),
            "generation": self.generation.0,
            "credential": self.credential.is_some(),
            "reference": self.reference.as_ref().map(|it| json!({ "source": it.source, "name": it.name })),
            "credential_version": self.credential_version,
            "token": self.token.is_some(),
            "token_generation": self.token_generation,
            "meta": row_text::names(&self.meta),
            "last_error": self.last_error.as_ref().map(|error| &error.code),
        })
    }

    /// The row, but for the lease.
    pub(crate) fn into_row(self) -> connection::ActiveModel {
        let (source, name) = self.reference.map(|it| (it.source, it.name)).unzip();
        let (code, message, at) = match self.last_error {
            Some(LastError { code, message, at }) => (Some(code), Some(message), Some(at)),
            None => (None, None, None),
        };
        connection::ActiveModel {
            tenant_id: Set(self.tenant.0),
            id: Set(self.id.0),
            server_id: Set(self.server.0),
            scope: Set(self.holder.scope().as_str().to_owned()),
            holder_id: Set(holder_id(self.holder)),
            display_name: Set(self.display_name),
            external_subject: Set(self.external_subject),
            status: Set(self.status.as_str().to_owned()),
            generation: Set(self.generation.0),
            credential: Set(self.credential),
            reference_source: Set(source),
            reference_name: Set(name),
            credential_version: Set(self.credential_version),
            token: Set(self.token),
            token_generation: Set(self.token_generation),
            token_expires_at: Set(self.token_expires_at),
            refreshable: Set(self.refreshable),
            meta: Set(self.meta),
            error_code: Set(code),
            error_message: Set(message),
            error_at: Set(at),
            last_success_at: Set(self.last_success_at),
            import_digest: Set(self.import_digest),
            lease_owner: NotSet,
            lease_until: NotSet,
            created_by: Set(self.created_by),
            updated_by: Set(self.updated_by),
            created_at: Set(self.created_at),
            updated_at: Set(self.updated_at),
        }
    }

    pub(crate) fn from_row(row: connection::Model, holder_name: Option<String>) -> Result<Self, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        let error = match (row.error_code, row.error_message, row.error_at) {
            (Some(code), Some(message), Some(at)) => Some(LastError { code, message, at }),
            _ => None,
        };
        let reference = row.reference_source.zip(row.reference_name);
        Ok(Self {
            id: ConnectionId(row.id),
            tenant: TenantId(row.tenant_id),
            server: ServerId(row.server_id),
            holder: read_holder(&row.scope, row.holder_id).ok_or(corrupt("connection.scope"))?,
            holder_name,
            display_name: row.display_name,
            external_subject: row.external_subject,
            status: ConnectionStatus::parse(&row.status).ok_or(corrupt("connection.status"))?,
            generation: Generation(row.generation),
            credential: row.credential,
            reference: reference.map(|(source, name)| Reference { source, name }),
            credential_version: row.credential_version,
            token: row.token,
            token_generation: row.token_generation,
            token_expires_at: row.token_expires_at,
            refreshable: row.refreshable,
            meta: row.meta,
            last_error: error,
            last_success_at: row.last_success_at,
            import_digest: row.import_digest,
            created_by: row.created_by,
            updated_by: row.updated_by,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// The holder's column: the nil id for everybody.
pub(crate) fn holder_id(holder: Holder) -> Uuid {
    match holder {
        Holder::Global => Uuid::nil(),
        Holder::Department(id) => id.0,
        Holder::User(id) => id.0,
    }
}

/// `None` for columns that don't fit.
pub(crate) fn read_holder(scope: &str, id: Uuid) -> Option<Holder> {
    match (Scope::parse(scope)?, id.is_nil()) {
        (Scope::Global, true) => Some(Holder::Global),
        (Scope::Department, false) => Some(Holder::Department(DepartmentId(id))),
        (Scope::User, false) => Some(Holder::User(UserId(id))),
        _ => None,
    }
}
