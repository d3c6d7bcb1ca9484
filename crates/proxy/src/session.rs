//! Client sessions: everything they are stands sealed in their id, so any replica continues them and
//! an idle one costs no memory.

use std::fmt;

use mcp::Revision;
use model::{ConnectionId, ServerId, Subject, TenantId};
use sha2::{Digest as _, Sha256};

use crate::client::{Capabilities, Client};
use crate::credentials::Part;
use crate::seal::Sealer;

/// Seconds that a session lives; the fleet keys rotate daily and the previous one still opens.
const LIFETIME: i64 = 24 * 3600;
const LABEL: &str = "gatehouse/session/v1";
const VERSION: u8 = 4;
/// The identity of no mount.
const NOBODY: u64 = 0;

/// What tells sessions apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Uid(pub(crate) [u8; 8]);

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// What names a node in ids that clients bring back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct NodeTag(pub(crate) [u8; 8]);

impl NodeTag {
    /// The tag of a node of this name.
    pub(crate) fn of(node: &str) -> Self {
        let mut tag = [0; 8];
        tag.iter_mut().zip(Sha256::digest(node.as_bytes())).for_each(|(to, from)| *to = from);
        Self(tag)
    }
}

/// A client's session. A request of the stateless era has one of its own, which no id leads back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) uid: Uid,
    pub(crate) tenant: TenantId,
    /// Whose it is: another subject's session looks absent.
    pub(crate) subject: Subject,
    /// What the client and the gateway speak.
    pub(crate) revision: Revision,
    /// Seconds since 1970.
    pub(crate) expires: i64,
    /// What the client declared that it can be asked.
    pub(crate) capabilities: Capabilities,
    /// Where what can't live in the id is kept.
    pub(crate) owner: NodeTag,
    pub(crate) scope: Scope,
}

/// Which URL the session belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// `/mcp`
    Aggregate,
    /// `/servers/{name}/mcp`, with the upstream's session that was opened for it.
    Server {
        server: ServerId,
        /// Of the mount that the upstream session belongs to; another one can't continue it.
        identity: u64,
        /// The revision that the upstream chose.
        upstream_revision: Revision,
        /// The upstream's session id; `None` if it keeps none or speaks HTTP+SSE.
        upstream: Option<Box<str>>,
        /// As whom it was opened; another's credential can't continue it.
        part: Part,
    },
    /// `/servers/gatehouse/mcp`
    BuiltIn,
    /// `/toolsets/{name}/mcp`, by the toolset's id.
    Toolset(uuid::Uuid),
}

impl Scope {
    /// The URL of a server at which nobody could open a session for the client: the shared one serves once somebody can.
    pub(crate) fn of_nobody(server: ServerId) -> Self {
        let (identity, upstream_revision) = (NOBODY, Revision::LATEST);
        Self::Server { server, identity, upstream_revision, upstream: None, part: Part::default() }
    }
}

impl Session {
    /// A session that begins at `now` (seconds since 1970).
    pub(crate) fn new(
        uid: Uid,
        tenant: TenantId,
        subject: Subject,
        revision: Revision,
        now: i64,
        scope: Scope,
    ) -> Self {
        let (capabilities, owner) = (Capabilities::default(), NodeTag::default());
        Self { uid, tenant, subject, revision, expires: now + LIFETIME, capabilities, owner, scope }
    }

    /// The same, of a client that declared these.
    pub(crate) fn able_to(self, capabilities: Capabilities) -> Self {
        Self { capabilities, ..self }
    }

    /// The same, kept by this node.
    pub(crate) fn owned_by(self, owner: NodeTag) -> Self {
        Self { owner, ..self }
    }

    /// Who speaks.
    pub(crate) fn client(&self) -> Client {
        Client { revision: self.revision, capabilities: self.capabilities }
    }

    /// The text handed to the client. `None` while there is no fleet key.
    pub(crate) fn seal(&self, sealer: &Sealer) -> Option<String> {
        let mut plain = Vec::with_capacity(128);
        plain.push(VERSION);
        plain.push(self.revision.code());
        plain.extend_from_slice(&self.uid.0);
        plain.extend_from_slice(self.tenant.0.as_bytes());
        plain.extend_from_slice(self.subject.as_bytes());
        plain.extend_from_slice(&self.expires.to_be_bytes());
        plain.extend_from_slice(&self.capabilities.to_bytes());
        plain.extend_from_slice(&self.owner.0);
        match &self.scope {
            Scope::Aggregate => plain.push(0),
            Scope::BuiltIn => plain.push(2),
            Scope::Toolset(id) => {
                plain.push(3);
                plain.extend_from_slice(id.as_bytes());
            }
            Scope::Server { server, identity, upstream_revision, upstream, part } => {
                plain.push(1);
                plain.extend_from_slice(server.0.as_bytes());
                plain.extend_from_slice(&identity.to_be_bytes());
                plain.push(upstream_revision.code());
                write_part(part, &mut plain);
                if let Some(upstream) = upstream {
                    plain.push(1);
                    plain.extend_from_slice(upstream.as_bytes());
                }
            }
        }
        sealer.seal(LABEL, &plain)
    }

