//! A KEK in this process's memory: out of a file, or of a variable.
//!
//! A key wrapped by it is `GK`, version 2, suite 1, data key id (4, big endian), KEK id (8), salt (32),
//! nonce (12), ciphertext and tag (48). Its tenant and header are authenticated.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use ring::aead::{Aad, Nonce};
use zeroize::Zeroizing;

use crate::derive::{self, Key};
use crate::kek::{KekError, KekProvider, KeyOf};
use crate::{VaultError, key_file, key_text};

const MAGIC: [u8; 2] = *b"GK";
const VERSION: u8 = 2;
const SUITE: u8 = 1;
const WRAPPED: usize = 8 + 8 + 32 + 12 + 32 + 16;

/// 32 random bytes that wrap data keys.
pub struct LocalKek {
    kek: Key,
    id: [u8; 8],
    name: String,
}

impl LocalKek {
    /// Makes a key file with 32 random bytes, mode 0600, synced. Refuses if there is one.
    pub fn init(path: &Path) -> Result<(), VaultError> {
        key_file::create(path)
    }

    /// Reads the key file: exactly 32 random bytes, owned by this process's user, closed to others.
    pub fn open(kek_file: &Path) -> Result<Self, VaultError> {
        Self::with_key(key_file::read(kek_file)?)
    }

    /// Reads the base64 text of 32 random bytes.
    pub fn from_text(text: &str) -> Result<Self, VaultError> {
        Self::with_key(key_text::read(text)?)
    }

    /// As one of the providers of [`crate::Keks`].
    pub fn shared(self) -> Arc<dyn KekProvider> {
        Arc::new(self)
    }

    fn with_key(kek: Key) -> Result<Self, VaultError> {
        // An id that tells two KEKs apart and tells nothing of their content.
        let derived = derive::derive(&kek, b"", &[derive::KEK_ID])?;
        let mut id = [0; 8];
        id.iter_mut().zip(derived.iter()).for_each(|(to, from)| *to = *from);
        Ok(Self { kek, id, name: format!("local:{:016x}", u64::from_be_bytes(id)) })
    }

    fn seal(&self, of: KeyOf, plain: &[u8; 32]) -> Result<Vec<u8>, VaultError> {
        let header = self.header(of.id);
        let salt = derive::random::<32>()?;
        let nonce = derive::random::<12>()?;
        let mut sealed = Zeroizing::new(plain.to_vec());
        let tag = derive::cipher(&self.wrapping_key(&salt)?)?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(authenticated(of, &header)),
                sealed.as_mut_slice(),
            )
            .map_err(|_| VaultError::TooLong)?;
        Ok([&header[..], &salt, &nonce, &sealed, tag.as_ref()].concat())
    }

    fn unseal(&self, of: KeyOf, wrapped: &[u8]) -> Result<Key, VaultError> {
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
        let found = u32::from_be_bytes([a, b, c, d]);
        if found != of.id {
            return Err(VaultError::OtherDataKey { expected: of.id, found });
        }
        if kek_id != self.id {
            return Err(VaultError::OtherKek);
        }
        let mut opened = Zeroizing::new(sealed.to_vec());
        let plain = derive::cipher(&self.wrapping_key(salt)?)?
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(authenticated(of, header)),
                opened.as_mut_slice(),
            )
            .map_err(|_| VaultError::Altered)?;
        let mut key = Zeroizing::new([0; 32]);
        key.iter_mut().zip(plain.iter()).for_each(|(to, from)| *to = *from);
        Ok(key)
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

#[async_trait]
impl KekProvider for LocalKek {
    fn id(&self) -> &str {
        &self.name
    }

    async fn wrap(&self, of: KeyOf, plain: &[u8; 32]) -> Result<Vec<u8>, KekError> {
        Ok(self.seal(of, plain)?)
    }

    async fn unwrap(&self, of: KeyOf, wrapped: &[u8]) -> Result<Key, KekError> {
        Ok(self.unseal(of, wrapped)?)
    }

    async fn health(&self) -> Result<(), KekError> {
        Ok(())
    }
}

/// Another tenant's wrapped key, or one whose header was changed, doesn't open.
fn authenticated(of: KeyOf, header: &[u8; 16]) -> Vec<u8> {
    [&b"gatehouse/aad/v2"[..], &16u32.to_be_bytes(), of.tenant.0.as_bytes(), header].concat()
}

impl fmt::Debug for LocalKek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalKek")
    }
}

