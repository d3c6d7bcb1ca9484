//! An authorization code, written down and taken; and its row.

use model::{GrantId, IssuerId, TenantId, UserId};
use sea_orm::ActiveValue::Set;

use crate::entity::oauth_code;

/// A code to be kept until its client comes for it.
#[derive(Clone)]
pub struct NewCode {
    /// SHA-256 of the code.
    pub hash: [u8; 32],
    /// Who consented.
    pub user: UserId,
    /// Through which issuer they had signed in; `None` for a password.
    pub issuer: Option<IssuerId>,
    /// To which client.
    pub client: String,
    /// Where the code was sent.
    pub redirect_uri: String,
    /// For which resource.
    pub resource: String,
    /// What the client may do there.
    pub scope: String,
    /// The client's PKCE challenge (S256).
    pub challenge: String,
    /// Microseconds since 1970.
    pub expires_at: i64,
}

/// A code that was taken, with all that must fit before a grant is made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// The grant to be made of it: no other id is ever used for this code.
    pub grant: GrantId,
    /// See [`NewCode::user`].
    pub user: UserId,
    /// See [`NewCode::issuer`].
    pub issuer: Option<IssuerId>,
    /// See [`NewCode::client`].
    pub client: String,
    /// See [`NewCode::redirect_uri`].
    pub redirect_uri: String,
    /// See [`NewCode::resource`].
    pub resource: String,
    /// See [`NewCode::scope`].
    pub scope: String,
    /// See [`NewCode::challenge`].
    pub challenge: String,
    /// Microseconds since 1970.
    pub created_at: i64,
}

/// What became of taking a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeTaken {
    /// Nobody took it before, and nobody will again.
    Fresh(Code),
    /// It was taken before. What was made of it, or still would be, is revoked.
    Replayed(GrantId),
    /// No such code, or it is too old.
    Unknown,
}

impl NewCode {
    pub(crate) fn into_row(self, tenant: TenantId, now: i64) -> oauth_code::ActiveModel {
        oauth_code::ActiveModel {
            sha256: Set(self.hash.to_vec()),
            tenant_id: Set(tenant.0),
            user_id: Set(self.user.0),
            grant_id: Set(GrantId::fresh().0),
            issuer_id: Set(self.issuer.map(|issuer| issuer.0)),
            client_id: Set(self.client),
            redirect_uri: Set(self.redirect_uri),
            resource: Set(self.resource),
            scope: Set(self.scope),
            challenge: Set(self.challenge),
            created_at: Set(now),
            expires_at: Set(self.expires_at),
            used_at: Set(None),
            replayed_at: Set(None),
        }
    }
}

impl From<oauth_code::Model> for Code {
    fn from(row: oauth_code::Model) -> Self {
        Self {
            grant: GrantId(row.grant_id),
            user: UserId(row.user_id),
            issuer: row.issuer_id.map(IssuerId),
            client: row.client_id,
            redirect_uri: row.redirect_uri,
            resource: row.resource,
            scope: row.scope,
            challenge: row.challenge,
            created_at: row.created_at,
        }
    }
}
