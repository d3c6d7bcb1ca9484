//! Who made a change, as the audit row names them.

use model::{KeyId, TenantId, UserId};

use crate::Claim;

/// Who asks for a change. Written to the audit row in the same transaction.
#[derive(Debug, Clone, Default)]
pub struct Actor {
    /// The tenant that the actor belongs to; `None` for Gatehouse itself.
    pub tenant: Option<TenantId>,
    /// The key that was presented.
    pub key: Option<KeyId>,
    /// The user who signed in, where no key was presented.
    pub user: Option<UserId>,
    /// The key's label, the user's login, or which part of Gatehouse acts (`init`, `reconciler`).
    pub name: String,
    /// Where the request came from.
    pub ip: Option<String>,
    /// The trace that the request belongs to.
    pub trace_id: Option<String>,
    /// The claim under which the request runs. Its first change writes it down as made, in the same
    /// transaction.
    pub claim: Option<Claim>,
}

impl Actor {
    /// A part of Gatehouse that acts by itself.
    pub fn system(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// `key`, `user` or `system`.
    pub(crate) fn kind(&self) -> &'static str {
        match (self.key, self.user) {
            (Some(_), _) => "key",
            (None, Some(_)) => "user",
            (None, None) => "system",
        }
    }

    /// The key's id, the user's, or the part's name.
    pub(crate) fn id(&self) -> String {
        let user = || self.user.map(|user| user.to_string());
        self.key.map(|key| key.to_string()).or_else(user).unwrap_or_else(|| self.name.clone())
    }
}
