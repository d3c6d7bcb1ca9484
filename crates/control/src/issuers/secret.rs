//! The secret under which control is a client of an issuer: sealed in its row, opened only to sign somebody in.

use model::{IssuerId, Secret, TenantId};
use store::IssuerRecord;

use super::Issuers;
use crate::sealing::{Place, SealingError};

impl Issuers {
    /// Seals a secret for the record that has this id, or will have it.
    pub(crate) fn seal_secret(&self, tenant: TenantId, id: IssuerId, secret: &Secret) -> Result<Vec<u8>, SealingError> {
        let version = u64::try_from(self.clock.now_micros()).unwrap_or(0);
        place(tenant, id).seal(&self.vault, version, secret.expose().as_bytes())
    }

    /// The secret of a record that has one.
    pub(crate) fn secret(&self, record: &IssuerRecord) -> Result<Option<Secret>, SealingError> {
        let Some(sealed) = &record.client_secret else { return Ok(None) };
        let plain = place(record.tenant, record.id).open(&self.vault, sealed)?;
        let text = std::str::from_utf8(&plain).map_err(|_| SealingError::Damaged)?;
        Ok(Some(Secret::new(text.to_owned())))
    }
}

fn place(tenant: TenantId, id: IssuerId) -> Place {
    Place { tenant, kind: "issuer", record: id.0, field: "client_secret" }
}
