//! What a user let a client do, as it is stored and made; and its row.

use model::{GrantId, IssuerId, TenantId, UserId};
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};

use crate::entity::oauth_grant;

const DAY_MICROS: i64 = 24 * 3600 * 1_000_000;
/// A grant lives no longer, however it is used; microseconds.
pub const GRANT_LIFE: i64 = 90 * DAY_MICROS;
/// A grant that is not used for so long has ended; microseconds.
pub const GRANT_IDLE: i64 = 30 * DAY_MICROS;

/// A grant record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRecord {
    /// The claim `sid` of its tokens.
    pub id: GrantId,
    /// The user's tenant.
    pub tenant: TenantId,
    /// Who consented.
    pub user: UserId,
    /// Through which issuer they had signed in; `None` for a password. The grant ends with that way in.
    pub issuer: Option<IssuerId>,
    /// To which client.
    pub client: String,
    /// What the client called itself.
    pub client_name: String,
    /// For which resource.
    pub resource: String,
    /// What the client may do there.
    pub scope: String,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// When the client last got a token, microseconds since 1970.
    pub used_at: i64,
    /// When it ends, used or not; microseconds since 1970.
    pub expires_at: i64,
    /// Microseconds since 1970; a revoked grant never opens anything again.
    pub revoked_at: Option<i64>,
}

/// A grant to be made.
#[derive(Clone)]
pub struct NewGrant {
    /// Of the code that it is made of: [`Code::grant`](crate::Code::grant).
    pub id: GrantId,
    /// See [`GrantRecord::user`].
    pub user: UserId,
    /// See [`GrantRecord::issuer`].
    pub issuer: Option<IssuerId>,
    /// See [`GrantRecord::client`].
    pub client: String,
    /// See [`GrantRecord::client_name`].
    pub client_name: String,
    /// See [`GrantRecord::resource`].
    pub resource: String,
    /// See [`GrantRecord::scope`].
    pub scope: String,
    /// SHA-256 of the first refresh token.
    pub refresh_hash: [u8; 32],
    /// See [`GrantRecord::expires_at`]; later than [`GRANT_LIFE`] from now is cut to it.
    pub expires_at: i64,
}

/// Which grants to list, in the order of their making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrantPage {
    /// Only those of this user.
    pub user: Option<UserId>,
    /// Only those that live, or only the others.
    pub live: Option<bool>,
    /// Only those after this one.
    pub after: Option<GrantId>,
    /// At most this many, 1 to 500.
    pub limit: u32,
}

/// What became of a refresh token that was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// The next one is in its place.
    Rotated(GrantRecord),
    /// It had been replaced before: two have it, one of them a thief. The grant is revoked.
    Reused(GrantId),
    /// No such token, or its grant has ended.
    Unknown,
}

impl GrantRecord {
    pub(crate) fn new(tenant: TenantId, new: NewGrant, now: i64) -> Self {
        Self {
            id: new.id,
            tenant,
            user: new.user,
            issuer: new.issuer,
            client: new.client,
            client_name: new.client_name,
            resource: new.resource,
            scope: new.scope,
            created_at: now,
            used_at: now,
            expires_at: new.expires_at.min(now.saturating_add(GRANT_LIFE)),
            revoked_at: None,
        }
    }

    /// Whether it is neither revoked nor at its end at `now`, microseconds since 1970. Its user or tenant
    /// may still close it.
    pub fn is_live(&self, now: i64) -> bool {
        self.revoked_at.is_none() && self.expires_at > now && self.used_at > now.saturating_sub(GRANT_IDLE)
    }

    /// How the audit names it.
    pub(crate) fn object(&self) -> String {
        format!("grant/{}", self.id)
    }

    /// What the audit row keeps.
    pub(crate) fn redacted(&self) -> Value {
        json!({
            "user": self.user.to_string(),
            "issuer": self.issuer.map(|issuer| issuer.to_string()),
            "client": self.client,
            "client_name": self.client_name,
            "resource": self.resource,
            "scope": self.scope,
            "expires_at": self.expires_at,
        })
    }

    pub(crate) fn into_row(self) -> oauth_grant::ActiveModel {
        oauth_grant::ActiveModel {
            tenant_id: Set(self.tenant.0),
            id: Set(self.id.0),
            user_id: Set(self.user.0),
            issuer_id: Set(self.issuer.map(|issuer| issuer.0)),
            client_id: Set(self.client),
            client_name: Set(self.client_name),
            resource: Set(self.resource),
            scope: Set(self.scope),
            created_at: Set(self.created_at),
            used_at: Set(self.used_at),
            expires_at: Set(self.expires_at),
            revoked_at: Set(self.revoked_at),
        }
    }
}

impl From<oauth_grant::Model> for GrantRecord {
    fn from(row: oauth_grant::Model) -> Self {
        Self {
            id: GrantId(row.id),
            tenant: TenantId(row.tenant_id),
            user: UserId(row.user_id),
            issuer: row.issuer_id.map(IssuerId),
            client: row.client_id,
            client_name: row.client_name,
            resource: row.resource,
            scope: row.scope,
            created_at: row.created_at,
            used_at: row.used_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(expires_at: i64) -> GrantRecord {
        let new = NewGrant {
            id: GrantId::fresh(),
            user: UserId::fresh(),
            issuer: None,
            client: "c".to_owned(),
            client_name: "C".to_owned(),
            resource: "r".to_owned(),
            scope: "mcp".to_owned(),
            refresh_hash: [0; 32],
            expires_at,
        };
        GrantRecord::new(TenantId::fresh(), new, 1_000)
    }

    #[test]
    fn a_grant_ends_by_age_by_idleness_and_by_revocation() {
        assert_eq!(grant(i64::MAX).expires_at, 1_000 + GRANT_LIFE, "never longer");
        let mut it = grant(1_000 + 2 * GRANT_IDLE);
        assert!(it.is_live(1_000) && it.is_live(999 + GRANT_IDLE) && !it.is_live(1_000 + GRANT_IDLE));
        it.used_at += GRANT_IDLE;
        assert!(it.is_live(1_000 + GRANT_IDLE) && !it.is_live(1_000 + 2 * GRANT_IDLE));
        it.revoked_at = Some(1);
        assert!(!it.is_live(1_000));
    }
}
