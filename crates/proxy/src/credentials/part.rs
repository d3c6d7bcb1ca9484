//! As whom a caller uses a server: the connection that serves, and what else makes header lines another caller's.

use model::{Binding, ConnectionId, ConnectionStatus, Holder, Scope, ServerId};
use sha2::{Digest as _, Sha256};

use crate::principal::Caller;
use crate::table::{Connections, Mount, People};

/// What keeps sessions with an upstream, its lists and header lines of different callers apart. Of servers that take no
/// credential it is the same for everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Part {
    /// The connection that serves.
    pub(crate) connection: Option<ConnectionId>,
    /// Of the connection: another one begins with new sessions and lists.
    pub(crate) credential_version: i64,
    /// Digest of the values of the caller that are part of the header lines; zeros without any.
    pub(crate) context: [u8; 16],
    /// Its lists are those of everybody.
    shares_lists: bool,
}

impl Part {
    /// A part as a session id tells it.
    pub(crate) fn of(connection: Option<ConnectionId>, credential_version: i64, context: [u8; 16]) -> Self {
        Self { connection, credential_version, context, shares_lists: false }
    }

    /// The part whose lists are this part's.
    pub(crate) fn of_lists(self) -> Self {
        if self.shares_lists { Self::default() } else { self }
    }

    /// Whether it is the part of that session.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let parts = |part: &Self| (part.connection, part.credential_version, part.context);
        parts(self) == parts(other)
    }
}

/// Who is served how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Served {
    pub(crate) part: Part,
    /// The oldest token that will do.
    pub(crate) token_generation: i64,
}

/// Why somebody is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unserved {
    /// No connection of an accepted scope is for the caller.
    NoConnection,
    /// There is one that can't be used before somebody signs in again or replaces the credential.
    Unusable(ConnectionStatus),
}

/// A caller's departments, in the caller's order: what a token says, and of the user of a key what the record says.
pub(crate) fn departments<'a>(people: &'a People, caller: &'a Caller) -> Vec<&'a str> {
    let recorded = match caller {
        Caller::Person(_) => return caller.departments(),
        Caller::Key(_) => caller.user().and_then(|user| people.get(user)).filter(|user| user.active),
    };
    recorded.map_or_else(Vec::new, |user| user.departments.iter().map(String::as_str).collect())
}

/// How `caller` is served at `mount`, by what connections there are; `None` is control itself.
pub(crate) fn served(
    connections: &Connections,
    people: &People,
    mount: &Mount,
    caller: Option<&Caller>,
) -> Result<Served, Unserved> {
    let Some(binding) = &mount.spec.binding else { return Ok(Served::default()) };
    let user = caller.and_then(Caller::user);
    // Only where departments decide something are their names needed.
    let uses_departments = binding.context.department || binding.scopes.contains(&Scope::Department);
    let departments = match caller.filter(|_| uses_departments) {
        Some(caller) => departments(people, caller),
        None => Vec::new(),
    };
    let context = context(binding, mount.spec.id, caller, &departments);
    if binding.scopes.is_empty() {
        let part = Part { context, shares_lists: binding.shared_manifest, ..Part::default() };
        return Ok(Served { part, token_generation: 0 });
    }
    let spec = connections
        .serving(mount.spec.tenant, mount.spec.id, binding, user, &departments)
        .ok_or(Unserved::NoConnection)?;
    if spec.status != ConnectionStatus::Active {
        return Err(Unserved::Unusable(spec.status));
    }
    let part = Part {
        connection: Some(spec.id),
        credential_version: spec.credential_version,
        context,
        shares_lists: binding.shared_manifest && spec.holder == Holder::Global,
    };
    Ok(Served { part, token_generation: spec.token_generation })
}

/// Digest of what the header lines take of the caller. Who is nobody's record counts as whoever they are here.
fn context(binding: &Binding, server: ServerId, caller: Option<&Caller>, departments: &[&str]) -> [u8; 16] {
    let uses = binding.context;
    if !(uses.user || uses.department || uses.login || binding.exchange) {
        return [0; 16];
    }
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    };
    add(b"gatehouse/context/v1");
    add(server.0.as_bytes());
    if let Some(caller) = caller {
        match caller.user().filter(|_| !binding.exchange) {
            Some(user) if uses.user || uses.login => add(user.0.as_bytes()),
            Some(_) => add(b""),
            None => add(caller.subject().as_bytes()),
        }
        if uses.login {
            add(caller.login().unwrap_or_default().as_bytes());
        }
        if uses.department {
            departments.iter().for_each(|name| add(name.as_bytes()));
        }
    }
    let mut digest = [0; 16];
    digest.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    digest
}
