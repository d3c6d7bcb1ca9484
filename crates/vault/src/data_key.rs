//! A data key seals values into envelopes, each under a key of its own derived from it.

use std::fmt;

use model::TenantId;
use ring::aead::{Aad, Nonce};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::derive::{self, Key};
use crate::{Coordinates, VaultError, envelope};

/// The key of one tenant (or of the platform). Lives in memory only; stored wrapped.
pub struct DataKey {
    pub(crate) tenant: TenantId,
    pub(crate) id: u32,
    pub(crate) key: Key,
}

impl DataKey {
    /// The number under which envelopes name this key.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Seals `plaintext` (at most 16 KiB) for `at`. Two envelopes of one plaintext differ.
    pub fn seal(&self, at: &Coordinates<'_>, plaintext: &[u8]) -> Result<Vec<u8>, VaultError> {
        self.check_tenant(at)?;
        let header = envelope::header(self.id);
        let salt = derive::random::<{ envelope::SALT }>()?;
        let nonce = derive::random::<{ envelope::NONCE }>()?;
        let commitment = self.derive(&salt, derive::RECORD_COMMIT)?;
        let mut sealed = envelope::pad(plaintext)?;
        let tag = derive::cipher(&self.derive(&salt, derive::RECORD_KEY)?)?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(at.authenticated(&header)),
                sealed.as_mut_slice(),
            )
            .map_err(|_| VaultError::TooLong)?;

        let mut bytes = Vec::with_capacity(envelope::OVERHEAD + sealed.len());
        for part in [&header[..], &salt, commitment.as_slice(), &nonce, &sealed, tag.as_ref()] {
            bytes.extend_from_slice(part);
        }
        Ok(bytes)
    }

    /// Opens an envelope that was sealed for the same coordinates by this key.
    pub fn open(&self, at: &Coordinates<'_>, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        self.check_tenant(at)?;
        let parts = envelope::parse(bytes)?;
        if parts.data_key != self.id {
            return Err(VaultError::OtherDataKey { expected: self.id, found: parts.data_key });
        }
        // Before the cipher sees anything: GCM alone lets one ciphertext open under two keys.
        let commitment = self.derive(parts.salt, derive::RECORD_COMMIT)?;
        if !bool::from(commitment.as_slice().ct_eq(parts.commitment)) {
            return Err(VaultError::CommitMismatch);
        }
        let mut opened = Zeroizing::new(parts.sealed.to_vec());
        let padded = derive::cipher(&self.derive(parts.salt, derive::RECORD_KEY)?)?
            .open_in_place(
                Nonce::assume_unique_for_key(*parts.nonce),
                Aad::from(at.authenticated(parts.header)),
                opened.as_mut_slice(),
            )
            .map_err(|_| VaultError::Altered)?;
        let len = envelope::unpadded_len(padded)?;
        opened.truncate(len);
        Ok(opened)
    }

    fn derive(&self, salt: &[u8; envelope::SALT], purpose: &[u8]) -> Result<Key, VaultError> {
        derive::derive(&self.key, salt, &[purpose])
    }

    /// A data key never works for another tenant, whatever the caller looked up.
    fn check_tenant(&self, at: &Coordinates<'_>) -> Result<(), VaultError> {
        if at.tenant == self.tenant { Ok(()) } else { Err(VaultError::WrongTenant { tenant: at.tenant }) }
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKey({}, {})", self.tenant, self.id)
    }
}
