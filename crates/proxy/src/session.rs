//! Client sessions: everything they are stands sealed in their id, so any replica continues them and
//! an idle one costs no memory.

use std::fmt;

use mcp::Revision;
use model::{ConnectionId, ServerId, Subject, TenantId};

use crate::credentials::Part;
use crate::seal::Sealer;

/// Seconds that a session lives; the fleet keys rotate daily and the previous one still opens.
const LIFETIME: i64 = 24 * 3600;
const LABEL: &str = "gatehouse/session/v1";
const VERSION: u8 = 3;
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
    /// What the client declared that it can be asked.
    pub(crate) capabilities: Capabilities,
    pub(crate) scope: Scope,
}

/// What a client can be asked, as it declared when its session began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Capabilities(u8);

impl Capabilities {
    /// To fill in a form.
    const FORM: u8 = 1;
    /// To open a URL.
    const URL: u8 = 2;
    /// To ask its model.
    const SAMPLING: u8 = 4;
    /// Which folders it works in.
    const ROOTS: u8 = 8;

    /// Reads the `capabilities` of `initialize`. What is not understood is not there.
    pub(crate) fn declared(raw: &[u8]) -> Self {
        use serde::de::IgnoredAny;
        #[derive(serde::Deserialize)]
        struct Declared {
            elicitation: Option<Elicitation>,
            sampling: Option<IgnoredAny>,
            roots: Option<IgnoredAny>,
        }
        #[derive(serde::Deserialize)]
        struct Elicitation {
            form: Option<IgnoredAny>,
            url: Option<IgnoredAny>,
        }
        let Ok(Declared { elicitation, sampling, roots }) = serde_json::from_slice(raw) else { return Self::default() };
        let (form, url) = match elicitation {
            // Before there were two kinds, an empty object meant forms.
            Some(Elicitation { form, url }) => (form.is_some() || url.is_none(), url.is_some()),
            None => (false, false),
        };
        let bits = [
            (form, Self::FORM),
            (url, Self::URL),
            (sampling.is_some(), Self::SAMPLING),
            (roots.is_some(), Self::ROOTS),
        ];
        Self(bits.into_iter().filter(|(declared, _)| *declared).fold(0, |all, (_, bit)| all | bit))
    }

    /// Whether it opens URLs for its user.
    pub(crate) fn opens_urls(self) -> bool {
        self.0 & Self::URL != 0
    }
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
        let capabilities = Capabilities::default();
        Self { uid, tenant, subject, revision, expires: now + LIFETIME, capabilities, scope }
    }

    /// The same, of a client that declared these.
    pub(crate) fn able_to(self, capabilities: Capabilities) -> Self {
        Self { capabilities, ..self }
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
        plain.push(self.capabilities.0);
        match &self.scope {
            Scope::Aggregate => plain.push(0),
            Scope::BuiltIn => plain.push(2),
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
        let capabilities = Capabilities(reader.byte()?);
        let scope = match reader.byte()? {
            0 => Scope::Aggregate,
            2 => Scope::BuiltIn,
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
        (now < expires).then_some(Self { uid, tenant, subject, revision, expires, capabilities, scope })
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
                .able_to(Capabilities::declared(br#"{"elicitation":{"url":{}},"roots":{}}"#));
            let id = session.seal(&sealer).unwrap();
            assert!(id.bytes().all(|byte| (0x21..0x7f).contains(&byte)));
            assert_eq!(Session::open(&sealer, id.as_bytes(), 1001), Some(session.clone()));
            assert_eq!(Session::open(&sealer, id.as_bytes(), 1000 + LIFETIME), None);
            assert_eq!(Session::open(&Sealer::with_own_key(), id.as_bytes(), 1001), None);
        }
    }

    #[test]
    fn a_client_can_be_asked_what_it_declared() {
        for (declared, bits) in [
            ("{}", 0),
            (r#"{"elicitation":{}}"#, 1),
            (r#"{"elicitation":{"form":{}}}"#, 1),
            (r#"{"elicitation":{"url":{}}}"#, 2),
            (r#"{"elicitation":{"url":{},"form":{}},"sampling":{},"roots":{"listChanged":true}}"#, 15),
            (r#"{"elicitation":7}"#, 0),
            ("[]", 0),
        ] {
            let capabilities = Capabilities::declared(declared.as_bytes());
            assert_eq!((capabilities.0, capabilities.opens_urls()), (bits, bits & 2 != 0), "{declared}");
        }
    }
}
