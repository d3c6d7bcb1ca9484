//! A tenant's identity provider as it is stored, created and changed; and its row.

use std::fmt;

use model::{ClaimMapping, Generation, IssuerId, IssuerName, IssuerSpec, SigningAlgorithm, TenantId};
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};

use crate::entity::issuer;
use crate::{StoreError, row_text};

/// How long fetched keys may be trusted, microseconds: a day.
const TRUSTED_MICROS: i64 = 24 * 3600 * 1_000_000;
/// How much later the same keys must have been fetched for proxies to be told of it, microseconds: an hour.
const RENEWED_MICROS: i64 = 3600 * 1_000_000;
/// What stands for the keys of which none was fetched yet.
const NO_KEYS: &str = r#"{"keys":[]}"#;
/// Bytes of what is kept of a failure.
const FAILURE_BYTES: usize = 1_000;

/// An identity provider of a tenant.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuerRecord {
    /// The record's id.
    pub id: IssuerId,
    /// The tenant whose users it knows.
    pub tenant: TenantId,
    /// Unique in the tenant.
    pub name: IssuerName,
    /// Free text for people: what stands on the button.
    pub title: String,
    /// See [`IssuerSpec::issuer`]; unique in the tenant, and for ever: another one is another record.
    pub issuer: String,
    /// Under which name control signs people in there.
    pub client_id: Option<String>,
    /// The secret of that name, sealed by the vault.
    pub client_secret: Option<Vec<u8>>,
    /// See [`IssuerSpec::audiences`].
    pub audiences: Vec<String>,
    /// See [`IssuerSpec::algorithms`].
    pub algorithms: Vec<SigningAlgorithm>,
    /// See [`IssuerSpec::claims`].
    pub claims: ClaimMapping,
    /// See [`IssuerSpec::scope`].
    pub scope: Option<String>,
    /// See [`IssuerSpec::unknown_users`].
    pub unknown_users: bool,
    /// Whether people may sign in at control with it; that needs a client id.
    pub sign_in: bool,
    /// See [`IssuerSpec::mcp`].
    pub mcp: bool,
    /// Whether it counts at all.
    pub enabled: bool,
    /// What it says of itself: its discovery document, as fetched.
    pub metadata: Option<String>,
    /// Its public keys, a JSON Web Key Set; an empty one before the first fetch.
    pub keys: String,
    /// When the keys were fetched, microseconds since 1970; the same keys again move it by the hour only.
    pub keys_at: Option<i64>,
    /// When they were asked for last, microseconds since 1970.
    pub tried_at: Option<i64>,
    /// Why the last try failed.
    pub failure: Option<String>,
    /// Raised by every change of the record that somebody made, not by fetched keys.
    pub generation: Generation,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// Microseconds since 1970.
    pub updated_at: i64,
}

/// What was fetched from an identity provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedKeys {
    /// The key set, at most 64 KiB.
    pub document: String,
    /// The discovery document, at most 64 KiB.
    pub metadata: String,
    /// When, microseconds since 1970.
    pub at: i64,
}

/// An identity provider to be made.
#[derive(Clone, PartialEq, Eq)]
pub struct NewIssuer {
    /// Chosen by the caller, so that the secret can be sealed for it.
    pub id: IssuerId,
    /// See [`IssuerRecord::name`].
    pub name: IssuerName,
    /// See [`IssuerRecord::title`].
    pub title: String,
    /// See [`IssuerRecord::issuer`].
    pub issuer: String,
    /// See [`IssuerRecord::client_id`].
    pub client_id: Option<String>,
    /// See [`IssuerRecord::client_secret`].
    pub client_secret: Option<Vec<u8>>,
    /// See [`IssuerSpec::audiences`].
    pub audiences: Vec<String>,
    /// See [`IssuerSpec::algorithms`].
    pub algorithms: Vec<SigningAlgorithm>,
    /// See [`IssuerSpec::claims`].
    pub claims: ClaimMapping,
    /// See [`IssuerSpec::scope`].
    pub scope: Option<String>,
    /// See [`IssuerSpec::unknown_users`].
    pub unknown_users: bool,
    /// See [`IssuerRecord::sign_in`].
    pub sign_in: bool,
    /// See [`IssuerSpec::mcp`].
    pub mcp: bool,
    /// See [`IssuerRecord::enabled`].
    pub enabled: bool,
    /// What was fetched of it already.
    pub fetched: Option<FetchedKeys>,
}

