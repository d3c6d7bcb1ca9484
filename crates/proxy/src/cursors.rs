//! Where a list goes on, sealed: a client can bring back nothing else, and nothing of another list.

use mcp::{Era, ListKind};
use model::{TenantId, ToolsetId};
use sha2::{Digest as _, Sha256};

use crate::client::Client;
use crate::seal::Sealer;

const LABEL: &str = "gatehouse/cursor/v1";

/// The list that a cursor belongs to, the same on every proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place([u8; 16]);

impl Place {
    /// A list of this kind, of what somebody may use who is let to `servers` (`None`: all), for such a client.
    pub(crate) fn of(tenant: TenantId, kind: ListKind, servers: Option<&[Box<str>]>, client: Client) -> Self {
        let mut hash = Sha256::new();
        hash.update(tenant.0.as_bytes());
        hash.update([kind as u8, u8::from(client.era() == Era::Stateless), u8::from(servers.is_some())]);
        hash.update(client.capabilities.to_bytes());
        for name in servers.unwrap_or_default() {
            hash.update([0]);
            hash.update(name.as_bytes());
        }
        let mut place = [0; 16];
        place.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
        Self(place)
    }

    /// The same list of a toolset.
    pub(crate) fn within(self, toolset: ToolsetId) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(toolset.0.as_bytes());
        let mut place = [0; 16];
        place.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
        Self(place)
    }

    /// The cursor of a page, counted from 0. `None` while there is no fleet key.
    pub(crate) fn cursor(self, sealer: &Sealer, page: u32) -> Option<String> {
        let mut plain = self.0.to_vec();
        plain.extend_from_slice(&page.to_be_bytes());
        sealer.seal(LABEL, &plain)
    }

    /// The page that a cursor stands for; `None` if it is no cursor of this list.
    pub(crate) fn page(self, sealer: &Sealer, cursor: &str) -> Option<u32> {
        let plain = sealer.open(LABEL, cursor.as_bytes())?;
        let (place, page) = plain.split_first_chunk::<16>()?;
        (*place == self.0).then_some(u32::from_be_bytes(page.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use mcp::Revision;
    use proptest::prelude::*;

    use super::*;
    use crate::client::Capabilities;

    #[test]
    fn a_cursor_leads_back_to_its_own_list_only() {
        let sealer = Sealer::with_own_key();
        let (tenant, notes) = (TenantId::fresh(), [Box::from("notes")]);
        let stateless = Client { revision: Revision::STATELESS, capabilities: Capabilities::NONE };
        let place = Place::of(tenant, ListKind::Tools, None, Client::GATEWAY);
        let cursor = place.cursor(&sealer, 7).unwrap();
        assert_eq!(place.page(&sealer, &cursor), Some(7));
        for other in [
            Place::of(TenantId::fresh(), ListKind::Tools, None, Client::GATEWAY),
            Place::of(tenant, ListKind::Prompts, None, Client::GATEWAY),
            Place::of(tenant, ListKind::Tools, Some(&notes), Client::GATEWAY),
            Place::of(tenant, ListKind::Tools, Some(&[]), Client::GATEWAY),
            Place::of(tenant, ListKind::Tools, None, stateless),
            place.within(ToolsetId::fresh()),
        ] {
            assert_eq!(other.page(&sealer, &cursor), None, "{other:?}");
        }
        assert_eq!(place.page(&Sealer::with_own_key(), &cursor), None);
    }

    proptest! {
        #[test]
        fn what_is_no_cursor_of_ours_opens_nothing(text in ".{0,200}", flip in 0usize..60) {
            let sealer = Sealer::with_own_key();
            let place = Place::of(TenantId::fresh(), ListKind::Tools, None, Client::GATEWAY);
            prop_assert_eq!(place.page(&sealer, &text), None);
            let mut cursor = place.cursor(&sealer, 1).unwrap().into_bytes();
            let at = flip % cursor.len();
            cursor[at] = if cursor[at] == b'A' { b'B' } else { b'A' };
            prop_assert_eq!(place.page(&sealer, &String::from_utf8(cursor).unwrap()), None);
        }
    }
}
