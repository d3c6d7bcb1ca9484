//! A key as it is stored, created and changed; what it opens; and its row.

use std::time::Duration;

use model::{Generation, KeyId, KeyRole, KeyScopes, KeyVerifier, TenantId, UserId};
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};

use crate::entity::api_key;
use crate::{StoreError, TenantRecord, row_text};

/// The longest that a key lives on beside the one that replaces it.
pub const MAX_GRACE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A key record: never the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// What recognises the key, with its own role. Proxies get it with the weaker role of key and user.
    pub verifier: KeyVerifier,
    /// Free text for people.
    pub label: String,
    /// The key that this one was made to replace.
    pub replaces: Option<KeyId>,
    /// Raised by every change of the record, not by its use.
    pub generation: Generation,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// Microseconds since 1970; a revoked key is never accepted again.
    pub revoked_at: Option<i64>,
    /// Microseconds since 1970, as last reported by a proxy or by control.
    pub last_used_at: Option<i64>,
}

/// A key to be stored.
#[derive(Clone)]
pub struct NewKey {
    /// What recognises the key. Its tenant must be that of the handle.
    pub verifier: KeyVerifier,
    /// Lets control check that a live caller stands behind a request; never leaves the store's database
    /// towards a proxy.
    pub evidence: [u8; 32],
    /// Free text for people.
    pub label: String,
}

/// A key to be made in the place of another: label, role, scopes, user and servers are the other's.
#[derive(Clone)]
pub struct KeyRotation {
    /// The public part of the new key.
    pub id: KeyId,
    /// See [`KeyVerifier::sha256`].
    pub sha256: [u8; 32],
    /// See [`NewKey::evidence`].
    pub evidence: [u8; 32],
    /// When the new key ends, in microseconds since 1970; `None` for never.
    pub expires_at: Option<i64>,
    /// How long the old key lives on at most; more than [`MAX_GRACE`] is cut to it.
    pub grace: Duration,
}

/// What a rotation made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The key that ends with the grace.
    pub old: KeyRecord,
    /// The key in its place.
    pub new: KeyRecord,
}

/// What to change of a live key; `None` leaves a field alone, `Some(None)` clears it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPatch {
    /// See [`KeyRecord::label`].
    pub label: Option<String>,
    /// See [`KeyVerifier::servers`].
    pub servers: Option<Option<Vec<String>>>,
    /// See [`KeyVerifier::scopes`]: replaces all of them.
    pub scopes: Option<KeyScopes>,
    /// See [`KeyVerifier::expires_at`].
    pub expires_at: Option<Option<i64>>,
}

/// Which keys to list, in the order of their making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPage {
    /// Only those with this text in the label, whatever the case (of ASCII letters on SQLite).
    pub search: Option<String>,
    /// Only those of this user.
    pub user: Option<UserId>,
    /// Only those that are neither revoked nor expired, or only the others.
    pub live: Option<bool>,
    /// Without those of platform admins.
    pub below_platform: bool,
    /// Only those after this one: when it was made, and its id.
    pub after: Option<(i64, KeyId)>,
    /// At most this many, 1 to 500.
    pub limit: u32,
}

/// A key that opens something now, as the look-up that authenticates a request gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveKey {
    /// The key, with its own role.
    pub record: KeyRecord,
    /// What its holder may do: the weaker role of key and user.
    pub role: KeyRole,
    /// The active tenant that it belongs to.
    pub tenant: TenantRecord,
}

impl KeyRecord {
    pub(crate) fn new(new: NewKey, now: i64) -> Self {
        Self {
            verifier: new.verifier,
            label: new.label,
            replaces: None,
            generation: Generation(1),
            created_at: now,
            revoked_at: None,
            last_used_at: None,
        }
    }

    /// Whether it is neither revoked nor expired at `now`, microseconds since 1970. Its user or tenant
    /// may still close it.
    pub fn is_live(&self, now: i64) -> bool {
        self.revoked_at.is_none() && self.verifier.expires_at.is_none_or(|at| at > now)
    }

    /// What proxies hold of it at `now`; `None` if it opens nothing. `bound` is the strongest role that
    /// its user and tenant leave it, `None` when one of them is inactive or deleted.
    pub(crate) fn verifier_within(&self, bound: Option<KeyRole>, now: i64) -> Option<KeyVerifier> {
        let bound = bound?;
        self.is_live(now).then(|| self.narrowed(bound))
    }

    /// The verifier with the weaker of its own role and `bound`.
    pub(crate) fn narrowed(&self, bound: KeyRole) -> KeyVerifier {
        KeyVerifier { role: self.verifier.role.min(bound), ..self.verifier.clone() }
    }