#[cfg(test)]
mod tests {
    use model::TenantId;

    use super::*;
    use crate::{DataKey, Keks, MAX_WRAPPED, PLATFORM, Wrapped};

    fn kek(seed: u8) -> LocalKek {
        LocalKek::with_key(Zeroizing::new([seed; 32])).unwrap()
    }

    fn of(number: u128) -> KeyOf {
        KeyOf { tenant: TenantId(uuid::Uuid::from_u128(number)), id: 1 }
    }

    #[test]
    fn a_wrapped_key_opens_as_the_same_key() {
        let kek = kek(1);
        let key = DataKey::generate(of(7)).unwrap();
        let wrapped = kek.seal(of(7), &key.key).unwrap();
        assert_eq!(wrapped.len(), WRAPPED);
        assert_eq!(*kek.unseal(of(7), &wrapped).unwrap(), *key.key);
    }

    #[test]
    fn a_wrapped_key_opens_for_nobody_else() {
        let kek = kek(1);
        let wrapped = kek.seal(of(7), &[5; 32]).unwrap();
        assert!(matches!(kek.unseal(of(8), &wrapped), Err(VaultError::Altered)));
        assert!(matches!(kek.unseal(KeyOf { tenant: PLATFORM, id: 1 }, &wrapped), Err(VaultError::Altered)));
        assert!(matches!(kek.unseal(KeyOf { id: 2, ..of(7) }, &wrapped), Err(VaultError::OtherDataKey { .. })));
        assert!(matches!(self::kek(2).unseal(of(7), &wrapped), Err(VaultError::OtherKek)));
    }

    #[test]
    fn no_bit_of_a_wrapped_key_can_be_flipped() {
        let kek = kek(1);
        let wrapped = kek.seal(of(7), &[5; 32]).unwrap();
        for bit in 0..wrapped.len() * 8 {
            let mut flipped = wrapped.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(kek.unseal(of(7), &flipped).is_err(), "bit {bit}");
        }
        for len in 0..wrapped.len() {
            assert!(matches!(kek.unseal(of(7), &wrapped[..len]), Err(VaultError::NotAnEnvelope)));
        }
    }

    #[test]
    fn two_wraps_of_one_key_differ() {
        let kek = kek(1);
        assert_ne!(kek.seal(of(7), &[5; 32]).unwrap(), kek.seal(of(7), &[5; 32]).unwrap());
    }

    /// What `future` comes to; nothing here ever waits.
    fn now<T>(future: impl Future<Output = T>) -> T {
        let waker = std::task::Waker::noop();
        let mut future = std::pin::pin!(future);
        match future.as_mut().poll(&mut std::task::Context::from_waker(waker)) {
            std::task::Poll::Ready(value) => value,
            std::task::Poll::Pending => panic!("a local key waits for nothing"),
        }
    }

    #[test]
    fn several_keks_are_read_and_the_first_one_writes() {
        let key = DataKey::generate(of(7)).unwrap();
        let old = Keks::new(kek(1).shared(), vec![]);
        let before = now(old.wrap(&key)).unwrap();
        let both = Keks::new(kek(2).shared(), vec![kek(1).shared()]);
        let after = now(both.wrap(&key)).unwrap();
        assert_eq!((before.kek.as_str(), after.kek.as_str()), (kek(1).id(), kek(2).id()));
        for wrapped in [&before, &after] {
            assert_eq!(*now(both.unwrap(of(7), wrapped)).unwrap().key, *key.key);
        }
        assert!(matches!(now(old.unwrap(of(7), &after)), Err(KekError::Vault(VaultError::OtherKek))));
        assert_eq!(both.writing(), kek(2).id());
        assert_eq!(now(both.health()).len(), 2);
    }

    #[test]
    fn an_encrypted_data_key_longer_than_4096_bytes_is_refused_before_it_is_used() {
        let keks = Keks::new(kek(1).shared(), vec![]);
        let long = Wrapped { kek: "nobody's".into(), bytes: vec![0; MAX_WRAPPED + 1] };
        assert!(matches!(now(keks.unwrap(of(7), &long)), Err(KekError::Vault(VaultError::WrappedTooLong))));
        let fits = Wrapped { bytes: vec![0; MAX_WRAPPED], ..long };
        assert!(matches!(now(keks.unwrap(of(7), &fits)), Err(KekError::Vault(VaultError::OtherKek))));
    }
}
