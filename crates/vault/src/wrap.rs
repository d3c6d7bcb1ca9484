//! The vault: a key file, and the data keys that are wrapped under it.
//!
//! A wrapped key is `GK`, version 2, suite 1, data key id (4, big endian), key file id (8), salt (32),
//! nonce (12), ciphertext and tag (48). Its tenant and header are authenticated.

use std::fmt;
use std::path::Path;

use model::TenantId;
use ring::aead::{Aad, Nonce};
use zeroize::Zeroizing;

use crate::derive::{self, Key};
use crate::{DataKey, PLATFORM, VaultError, key_file};

const MAGIC: [u8; 2] = *b"GK";
const VERSION: u8 = 2;
const SUITE: u8 = 1;
const WRAPPED: usize = 8 + 8 + 32 + 12 + 32 + 16;
/// Key ids begin here; rotation will count up.
const FIRST_KEY: u32 = 1;

/// The key file's key, in memory.
pub struct Vault {
    kek: Key,
    id: [u8; 8],
}

impl Vault {
    /// Makes a key file with 32 random bytes, mode 0600, synced. Refuses if there is one.
    pub fn init_kek(path: &Path) -> Result<(), VaultError> {
        key_file::create(path)
    }

    /// Reads the key file: exactly 32 random bytes, owned by this process's user, closed to others.
    pub fn open(kek_file: &Path) -> Result<Self, VaultError> {
        Self::with_key(key_file::read(kek_file)?)
    }

    fn with_key(kek: Key) -> Result<Self, VaultError> {
        // An id that tells two key files apart and tells nothing of their content.
        let derived = derive::derive(&kek, b"", &[derive::KEK_ID])?;
        let mut id = [0; 8];
        id.iter_mut().zip(derived.iter()).for_each(|(to, from)| *to = *from);
        Ok(Self { kek, id })
    }

    /// The key under which lists' cursors are sealed: the same on every replica, of no use for anything else.
    pub fn cursor_key(&self) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        derive::derive(&self.kek, b"", &[derive::CURSORS])
    }

    /// A fresh data key for a tenant. Store what [`Vault::wrap_data_key`] makes of it.
    pub fn new_tenant_key(&self, tenant: TenantId) -> Result<DataKey, VaultError> {
        Ok(DataKey { tenant, id: FIRST_KEY, key: Zeroizing::new(derive::random()?) })
    }

    /// A fresh data key for the platform's own secrets.
    pub fn new_platform_key(&self) -> Result<DataKey, VaultError> {
        self.new_tenant_key(PLATFORM)
    }

    /// The stored form of a data key.
    pub fn wrap_data_key(&self, key: &DataKey) -> Result<Vec<u8>, VaultError> {
        let header = self.header(key.id);
        let salt = derive::random::<32>()?;
        let nonce = derive::random::<12>()?;
        let mut sealed = Zeroizing::new(key.key.to_vec());
        let tag = derive::cipher(&self.wrapping_key(&salt)?)?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(authenticated(key.tenant, &header)),
                sealed.as_mut_slice(),
            )
            .map_err(|_| VaultError::TooLong)?;
        Ok([&header[..], &salt, &nonce, &sealed, tag.as_ref()].concat())
    }

    /// Opens the stored form of `tenant`'s data key ([`PLATFORM`] for the platform's).
    pub fn unwrap_data_key(&self, tenant: TenantId, wrapped: &[u8]) -> Result<DataKey, VaultError> {
        if wrapped.len() != WRAPPED {
            return Err(VaultError::NotAnEnvelope);
        }
        let (header, rest) = wrapped.split_first_chunk::<16>().ok_or(VaultError::NotAnEnvelope)?;
        let (salt, rest) = rest.split_first_chunk::<32>().ok_or(VaultError::NotAnEnvelope)?;
        let (nonce, sealed) = rest.split_first_chunk::<12>().ok_or(VaultError::NotAnEnvelope)?;
        let [magic0, magic1, version, suite, a, b, c, d, kek_id @ ..] = *header;
        if [magic0, magic1] != MAGIC {
            return Err(VaultError::NotAnEnvelope);
        }
        if (version, suite) != (VERSION, SUITE) {
            return Err(VaultError::UnsupportedEnvelope { version, suite });
        }
        if kek_id != self.id {
            return Err(VaultError::OtherKeyFile);
        }
        let mut opened = Zeroizing::new(sealed.to_vec());
        let plain = derive::cipher(&self.wrapping_key(salt)?)?
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(authenticated(tenant, header)),
                opened.as_mut_slice(),
            )
            .map_err(|_| VaultError::Altered)?;
        let mut key = Zeroizing::new([0; 32]);
        key.iter_mut().zip(plain.iter()).for_each(|(to, from)| *to = *from);
        Ok(DataKey { tenant, id: u32::from_be_bytes([a, b, c, d]), key })
    }

    fn header(&self, key: u32) -> [u8; 16] {
        let mut header = [0; 16];
        let parts = MAGIC.into_iter().chain([VERSION, SUITE]).chain(key.to_be_bytes()).chain(self.id);
        header.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        header
    }

    fn wrapping_key(&self, salt: &[u8; 32]) -> Result<Key, VaultError> {
        derive::derive(&self.kek, salt, &[derive::KEK_WRAP, &self.id])
    }
}

