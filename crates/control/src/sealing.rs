//! A secret as it lies in a row: sealed under a data key of its own, which lies wrapped beside it, so that there
//! is never a half of it.
//!
//! Version of the secret (8, big endian), length of the wrapped key (2), wrapped key, envelope.

use uuid::Uuid;
use vault::{Coordinates, Vault, VaultError};
use zeroize::Zeroizing;

use model::TenantId;

/// Where a secret belongs; it opens nowhere else.
#[derive(Debug, Clone, Copy)]
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

/// Why a secret can't be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealingError {
    /// The vault.
    #[error("the vault can't seal or open it")]
    Vault(#[from] VaultError),
    /// The row is not what this program wrote.
    #[error("the row is damaged")]
    Damaged,
}

impl Place {
    fn at(&self, secret_version: u64) -> Coordinates<'static> {
        let Self { tenant, kind, record, field } = *self;
        Coordinates { tenant, kind, record, field, secret_version }
    }

    /// Seals; `version` is another one for each secret of this place.
    pub(crate) fn seal(&self, vault: &Vault, version: u64, plain: &[u8]) -> Result<Vec<u8>, SealingError> {
        let key = vault.new_tenant_key(self.tenant)?;
        let wrapped = vault.wrap_data_key(&key)?;
        let wrapped_len = u16::try_from(wrapped.len()).map_err(|_| SealingError::Damaged)?;
        let envelope = key.seal(&self.at(version), plain)?;
        Ok([&version.to_be_bytes()[..], &wrapped_len.to_be_bytes(), &wrapped, &envelope].concat())
    }

    /// Opens what [`Place::seal`] gave.
    pub(crate) fn open(&self, vault: &Vault, row: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealingError> {
        let (version, rest) = row.split_first_chunk::<8>().ok_or(SealingError::Damaged)?;
        let (wrapped_len, rest) = rest.split_first_chunk::<2>().ok_or(SealingError::Damaged)?;
        let wrapped_len = usize::from(u16::from_be_bytes(*wrapped_len));
        let (wrapped, envelope) = rest.split_at_checked(wrapped_len).ok_or(SealingError::Damaged)?;
        let key = vault.unwrap_data_key(self.tenant, wrapped)?;
        Ok(key.open(&self.at(u64::from_be_bytes(*version)), envelope)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_where_it_belongs_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let kek = dir.path().join("kek");
        Vault::init_kek(&kek).unwrap();
        let vault = Vault::open(&kek).unwrap();
        let tenant = TenantId::fresh();
        let here = Place { tenant, kind: "issuer", record: Uuid::from_u128(1), field: "client_secret" };
        let row = here.seal(&vault, 7, b"hush").unwrap();
        assert_eq!(*here.open(&vault, &row).unwrap(), b"hush");
        for elsewhere in [
            Place { tenant: TenantId::fresh(), ..here },
            Place { kind: "server", ..here },
            Place { record: Uuid::from_u128(2), ..here },
            Place { field: "title", ..here },
        ] {
            assert!(elsewhere.open(&vault, &row).is_err(), "{elsewhere:?}");
        }
        for cut in [0, 8, 9, 50, row.len() - 1] {
            assert!(here.open(&vault, &row[..cut]).is_err(), "{cut}");
        }
        let mut later = row;
        later[7] += 1;
        assert!(here.open(&vault, &later).is_err(), "the version is authenticated");
    }
}
