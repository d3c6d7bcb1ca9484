//! A session of the console, begun and read; and its row.

use model::{IssuerId, SessionId, TenantId, UserId};
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};

use crate::entity::session;
use crate::{TenantRecord, UserRecord};

/// A session: somebody who signed in with a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// By which people name it. It opens nothing: the secret in the cookie does.
    pub id: SessionId,
    /// The user's tenant.
    pub tenant: TenantId,
    /// Who signed in.
    pub user: UserId,
    /// Where the user signed in; `None` for a local account.
    pub issuer: Option<IssuerId>,
    /// From where, at the sign-in.
    pub ip: Option<String>,
    /// The browser, as it called itself at the sign-in.
    pub agent: Option<String>,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// When it was last noted as used, microseconds since 1970.
    pub seen_at: i64,
    /// When it ends, used or not; microseconds since 1970.
    pub expires_at: i64,
}

/// A session to be begun.
#[derive(Clone)]
pub struct NewSession {
    /// SHA-256 of the secret in the cookie.
    pub hash: [u8; 32],
    /// See [`SessionRecord::tenant`].
    pub tenant: TenantId,
    /// See [`SessionRecord::user`].
    pub user: UserId,
    /// See [`SessionRecord::issuer`].
    pub issuer: Option<IssuerId>,
    /// See [`SessionRecord::ip`].
    pub ip: Option<String>,
    /// See [`SessionRecord::agent`]. The caller bounds its size.
    pub agent: Option<String>,
    /// See [`SessionRecord::expires_at`].
    pub expires_at: i64,
}

/// A session that opens something now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSession {
    /// The session.
    pub session: SessionRecord,
    /// Its active user.
    pub user: UserRecord,
    /// The user's active tenant.
    pub tenant: TenantRecord,
}

/// Which sessions to list, in the order of their making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionPage {
    /// Only those of this user.
    pub user: Option<UserId>,
    /// Only those after this one.
    pub after: Option<SessionId>,
    /// At most this many, 1 to 500.
    pub limit: u32,
}

impl SessionRecord {
    pub(crate) fn new(new: NewSession, now: i64) -> Self {
        Self {
            id: SessionId::fresh(),
            tenant: new.tenant,
            user: new.user,
            issuer: new.issuer,
            ip: new.ip,
            agent: new.agent,
            created_at: now,
            seen_at: now,
            expires_at: new.expires_at,
        }
    }

    /// How the audit names it.
    pub(crate) fn object(&self) -> String {
        format!("session/{}", self.id)
    }

    /// What the audit row keeps.
    pub(crate) fn redacted(&self) -> Value {
        json!({
            "user": self.user.to_string(),
            "issuer": self.issuer.map(|issuer| issuer.to_string()),
            "ip": self.ip,
            "expires_at": self.expires_at,
        })
    }

    pub(crate) fn into_row(self, hash: [u8; 32]) -> session::ActiveModel {
        session::ActiveModel {
            tenant_id: Set(self.tenant.0),
            id: Set(self.id.0),
            sha256: Set(hash.to_vec()),
            user_id: Set(self.user.0),
            issuer_id: Set(self.issuer.map(|issuer| issuer.0)),
            ip: Set(self.ip),
            agent: Set(self.agent),
            created_at: Set(self.created_at),
            seen_at: Set(self.seen_at),
            expires_at: Set(self.expires_at),
        }
    }
}

impl From<session::Model> for SessionRecord {
    fn from(row: session::Model) -> Self {
        Self {
            id: SessionId(row.id),
            tenant: TenantId(row.tenant_id),
            user: UserId(row.user_id),
            issuer: row.issuer_id.map(IssuerId),
            ip: row.ip,
            agent: row.agent,
            created_at: row.created_at,
            seen_at: row.seen_at,
            expires_at: row.expires_at,
        }
    }
}