/// Another tenant's wrapped key, or one whose header was changed, doesn't open.
fn authenticated(tenant: TenantId, header: &[u8; 16]) -> Vec<u8> {
    [&b"gatehouse/aad/v2"[..], &16u32.to_be_bytes(), tenant.0.as_bytes(), header].concat()
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(seed: u8) -> Vault {
        Vault::with_key(Zeroizing::new([seed; 32])).unwrap()
    }

    fn tenant(number: u128) -> TenantId {
        TenantId(uuid::Uuid::from_u128(number))
    }

    #[test]
    fn a_wrapped_key_opens_as_the_same_key() {
        let vault = vault(1);
        let key = vault.new_tenant_key(tenant(7)).unwrap();
        let wrapped = vault.wrap_data_key(&key).unwrap();
        assert_eq!(wrapped.len(), WRAPPED);
        let opened = vault.unwrap_data_key(tenant(7), &wrapped).unwrap();
        assert_eq!((opened.id, *opened.key), (key.id, *key.key));
    }

    #[test]
    fn a_wrapped_key_opens_for_nobody_else() {
        let vault = vault(1);
        let wrapped = vault.wrap_data_key(&vault.new_tenant_key(tenant(7)).unwrap()).unwrap();
        assert!(matches!(vault.unwrap_data_key(tenant(8), &wrapped), Err(VaultError::Altered)));
        assert!(matches!(vault.unwrap_data_key(PLATFORM, &wrapped), Err(VaultError::Altered)));
        assert!(matches!(self::vault(2).unwrap_data_key(tenant(7), &wrapped), Err(VaultError::OtherKeyFile)));
    }

    #[test]
    fn no_bit_of_a_wrapped_key_can_be_flipped() {
        let vault = vault(1);
        let wrapped = vault.wrap_data_key(&vault.new_platform_key().unwrap()).unwrap();
        for bit in 0..wrapped.len() * 8 {
            let mut flipped = wrapped.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(vault.unwrap_data_key(PLATFORM, &flipped).is_err(), "bit {bit}");
        }
        for len in 0..wrapped.len() {
            assert!(matches!(vault.unwrap_data_key(PLATFORM, &wrapped[..len]), Err(VaultError::NotAnEnvelope)));
        }
    }

    #[test]
    fn two_wraps_of_one_key_differ() {
        let vault = vault(1);
        let key = vault.new_platform_key().unwrap();
        assert_ne!(vault.wrap_data_key(&key).unwrap(), vault.wrap_data_key(&key).unwrap());
    }
}