    /// The record with the patch applied; its generation is left alone.
    pub(crate) fn patched(&self, patch: KeyPatch) -> Self {
        let mut record = self.clone();
        record.label = patch.label.unwrap_or(record.label);
        record.verifier.servers = patch.servers.unwrap_or(record.verifier.servers);
        record.verifier.scopes = patch.scopes.unwrap_or(record.verifier.scopes);
        record.verifier.expires_at = patch.expires_at.unwrap_or(record.verifier.expires_at);
        record
    }

    /// The two keys of a rotation at `now`.
    pub(crate) fn rotated(&self, rotation: &KeyRotation, now: i64) -> Rotated {
        let grace = i64::try_from(rotation.grace.min(MAX_GRACE).as_micros()).unwrap_or(0);
        let end = now.saturating_add(grace);
        let mut old = self.clone();
        old.verifier.expires_at = Some(self.verifier.expires_at.map_or(end, |at| at.min(end)));
        old.generation = Generation(self.generation.0 + 1);
        let mut new = Self::new(
            NewKey { verifier: self.verifier.clone(), evidence: rotation.evidence, label: self.label.clone() },
            now,
        );
        new.verifier.id = rotation.id;
        new.verifier.sha256 = rotation.sha256;
        new.verifier.expires_at = rotation.expires_at;
        new.replaces = Some(self.verifier.id);
        Rotated { old, new }
    }

    /// What the audit row keeps.
    pub(crate) fn redacted(&self) -> Value {
        json!({
            "label": self.label,
            "generation": self.generation.0,
            "role": self.verifier.role.as_str(),
            "scopes": row_text::scopes(self.verifier.scopes),
            "user": self.verifier.user.map(|user| user.to_string()),
            "servers": self.verifier.servers,
            "replaces": self.replaces.map(|key| key.to_string()),
            "expires_at": self.verifier.expires_at,
            "revoked_at": self.revoked_at,
        })
    }

    pub(crate) fn into_row(self, evidence: [u8; 32]) -> api_key::ActiveModel {
        api_key::ActiveModel {
            id: Set(self.verifier.id.to_string()),
            tenant_id: Set(self.verifier.tenant.0),
            user_id: Set(self.verifier.user.map(|user| user.0)),
            role: Set(self.verifier.role.as_str().to_owned()),
            sha256: Set(self.verifier.sha256.to_vec()),
            evidence: Set(evidence.to_vec()),
            created_at: Set(self.created_at),
            last_used_at: Set(self.last_used_at),
            replaces: Set(self.replaces.map(|key| key.to_string())),
            ..self.into_changes()
        }
    }

    /// The columns that a change may write.
    pub(crate) fn into_changes(self) -> api_key::ActiveModel {
        api_key::ActiveModel {
            label: Set(self.label),
            scopes: Set(row_text::scopes(self.verifier.scopes).to_string()),
            servers: Set(self.verifier.servers.as_deref().map(row_text::list)),
            expires_at: Set(self.verifier.expires_at),
            revoked_at: Set(self.revoked_at),
            generation: Set(self.generation.0),
            ..Default::default()
        }
    }
}

/// Whether something that the first opens is closed by the second: proxies must hear of it at once.
pub(crate) fn takes_power(before: Option<&KeyVerifier>, after: Option<&KeyVerifier>) -> bool {
    let Some(before) = before else { return false };
    let Some(after) = after else { return true };
    let fewer_servers = after.servers.as_ref().is_some_and(|left| match &before.servers {
        None => true,
        Some(had) => had.iter().any(|server| !left.contains(server)),
    });
    let ends_earlier = after.expires_at.is_some_and(|end| before.expires_at.is_none_or(|had| end < had));
    let fewer_scopes = before.scopes.words().any(|scope| !after.scopes.words().any(|left| left == scope));
    after.role < before.role || fewer_servers || fewer_scopes || ends_earlier
}

impl TryFrom<api_key::Model> for KeyRecord {
    type Error = StoreError;

