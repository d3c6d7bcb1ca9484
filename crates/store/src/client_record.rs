//! An OAuth client of the authorization server, and its row.

use model::TenantId;
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};

use crate::entity::oauth_client;
use crate::{StoreError, row_text};

/// How a client became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientKind {
    /// It registered itself, and was given its id.
    Registered,
    /// Its id is the address of the document that describes it.
    Document,
}

/// A public client: it has no secret, and proves nothing but that it began what it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientRecord {
    /// Unique in the tenant.
    pub id: String,
    /// How it became known.
    pub kind: ClientKind,
    /// What it calls itself.
    pub name: String,
    /// Where codes may be sent.
    pub redirect_uris: Vec<String>,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// When somebody last let it in, or it last got a token; microseconds since 1970.
    pub used_at: Option<i64>,
    /// After this it is unknown, microseconds since 1970; moved by its use.
    pub expires_at: i64,
}

impl ClientKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Document => "document",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Registered, Self::Document].into_iter().find(|kind| kind.as_str() == text)
    }
}

impl ClientRecord {
    /// How the audit names it.
    pub(crate) fn object(&self) -> String {
        format!("client/{}", self.id)
    }

    /// What the audit row keeps.
    pub(crate) fn redacted(&self) -> Value {
        json!({ "name": self.name, "kind": self.kind.as_str(), "redirect_uris": self.redirect_uris })
    }

    pub(crate) fn into_row(self, tenant: TenantId) -> oauth_client::ActiveModel {
        oauth_client::ActiveModel {
            tenant_id: Set(tenant.0),
            id: Set(self.id),
            kind: Set(self.kind.as_str().to_owned()),
            name: Set(self.name),
            redirect_uris: Set(row_text::list(&self.redirect_uris)),
            created_at: Set(self.created_at),
            used_at: Set(self.used_at),
            expires_at: Set(self.expires_at),
        }
    }
}

impl TryFrom<oauth_client::Model> for ClientRecord {
    type Error = StoreError;

    fn try_from(row: oauth_client::Model) -> Result<Self, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        Ok(Self {
            id: row.id,
            kind: ClientKind::parse(&row.kind).ok_or(corrupt("oauth_client.kind"))?,
            name: row.name,
            redirect_uris: row_text::read_list(&row.redirect_uris).ok_or(corrupt("oauth_client.redirect_uris"))?,
            created_at: row.created_at,
            used_at: row.used_at,
            expires_at: row.expires_at,
        })
    }
}
