//! Where secrets belong. Whoever seals one and whoever opens it must name the same place, so each is named once.

use model::{ConnectionId, ServerId, TenantId};
use uuid::Uuid;
use vault::Coordinates;

/// Where a secret belongs; it opens nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Whose it is, or [`vault::PLATFORM`].
    pub(crate) tenant: TenantId,
    /// The kind of record.
    pub(crate) kind: &'static str,
    /// The record's id.
    pub(crate) record: Uuid,
    /// The field of the record.
    pub(crate) field: &'static str,
}

impl Place {
    /// What a person gave for a connection. Its version is the record's `credential_version`.
    pub(crate) fn credential(tenant: TenantId, connection: ConnectionId) -> Self {
        Self { tenant, kind: "connection", record: connection.0, field: "credential" }
    }

    /// What was obtained for a connection. Its version is the record's `token_generation`.
    pub(crate) fn token(tenant: TenantId, connection: ConnectionId) -> Self {
        Self { tenant, kind: "connection", record: connection.0, field: "token" }
    }

    /// The secrets of a server's own settings. Their version is the record's `auth_secret_version`.
    pub(crate) fn auth_secret(tenant: TenantId, server: ServerId) -> Self {
        Self { tenant, kind: "server", record: server.0, field: "auth_secret" }
    }

    pub(super) fn at(&self, version: i64) -> Coordinates<'static> {
        let Self { tenant, kind, record, field } = *self;
        // Versions count up from zero; a negative one is no version of ours, and opens nothing as its bit pattern.
        Coordinates { tenant, kind, record, field, secret_version: version.cast_unsigned() }
    }
}
