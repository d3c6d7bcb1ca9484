//! Client sessions: everything they are stands sealed in their id, so any replica continues them and
//! an idle one costs no memory.

use std::fmt;

use mcp::Revision;
use model::{ServerId, Subject, TenantId};

use crate::seal::Sealer;

/// Seconds that a session lives; the fleet keys rotate daily and the previous one still opens.
const LIFETIME: i64 = 24 * 3600;
const LABEL: &str = "gatehouse/session/v1";
const VERSION: u8 = 2;

/// What tells sessions apart.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Uid(pub(crate) [u8; 8]);

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// A client's session.
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
    },
    /// `/servers/gatehouse/mcp`
    BuiltIn,
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
        Self { uid, tenant, subject, revision, expires: now + LIFETIME, scope }
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
        match &self.scope {
            Scope::Aggregate => plain.push(0),
            Scope::BuiltIn => plain.push(2),
            Scope::Server { server, identity, upstream_revision, upstream } => {
                plain.push(1);
                plain.extend_from_slice(server.0.as_bytes());
                plain.extend_from_slice(&identity.to_be_bytes());
                plain.push(upstream_revision.code());
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
        let scope = match reader.byte()? {
            0 => Scope::Aggregate,
            2 => Scope::BuiltIn,
            1 => Scope::Server {
                server: ServerId(uuid::Uuid::from_bytes(reader.take()?)),
                identity: u64::from_be_bytes(reader.take()?),
                upstream_revision: Revision::from_code(reader.byte()?)?,
                upstream: match reader.byte() {
                    Some(_) => Some(std::str::from_utf8(reader.0).ok()?.into()),
                    None => None,
                },
            },
            _ => return None,
        };
        (now < expires).then_some(Self { uid, tenant, subject, revision, expires, scope })
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
            Scope::Server {
                server: ServerId::fresh(),
                identity: 77,
                upstream_revision: Revision::V2025_06_18,
                upstream: Some("abc-123".into()),
            },
            Scope::Server {
                server: ServerId::fresh(),
                identity: 1,
                upstream_revision: Revision::LATEST,
                upstream: None,
            },
        ] {
            let subject = Subject::of_grant(model::GrantId::fresh());
            let session = Session::new(Uid([3; 8]), TenantId::fresh(), subject, Revision::V2025_03_26, 1000, scope);
            let id = session.seal(&sealer).unwrap();
            assert!(id.bytes().all(|byte| (0x21..0x7f).contains(&byte)));
            assert_eq!(Session::open(&sealer, id.as_bytes(), 1001), Some(session.clone()));
            assert_eq!(Session::open(&sealer, id.as_bytes(), 1000 + LIFETIME), None);
            assert_eq!(Session::open(&Sealer::with_own_key(), id.as_bytes(), 1001), None);
        }
    }
}
