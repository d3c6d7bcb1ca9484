//! Making keys: random bytes into a text that is shown once and a verifier that is kept.

use model::{KeyRole, KeyScopes, KeyText, KeyVerifier, Secret, TenantId, UserId};
use ring::rand::{SecureRandom as _, SystemRandom};
use store::NewKey;

/// What a new key is to be.
pub(crate) struct Mint {
    pub(crate) tenant: TenantId,
    pub(crate) user: Option<UserId>,
    pub(crate) role: KeyRole,
    pub(crate) scopes: KeyScopes,
    /// Names of the servers it may use; `None` for all.
    pub(crate) servers: Option<Vec<String>>,
    /// Microseconds since 1970; `None` for never.
    pub(crate) expires_at: Option<i64>,
    pub(crate) label: String,
}

/// A key that nobody has seen yet.
pub(crate) struct Minted {
    /// What is stored.
    pub(crate) new: NewKey,
    /// What is shown, once.
    pub(crate) text: Secret,
}

/// Makes a key; `None` if the system has no random bytes.
pub(crate) fn mint(what: Mint) -> Option<Minted> {
    let random = SystemRandom::new();
    let (mut id, mut secret) = ([0; 16], [0; 32]);
    random.fill(&mut id).ok()?;
    random.fill(&mut secret).ok()?;
    let key = KeyText::mint("live", id, secret);
    let verifier = KeyVerifier {
        id: key.id(),
        tenant: what.tenant,
        user: what.user,
        role: what.role,
        scopes: what.scopes,
        sha256: key.sha256(),
        servers: what.servers,
        expires_at: what.expires_at,
    };
    Some(Minted { new: NewKey { verifier, evidence: key.evidence(), label: what.label }, text: key.expose() })
}