/// What to change of an identity provider; `None` leaves a field alone, `Some(None)` clears it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct IssuerPatch {
    /// See [`IssuerRecord::name`].
    pub name: Option<IssuerName>,
    /// See [`IssuerRecord::title`].
    pub title: Option<String>,
    /// See [`IssuerRecord::client_id`].
    pub client_id: Option<Option<String>>,
    /// See [`IssuerRecord::client_secret`].
    pub client_secret: Option<Option<Vec<u8>>>,
    /// See [`IssuerSpec::audiences`]: replaces all of them.
    pub audiences: Option<Vec<String>>,
    /// See [`IssuerSpec::algorithms`]: replaces all of them.
    pub algorithms: Option<Vec<SigningAlgorithm>>,
    /// See [`IssuerSpec::claims`]: replaces all of it.
    pub claims: Option<ClaimMapping>,
    /// See [`IssuerSpec::scope`].
    pub scope: Option<Option<String>>,
    /// See [`IssuerSpec::unknown_users`].
    pub unknown_users: Option<bool>,
    /// See [`IssuerRecord::sign_in`].
    pub sign_in: Option<bool>,
    /// See [`IssuerSpec::mcp`].
    pub mcp: Option<bool>,
    /// See [`IssuerRecord::enabled`].
    pub enabled: Option<bool>,
}

/// Which identity providers to list, in the order of their making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IssuerPage {
    /// Only those with this text in name, title or issuer, whatever the case (of ASCII letters on SQLite).
    pub search: Option<String>,
    /// Only enabled or only disabled ones.
    pub enabled: Option<bool>,
    /// Only those after this one.
    pub after: Option<IssuerId>,
    /// At most this many, 1 to 500.
    pub limit: u32,
}

impl IssuerRecord {
    pub(crate) fn new(tenant: TenantId, new: NewIssuer, now: i64) -> Self {
        let mut record = Self {
            id: new.id,
            tenant,
            name: new.name,
            title: new.title,
            issuer: new.issuer,
            client_id: new.client_id,
            client_secret: new.client_secret,
            audiences: new.audiences,
            algorithms: new.algorithms,
            claims: new.claims,
            scope: new.scope,
            unknown_users: new.unknown_users,
            sign_in: new.sign_in,
            mcp: new.mcp,
            enabled: new.enabled,
            metadata: None,
            keys: NO_KEYS.to_owned(),
            keys_at: None,
            tried_at: None,
            failure: None,
            generation: Generation(1),
            created_at: now,
            updated_at: now,
        };
        if let Some(fetched) = new.fetched {
            record = record.fetched(fetched);
        }
        record
    }

    /// What proxies hold of it while it is enabled.
    pub fn spec(&self) -> IssuerSpec {
        IssuerSpec {
            id: self.id,
            tenant: self.tenant,
            issuer: self.issuer.clone(),
            audiences: self.audiences.clone(),
            algorithms: self.algorithms.clone(),
            claims: self.claims.clone(),
            scope: self.scope.clone(),
            unknown_users: self.unknown_users,
            mcp: self.mcp,
            keys: self.keys.clone(),
            // Keys that were never fetched were never to be trusted.
            keys_until: self.keys_at.map_or(0, |at| at.saturating_add(TRUSTED_MICROS)),
        }
    }

    /// The same, `None` if it is disabled.
    pub(crate) fn intended(&self) -> Option<IssuerSpec> {
        self.enabled.then(|| self.spec())
    }

    /// The record with the patch applied; generation and time are left alone.
    pub(crate) fn patched(&self, patch: IssuerPatch) -> Self {
        let mut record = self.clone();
        record.name = patch.name.unwrap_or(record.name);
        record.title = patch.title.unwrap_or(record.title);
        record.client_id = patch.client_id.unwrap_or(record.client_id);
        record.client_secret = patch.client_secret.unwrap_or(record.client_secret);
        record.audiences = patch.audiences.unwrap_or(record.audiences);
        record.algorithms = patch.algorithms.unwrap_or(record.algorithms);
        record.claims = patch.claims.unwrap_or(record.claims);
        record.scope = patch.scope.unwrap_or(record.scope);
        record.unknown_users = patch.unknown_users.unwrap_or(record.unknown_users);
        record.sign_in = patch.sign_in.unwrap_or(record.sign_in);
        record.mcp = patch.mcp.unwrap_or(record.mcp);
        record.enabled = patch.enabled.unwrap_or(record.enabled);
        record
    }

    /// The record after a fetch. What was overtaken by another replica's fetch changes nothing.
    pub(crate) fn fetched(&self, fetched: FetchedKeys) -> Self {
        let mut record = self.clone();
        if record.tried_at.is_some_and(|tried| tried > fetched.at) {
            return record;
        }
        let renewed = record.keys_at.is_none_or(|at| fetched.at.saturating_sub(at) >= RENEWED_MICROS);
        if renewed || record.keys != fetched.document {
            record.keys_at = Some(fetched.at);
        }
        record.keys = fetched.document;
        record.metadata = Some(fetched.metadata);
        record.tried_at = Some(fetched.at);
        record.failure = None;
        record
    }