    fn try_from(row: api_key::Model) -> Result<Self, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        let servers = match row.servers {
            None => None,
            Some(text) => Some(row_text::read_list(&text).ok_or(corrupt("api_key.servers"))?),
        };
        let replaces = match row.replaces {
            None => None,
            Some(id) => Some(id.parse().map_err(|_| corrupt("api_key.replaces"))?),
        };
        let verifier = KeyVerifier {
            id: row.id.parse().map_err(|_| corrupt("api_key.id"))?,
            tenant: TenantId(row.tenant_id),
            user: row.user_id.map(UserId),
            role: KeyRole::parse(&row.role).ok_or(corrupt("api_key.role"))?,
            scopes: row_text::read_scopes(&row.scopes).ok_or(corrupt("api_key.scopes"))?,
            sha256: row.sha256.try_into().map_err(|_| corrupt("api_key.sha256"))?,
            servers,
            expires_at: row.expires_at,
        };
        Ok(Self {
            verifier,
            label: row.label,
            replaces,
            generation: Generation(row.generation),
            created_at: row.created_at,
            revoked_at: row.revoked_at,
            last_used_at: row.last_used_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> KeyRecord {
        let verifier = KeyVerifier {
            id: "key0000000000001".parse().unwrap(),
            tenant: TenantId::fresh(),
            user: None,
            role: KeyRole::TenantAdmin,
            scopes: KeyScopes::PLAIN,
            sha256: [1; 32],
            servers: None,
            expires_at: Some(100),
        };
        KeyRecord::new(NewKey { verifier, evidence: [0; 32], label: "label".to_owned() }, 10)
    }

    #[test]
    fn a_key_opens_what_key_user_and_tenant_all_allow() {
        for (own, bound, role) in [
            (KeyRole::TenantAdmin, Some(KeyRole::PlatformAdmin), Some(KeyRole::TenantAdmin)),
            (KeyRole::TenantAdmin, Some(KeyRole::User), Some(KeyRole::User)),
            (KeyRole::User, Some(KeyRole::Viewer), Some(KeyRole::Viewer)),
            (KeyRole::PlatformAdmin, None, None),
        ] {
            let mut key = key();
            key.verifier.role = own;
            assert_eq!(key.verifier_within(bound, 99).map(|verifier| verifier.role), role, "{own:?} {bound:?}");
            assert_eq!(key.verifier_within(bound, 100), None, "expired");
            key.revoked_at = Some(50);
            assert_eq!(key.verifier_within(bound, 99), None, "revoked");
        }
    }

    #[test]
    fn a_rotation_shortens_the_old_key_and_never_lengthens_it() {
        let rotation = |grace| KeyRotation {
            id: "key0000000000002".parse().unwrap(),
            sha256: [2; 32],
            evidence: [2; 32],
            expires_at: None,
            grace: Duration::from_micros(grace),
        };
        for (grace, end) in [(0, 20), (5, 25), (80, 100), (1_000, 100)] {
            let made = key().rotated(&rotation(grace), 20);
            assert_eq!(made.old.verifier.expires_at, Some(end), "{grace}");
            assert_eq!((made.new.replaces, made.new.verifier.expires_at), (Some(key().verifier.id), None));
            assert_eq!((made.new.verifier.role, made.new.label.as_str()), (KeyRole::TenantAdmin, "label"));
        }
        let mut endless = key();
        endless.verifier.expires_at = None;
        let most = endless.rotated(&rotation(u64::MAX), 0).old.verifier.expires_at;
        assert_eq!(most, i64::try_from(MAX_GRACE.as_micros()).ok());
    }

    #[test]
    fn what_takes_power_away_is_told_from_what_gives_some() {
        let with = |role, servers: Option<&[&str]>, expires_at| KeyVerifier {
            role,
            servers: servers.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
            expires_at,
            ..key().verifier
        };
        let base = with(KeyRole::User, Some(&["a", "b"]), Some(50));
        for (after, takes) in [
            (base.clone(), false),
            (with(KeyRole::TenantAdmin, Some(&["b", "a", "c"]), Some(51)), false),
            (with(KeyRole::User, None, None), false),
            (with(KeyRole::Viewer, Some(&["a", "b"]), Some(50)), true),
            (with(KeyRole::User, Some(&["a", "c"]), Some(50)), true),
            (with(KeyRole::User, Some(&["a", "b"]), Some(49)), true),
        ] {
            assert_eq!(takes_power(Some(&base), Some(&after)), takes, "{after:?}");
        }
        let scoped = |mcp, rest, act_as| KeyVerifier { scopes: KeyScopes { mcp, rest, act_as }, ..base.clone() };
        for (after, takes) in [
            (scoped(true, true, true), false),
            (scoped(true, false, false), true),
            (scoped(false, true, true), true),
            (scoped(false, false, false), true),
        ] {
            assert_eq!(takes_power(Some(&base), Some(&after)), takes, "{after:?}");
        }
        assert!(takes_power(Some(&base), None) && !takes_power(None, Some(&base)) && !takes_power(None, None));
        let all = with(KeyRole::User, None, None);
        assert!(takes_power(Some(&all), Some(&base)));
    }
}
