//! A user as proxies know one: what a token in this name may do at most.

use crate::digest::Canonical;
use crate::{Digest, KeyRole, TenantId, UserId};

/// A user's record, as far as it decides who may come in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserSpec {
    /// The user's id: the claim `sub` of tokens that control signs.
    pub id: UserId,
    /// The tenant that the user belongs to.
    pub tenant: TenantId,
    /// Unique in the tenant.
    pub login: String,
    /// What an identity provider calls the user, unique in the tenant.
    pub external_id: Option<String>,
    /// The most that anything in the user's name may do.
    pub role: KeyRole,
    /// Nothing in the name of an inactive user opens anything.
    pub active: bool,
    /// Names of departments, in the user's order.
    pub departments: Vec<String>,
}

impl UserSpec {
    /// The digest under which proxies report this resource.
    pub fn digest(&self) -> Digest {
        let mut canonical = Canonical::new("user");
        canonical.text(&self.id.to_string());
        canonical.text(&self.tenant.to_string());
        canonical.text(&self.login);
        canonical.number(u64::from(self.external_id.is_some()));
        canonical.text(self.external_id.as_deref().unwrap_or_default());
        canonical.text(self.role.as_str());
        canonical.number(u64::from(self.active));
        canonical.number(self.departments.len() as u64);
        for department in &self.departments {
            canonical.text(department);
        }
        canonical.finish()
    }
}