    /// Opens what a client brought; `None` if it is not ours, altered, or over.
    pub(crate) fn open(sealer: &Sealer, id: &[u8], now: i64) -> Option<Self> {
        let plain = sealer.open(LABEL, id)?;
        let mut reader = Reader(&plain);
        if reader.byte()? != VERSION {
            return None;
        }
        let revision = Revision::from_code(reader.byte()?)?;
        let uid = Uid(reader.take()?);
        let tenant = TenantId(uuid::Uuid::from_bytes(reader.take()?));
        let subject = Subject::from_bytes(reader.take()?);
        let expires = i64::from_be_bytes(reader.take()?);
        let capabilities = Capabilities::from_bytes(reader.take()?);
        let owner = NodeTag(reader.take()?);
        let scope = match reader.byte()? {
            0 => Scope::Aggregate,
            2 => Scope::BuiltIn,
            3 => Scope::Toolset(uuid::Uuid::from_bytes(reader.take()?)),
            1 => Scope::Server {
                server: ServerId(uuid::Uuid::from_bytes(reader.take()?)),
                identity: u64::from_be_bytes(reader.take()?),
                upstream_revision: Revision::from_code(reader.byte()?)?,
                part: reader.part()?,
                upstream: match reader.byte() {
                    Some(_) => Some(std::str::from_utf8(reader.0).ok()?.into()),
                    None => None,
                },
            },
            _ => return None,
        };
        (now < expires).then_some(Self { uid, tenant, subject, revision, expires, capabilities, owner, scope })
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn part(&mut self) -> Option<Part> {
        match self.byte()? {
            0 => Some(Part::default()),
            kind => {
                let connection = match kind {
                    1 => None,
                    2 => Some(ConnectionId(uuid::Uuid::from_bytes(self.take()?))),
                    _ => return None,
                };
                Some(Part::of(connection, i64::from_be_bytes(self.take()?), self.take()?))
            }
        }
    }
}

/// One byte where everybody is served alike.
fn write_part(part: &Part, plain: &mut Vec<u8>) {
    if part.is(&Part::default()) {
        return plain.push(0);
    }
    match part.connection {
        None => plain.push(1),
        Some(connection) => {
            plain.push(2);
            plain.extend_from_slice(connection.0.as_bytes());
        }
    }
    plain.extend_from_slice(&part.credential_version.to_be_bytes());
    plain.extend_from_slice(&part.context);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_what_its_id_says() {
        let sealer = Sealer::with_own_key();
        for scope in [
            Scope::Aggregate,
            Scope::BuiltIn,
            Scope::Toolset(uuid::Uuid::from_u128(9)),
            Scope::Server {
                server: ServerId::fresh(),
                identity: 77,
                upstream_revision: Revision::V2025_06_18,
                upstream: Some("abc-123".into()),
                part: Part::default(),
            },
            Scope::Server {
                server: ServerId::fresh(),
                identity: 77,
                upstream_revision: Revision::V2025_06_18,
                upstream: Some("abc-123".into()),
                part: Part::of(Some(ConnectionId::fresh()), 7, [3; 16]),
            },
            Scope::Server {
                server: ServerId::fresh(),
                identity: 77,
                upstream_revision: Revision::V2025_06_18,
                upstream: None,
                part: Part::of(None, 0, [3; 16]),
            },
            Scope::Server {
                server: ServerId::fresh(),
                identity: 1,
                upstream_revision: Revision::LATEST,
                upstream: None,
                part: Part::default(),
            },
        ] {
            let subject = Subject::of_grant(model::GrantId::fresh());
            let session = Session::new(Uid([3; 8]), TenantId::fresh(), subject, Revision::V2025_03_26, 1000, scope)
                .able_to(Capabilities::declared(br#"{"elicitation":{"url":{}},"roots":{}}"#))
                .owned_by(NodeTag([7; 8]));
            let id = session.seal(&sealer).unwrap();
            assert!(id.bytes().all(|byte| (0x21..0x7f).contains(&byte)));
            assert_eq!(Session::open(&sealer, id.as_bytes(), 1001), Some(session.clone()));
            assert_eq!(Session::open(&sealer, id.as_bytes(), 1000 + LIFETIME), None);
            assert_eq!(Session::open(&Sealer::with_own_key(), id.as_bytes(), 1001), None);
        }
    }
}
