//! Who stands behind a request.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::{GrantId, IssuerId, KeyId, TenantId, UserId};

/// Who calls the proxy: the nouns only. The proof that somebody authenticated is the proxy's
/// `Authenticated`, which nothing else can make.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    /// The tenant that the request is about.
    pub tenant: TenantId,
    /// The user that calls, or for whom is called; `None` for a key without a user.
    pub user: Option<UserId>,
    /// The key that was presented; `None` for a user who signed in. One of the two is always there.
    pub key: Option<KeyId>,
}

/// What sessions, streams and sessions with upstreams are bound to: another subject's look absent. The same
/// for a user's next token as for the last one, another for each key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject([u8; 16]);

impl Subject {
    /// Whoever holds this key, as the key's own identity.
    pub fn of_key(key: KeyId) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(key.as_str().as_bytes());
        Self(bytes)
    }

    /// A user for whom the holder of a key with the scope `act_as` calls.
    pub fn on_behalf(key: KeyId, user: UserId) -> Self {
        Self::hashed("on-behalf", &[key.as_str().as_bytes(), user.0.as_bytes()])
    }

    /// A user who let a client in.
    pub fn of_grant(grant: GrantId) -> Self {
        Self::hashed("grant", &[grant.0.as_bytes()])
    }

    /// Somebody whom an issuer calls `subject` (the claim `sub`), and whom the tenant knows by `external_id`: where
    /// that is another claim, the subject may be a client that comes for many.
    pub fn of_issuer(issuer: IssuerId, subject: &str, external_id: &str) -> Self {
        Self::hashed("issuer", &[issuer.0.as_bytes(), subject.as_bytes(), external_id.as_bytes()])
    }

    /// A user who signed in at control.
    pub fn of_user(user: UserId) -> Self {
        Self::hashed("user", &[user.0.as_bytes()])
    }

    /// Those of keys are ASCII; the others never are.
    fn hashed(kind: &str, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"gatehouse/subject/v1");
        for part in std::iter::once(kind.as_bytes()).chain(parts.iter().copied()) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let digest = hash.finalize();
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(digest).for_each(|(byte, hashed)| *byte = hashed);
        bytes[0] |= 0x80;
        Self(bytes)
    }

    /// The 16 bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads what [`Subject::as_bytes`] gave.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "subject:{:032x}", u128::from_be_bytes(self.0))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn every_way_to_be_somebody_is_another_subject() {
        let key: KeyId = "0123456789abcdef".parse().unwrap();
        let id = Uuid::from_u128(7);
        let subjects = [
            Subject::of_key(key),
            Subject::on_behalf(key, UserId(id)),
            Subject::on_behalf(key, UserId(Uuid::from_u128(8))),
            Subject::of_grant(GrantId(id)),
            Subject::of_user(UserId(id)),
            Subject::of_issuer(IssuerId(id), "ann", "ann"),
            Subject::of_issuer(IssuerId(id), "bob", "bob"),
            Subject::of_issuer(IssuerId(id), "app", "ann"),
            Subject::of_issuer(IssuerId(id), "app", "bob"),
        ];
        for (at, one) in subjects.iter().enumerate() {
            assert_eq!(Subject::from_bytes(*one.as_bytes()), *one);
            assert!(subjects[at + 1..].iter().all(|other| other != one), "{at}");
        }
    }
}
