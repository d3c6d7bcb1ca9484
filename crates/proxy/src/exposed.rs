//! What one of several servers behind one URL names in its answers, as the client may bring it back: URIs that would
//! lead to another server carry this one's name, ids of tasks are sealed with it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use mcp::references::{Reference, may_hold, renamed};
use mcp::{Envelope, ListKind, Span, write};
use model::{ServerId, TenantId};

use crate::client::Client;
use crate::principal::Authenticated;
use crate::seal::Sealer;
use crate::table::Mount;
use crate::views::{prefixed, template_match};

const TASK: &str = "gatehouse/task/v1";

/// How the answers of one mount look to one caller of several.
#[derive(Clone)]
pub(crate) struct Exposed {
    pub(crate) who: Authenticated,
    pub(crate) client: Client,
    pub(crate) mount: Arc<Mount>,
    pub(crate) sealer: Arc<Sealer>,
    /// The client asked for a URI that carries the server's name: what comes of it does, too.
    pub(crate) by_name: bool,
}

impl fmt::Debug for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exposed({})", self.mount.name())
    }
}

impl Exposed {
    /// The raw result, or params of a notification, as the client may have it; `None` if it may have it as it is.
    pub(crate) fn rewritten(&self, object: &[u8]) -> Option<Vec<u8>> {
        if !may_hold(object) {
            return None;
        }
        renamed(object, |reference, text| self.name(reference, text))
    }

    /// A notification as the client may have it.
    pub(crate) fn notification(&self, message: &Bytes, envelope: &Envelope) -> Bytes {
        let params = envelope.params.as_ref().map(|params| params.all);
        let Some((span, with)) = params.and_then(|span| Some((span, self.rewritten(span.of(message))?))) else {
            return message.clone();
        };
        let mut out = Vec::with_capacity(message.len() + with.len());
        write::patched(&mut out, message, Span::whole(message), &[write::Patch { span, with: &with }]);
        out.into()
    }

    fn name(&self, reference: Reference, text: &str) -> Option<String> {
        let elsewhere = || owner(&self.who, self.client, text).map(|owner| owner.uid != self.mount.uid);
        let named = match reference {
            Reference::Task => return seal_task(&self.sealer, self.mount.spec.tenant, self.mount.spec.id, text),
            // What is only pointed to must be there to be read: without an owner nobody would find it.
            Reference::Link => elsewhere().unwrap_or(true),
            Reference::Resource => self.by_name || elsewhere().unwrap_or(false),
            Reference::Updated => elsewhere().unwrap_or(true),
        };
        named.then(|| prefixed(self.mount.name(), text))
    }
}

/// The id of a task of a server's, for clients of several servers.
fn seal_task(sealer: &Sealer, tenant: TenantId, server: ServerId, id: &str) -> Option<String> {
    let mut plain = Vec::with_capacity(32 + id.len());
    plain.extend_from_slice(tenant.0.as_bytes());
    plain.extend_from_slice(server.0.as_bytes());
    plain.extend_from_slice(id.as_bytes());
    sealer.seal(TASK, &plain)
}

/// The server of a task that a client of this tenant brought back, and its own id there.
pub(crate) fn open_task(sealer: &Sealer, tenant: TenantId, id: &str) -> Option<(ServerId, String)> {
    let plain = sealer.open(TASK, id.as_bytes())?;
    let (owner, rest) = plain.split_first_chunk::<16>()?;
    let (server, id) = rest.split_first_chunk::<16>()?;
    let id = std::str::from_utf8(id).ok()?.to_owned();
    (*owner == *tenant.0.as_bytes()).then(|| (ServerId(uuid::Uuid::from_bytes(*server)), id))
}

/// The mount that a plain URI leads to, by what is known: the first that lists it, else the one with the longest
/// template that it can come of; of equally long ones the first.
pub(crate) fn owner(who: &Authenticated, client: Client, uri: &str) -> Option<Arc<Mount>> {
    if let Some(mount) = listed_owner(who, client, uri) {
        return Some(mount);
    }
    let longest = |mount: &Arc<Mount>| {
        let listed = who.known(mount, client, ListKind::Templates)?;
        listed.items.iter().filter_map(|item| template_match(&item.key, uri)).max()
    };
    let matches = who.mounts().filter_map(|mount| Some((longest(mount)?, mount)));
    let best = matches.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    Some(best.1.clone())
}

/// The first mount that lists this very URI.
pub(crate) fn listed_owner(who: &Authenticated, client: Client, uri: &str) -> Option<Arc<Mount>> {
    let lists = |mount: &&Arc<Mount>| {
        [ListKind::Resources, ListKind::Templates]
            .into_iter()
            .any(|kind| who.known(mount, client, kind).is_some_and(|listed| listed.find(uri).is_some()))
    };
    who.mounts().find(lists).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_leads_back_to_its_server_within_its_tenant() {
        let sealer = Sealer::with_own_key();
        let (tenant, server) = (TenantId::fresh(), ServerId::fresh());
        let id = seal_task(&sealer, tenant, server, "task 1").unwrap();
        assert_eq!(open_task(&sealer, tenant, &id), Some((server, "task 1".to_owned())));
        assert_eq!(open_task(&sealer, TenantId::fresh(), &id), None);
        assert_eq!(open_task(&Sealer::with_own_key(), tenant, &id), None);
        assert_eq!(open_task(&sealer, tenant, "task 1"), None);
    }
}