    /// The record after a fetch that failed: its keys may be trusted until they are too old.
    pub(crate) fn failed(&self, mut text: String, at: i64) -> Self {
        let mut record = self.clone();
        if record.tried_at.is_none_or(|tried| tried <= at) {
            text.truncate(text.floor_char_boundary(FAILURE_BYTES));
            record.failure = Some(text);
            record.tried_at = Some(at);
        }
        record
    }

    /// How the audit and the book of answers name it.
    pub(crate) fn object(&self) -> String {
        model::ResourceName::Issuer(self.id).to_string()
    }

    /// What the audit row keeps.
    pub(crate) fn redacted(&self) -> Value {
        json!({
            "name": self.name.as_str(),
            "title": self.title,
            "issuer": self.issuer,
            "client_id": self.client_id,
            "has_client_secret": self.client_secret.is_some(),
            "audiences": self.audiences,
            "algorithms": row_text::algorithms(&self.algorithms),
            "claims": row_text::claims(&self.claims),
            "scope": self.scope,
            "unknown_users": self.unknown_users,
            "sign_in": self.sign_in,
            "mcp": self.mcp,
            "enabled": self.enabled,
            "generation": self.generation.0,
        })
    }

    pub(crate) fn into_row(self) -> issuer::ActiveModel {
        issuer::ActiveModel {
            tenant_id: Set(self.tenant.0),
            id: Set(self.id.0),
            name: Set(self.name.to_string()),
            title: Set(self.title),
            issuer: Set(self.issuer),
            client_id: Set(self.client_id),
            client_secret: Set(self.client_secret),
            audiences: Set(row_text::list(&self.audiences)),
            algorithms: Set(row_text::algorithms(&self.algorithms).to_string()),
            claims: Set(row_text::claims(&self.claims).to_string()),
            scope: Set(self.scope),
            unknown_users: Set(self.unknown_users),
            sign_in: Set(self.sign_in),
            mcp: Set(self.mcp),
            enabled: Set(self.enabled),
            metadata: Set(self.metadata),
            keys: Set(self.keys),
            keys_at: Set(self.keys_at),
            tried_at: Set(self.tried_at),
            failure: Set(self.failure),
            generation: Set(self.generation.0),
            created_at: Set(self.created_at),
            updated_at: Set(self.updated_at),
        }
    }
}

/// Whether tokens that the first lets in are kept out by the second: proxies must hear of it at once.
pub(crate) fn takes_trust(before: Option<&IssuerSpec>, after: Option<&IssuerSpec>) -> bool {
    let Some(before) = before else { return false };
    let Some(after) = after else { return true };
    let fewer_audiences = before.audiences.iter().any(|audience| !after.audiences.contains(audience));
    let fewer_algorithms = before.algorithms.iter().any(|algorithm| !after.algorithms.contains(algorithm));
    let another_scope = after.scope.is_some() && after.scope != before.scope;
    let strangers_out = before.unknown_users && !after.unknown_users;
    let clients_out = before.mcp && !after.mcp;
    // Other keys, or others behind the same claims.
    let others = before.keys != after.keys || before.claims != after.claims;
    fewer_audiences || fewer_algorithms || another_scope || strangers_out || clients_out || others
}

impl TryFrom<issuer::Model> for IssuerRecord {
    type Error = StoreError;

    fn try_from(row: issuer::Model) -> Result<Self, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        Ok(Self {
            id: IssuerId(row.id),
            tenant: TenantId(row.tenant_id),
            name: row.name.parse().map_err(|_| corrupt("issuer.name"))?,
            title: row.title,
            issuer: row.issuer,
            client_id: row.client_id,
            client_secret: row.client_secret,
            audiences: row_text::read_list(&row.audiences).ok_or(corrupt("issuer.audiences"))?,
            algorithms: row_text::read_algorithms(&row.algorithms).ok_or(corrupt("issuer.algorithms"))?,
            claims: row_text::read_claims(&row.claims).ok_or(corrupt("issuer.claims"))?,
            scope: row.scope,
            unknown_users: row.unknown_users,
            sign_in: row.sign_in,
            mcp: row.mcp,
            enabled: row.enabled,
            metadata: row.metadata,
            keys: row.keys,
            keys_at: row.keys_at,
            tried_at: row.tried_at,
            failure: row.failure,
            generation: Generation(row.generation),
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// Without what is sealed.
impl fmt::Debug for IssuerRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tried, failure) = (self.tried_at, &self.failure);
        write!(
            f,
            "IssuerRecord({} {} keys_at {:?} tried_at {tried:?} {failure:?} {})",
            self.id,
            self.redacted(),
            self.keys_at,
            self.tenant
        )
    }
}

impl fmt::Debug for NewIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewIssuer({} {} {})", self.id, self.name, self.issuer)
    }
}
