//! One-time keys: HKDF-SHA256 over a long-lived key, a random salt and a versioned purpose.

use ring::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::VaultError;

/// Purposes are ASCII, versioned and never reused.
pub(crate) const RECORD_KEY: &[u8] = b"gatehouse/v2/record-key";
pub(crate) const RECORD_COMMIT: &[u8] = b"gatehouse/v2/record-commit";
pub(crate) const KEK_WRAP: &[u8] = b"gatehouse/v2/kek-wrap";
pub(crate) const CURSORS: &[u8] = b"gatehouse/v2/cursors";
pub(crate) const FINGERPRINTS: &[u8] = b"gatehouse/v2/fingerprints";
pub(crate) const KEK_ID: &[u8] = b"gatehouse/v2/kek-id";

pub(crate) type Key = Zeroizing<[u8; 32]>;

/// A length, as the derivation wants it.
pub(crate) struct Bytes(pub(crate) usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

/// 32 bytes for `purpose`, which is the concatenation of its parts.
pub(crate) fn derive(key: &[u8; 32], salt: &[u8], purpose: &[&[u8]]) -> Result<Key, VaultError> {
    let mut derived = Zeroizing::new([0; 32]);
    Salt::new(HKDF_SHA256, salt)
        .extract(key)
        .expand(purpose, Bytes(derived.len()))
        .and_then(|okm| okm.fill(derived.as_mut_slice()))
        // Only an output longer than 8160 bytes fails; ours has 32.
        .map_err(|_| VaultError::Altered)?;
    Ok(derived)
}

/// The cipher under a derived key. Each derived key seals one plaintext, ever.
pub(crate) fn cipher(key: &Key) -> Result<LessSafeKey, VaultError> {
    // Only a wrong key length fails; ours has 32 by type.
    UnboundKey::new(&AES_256_GCM, key.as_slice()).map(LessSafeKey::new).map_err(|_| VaultError::Altered)
}

/// Fresh random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], VaultError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| VaultError::NoRandomness)?;
    Ok(bytes)
}
