//! A key as it is stored and created; and its row.

use model::{KeyRole, KeyVerifier, TenantId, UserId};
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};

use crate::entity::api_key;
use crate::{StoreError, row_text};

/// A key record: never the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// What recognises the key; pushed to proxies.
    pub verifier: KeyVerifier,
    /// Free text for people.
    pub label: String,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// Microseconds since 1970; a revoked key is never accepted again.
    pub revoked_at: Option<i64>,
    /// Microseconds since 1970, as last reported by a proxy or by control.
    pub last_used_at: Option<i64>,
}

/// A key to be stored.
#[derive(Clone)]
pub struct NewKey {
    /// What recognises the key. Its tenant must be that of the handle.
    pub verifier: KeyVerifier,
    /// Lets control check that a live caller stands behind a request; never leaves the store's database
    /// towards a proxy.
    pub evidence: [u8; 32],
    /// Free text for people.
    pub label: String,
}

impl KeyRecord {
    /// Whether the key is part of the intended state at `now`.
    pub(crate) fn is_intended(&self, now: i64) -> bool {
        self.revoked_at.is_none() && self.verifier.expires_at.is_none_or(|at| at > now)
    }

    /// What the audit row keeps.
    pub(crate) fn redacted(&self) -> Value {
        json!({
            "label": self.label,
            "role": self.verifier.role.as_str(),
            "user": self.verifier.user.map(|user| user.to_string()),
            "servers": self.verifier.servers,
            "expires_at": self.verifier.expires_at,
            "revoked_at": self.revoked_at,
        })
    }

    pub(crate) fn into_row(self, evidence: [u8; 32]) -> api_key::ActiveModel {
        let verifier = self.verifier;
        api_key::ActiveModel {
            id: Set(verifier.id.to_string()),
            tenant_id: Set(verifier.tenant.0),
            user_id: Set(verifier.user.map(|user| user.0)),
            role: Set(verifier.role.as_str().to_owned()),
            label: Set(self.label),
            sha256: Set(verifier.sha256.to_vec()),
            evidence: Set(evidence.to_vec()),
            servers: Set(verifier.servers.as_deref().map(row_text::list)),
            expires_at: Set(verifier.expires_at),
            created_at: Set(self.created_at),
            revoked_at: Set(self.revoked_at),
            last_used_at: Set(self.last_used_at),
        }
    }
}

impl TryFrom<api_key::Model> for KeyRecord {
    type Error = StoreError;

    fn try_from(row: api_key::Model) -> Result<Self, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        let servers = match row.servers {
            None => None,
            Some(text) => Some(row_text::read_list(&text).ok_or(corrupt("api_key.servers"))?),
        };
        let verifier = KeyVerifier {
            id: row.id.parse().map_err(|_| corrupt("api_key.id"))?,
            tenant: TenantId(row.tenant_id),
            user: row.user_id.map(UserId),
            role: KeyRole::parse(&row.role).ok_or(corrupt("api_key.role"))?,
            sha256: row.sha256.try_into().map_err(|_| corrupt("api_key.sha256"))?,
            servers,
            expires_at: row.expires_at,
        };
        Ok(Self {
            verifier,
            label: row.label,
            created_at: row.created_at,
            revoked_at: row.revoked_at,
            last_used_at: row.last_used_at,
        })
    }
}
