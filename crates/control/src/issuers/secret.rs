//! The secret under which control is a client of an issuer: sealed in its row, opened only to sign somebody in.

use model::{IssuerId, Secret, TenantId};
use store::IssuerRecord;
use vault::VaultError;

use super::Issuers;
use crate::keyring::{KeyringError, Place};

impl Issuers {
    /// Seals a secret for the record that has this id, or will have it.
    pub(crate) async fn seal_secret(
        &self,
        tenant: TenantId,
        id: IssuerId,
        secret: &Secret,
    ) -> Result<Vec<u8>, KeyringError> {
        let version = self.clock.now_micros();
        self.keyring.seal_row(place(tenant, id), version, secret.expose().as_bytes()).await
    }

    /// The secret of a record that has one.
    pub(crate) async fn secret(&self, record: &IssuerRecord) -> Result<Option<Secret>, KeyringError> {
        let Some(sealed) = &record.client_secret else { return Ok(None) };
        let plain = self.keyring.open_row(place(record.tenant, record.id), sealed).await?;
        let text = std::str::from_utf8(&plain).map_err(|_| KeyringError::Unreadable(VaultError::Altered))?;
        Ok(Some(Secret::new(text.to_owned())))
    }
}

/// Where the secret lies sealed, its version in front of it.
pub(crate) fn place(tenant: TenantId, id: IssuerId) -> Place {
    Place { tenant, kind: "issuer", record: id.0, field: "client_secret" }
}
