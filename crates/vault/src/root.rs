//! The platform's own secret, from which keys are derived that must never change: what was made under them is compared
//! for as long as the database lives.

use std::fmt;

use ring::hmac;
use zeroize::Zeroizing;

use crate::VaultError;
use crate::derive::{self, Key};

/// 32 random bytes, kept sealed, never rotated.
pub struct RootSecret {
    fingerprints: hmac::Key,
    cursors: Key,
}

/// Bytes of a fingerprint.
pub const FINGERPRINT: usize = 16;

impl RootSecret {
    /// The bytes of a new one; seal them.
    pub fn generate() -> Result<Zeroizing<[u8; 32]>, VaultError> {
        Ok(Zeroizing::new(derive::random()?))
    }

    /// What the bytes of an opened one stand for.
    pub fn new(bytes: &[u8]) -> Result<Self, VaultError> {
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_| VaultError::Altered)?;
        let fingerprints = derive::derive(bytes, b"", &[derive::FINGERPRINTS])?;
        Ok(Self {
            fingerprints: hmac::Key::new(hmac::HMAC_SHA256, fingerprints.as_slice()),
            cursors: derive::derive(bytes, b"", &[derive::CURSORS])?,
        })
    }

    /// Says of two secrets of one tenant whether they are equal, and nothing else of them.
    pub fn fingerprint(&self, tenant: model::TenantId, secret: &[u8]) -> [u8; FINGERPRINT] {
        let mut context = hmac::Context::with_key(&self.fingerprints);
        context.update(tenant.0.as_bytes());
        context.update(secret);
        let mut fingerprint = [0; FINGERPRINT];
        fingerprint.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        fingerprint
    }

    /// The key under which lists' cursors are sealed: the same on every replica, of no use for anything else.
    pub fn cursor_key(&self) -> &[u8; 32] {
        &self.cursors
    }
}

impl fmt::Debug for RootSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootSecret")
    }
}

#[cfg(test)]
mod tests {
    use model::TenantId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn equal_secrets_of_one_tenant_have_equal_fingerprints_and_no_others_do() {
        let tenant = |number| TenantId(Uuid::from_u128(number));
        let root = RootSecret::new(&[7; 32]).unwrap();
        let one = root.fingerprint(tenant(1), b"ghp_example");
        assert_eq!(one, RootSecret::new(&[7; 32]).unwrap().fingerprint(tenant(1), b"ghp_example"));
        assert_ne!(one, root.fingerprint(tenant(1), b"ghp_examplf"));
        assert_ne!(one, root.fingerprint(tenant(2), b"ghp_example"));
        assert_ne!(one, RootSecret::new(&[8; 32]).unwrap().fingerprint(tenant(1), b"ghp_example"));
        assert!(RootSecret::new(&[7; 31]).is_err());
        assert_ne!(root.cursor_key(), &[7; 32]);
    }
}
