//! The question for header lines, its answer, and what upstreams said to them.

use std::time::Duration;

use model::{ConnectionId, Principal, Secret, ServerId, TenantId};

use crate::fields::{parsed, parsed_option, principal, principal_message};
use crate::resource::millis;
use crate::{Malformed, generated};

/// Asks for the header lines of a connection, or for those that need none.
#[derive(Debug)]
pub struct ResolveQuestion {
    /// Who asks.
    pub node: String,
    /// Who called.
    pub principal: Principal,
    /// The server that is to be called.
    pub server: ServerId,
    /// The connection; `None` for header lines that need none.
    pub connection: Option<ConnectionId>,
    /// The caller's departments, in the caller's order.
    pub departments: Vec<String>,
    /// Only a later generation will do: this one was refused. 0: any.
    pub newer_than: i64,
    /// How it was refused.
    pub challenge: Option<Challenge>,
    /// That a live caller stands behind it.
    pub evidence: Evidence,
}

/// That a live caller stands behind a question.
#[derive(Debug)]
pub enum Evidence {
    /// Nothing: enough for what is not somebody's.
    None,
    /// The ticket of a command.
    Ticket(String),
    /// Made with the secret of the caller's key.
    Key(KeyEvidence),
    /// The caller's own token.
    Token(Secret),
}

/// HMAC-SHA256 under a value that only who holds the key's secret can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyEvidence {
    /// When it was made, microseconds since 1970.
    pub at: i64,
    /// Never used twice.
    pub nonce: [u8; 16],
    /// Over the question.
    pub mac: [u8; 32],
}

/// How an upstream refused a request for the sake of its credential.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Challenge {
    /// 401 or 403.
    pub status: u16,
    /// Where its metadata is (RFC 9728), as it said.
    pub resource_metadata: Option<String>,
    /// The scopes that it wants.
    pub scope: Option<String>,
    /// E.g. `invalid_token`, `insufficient_scope`.
    pub error: Option<String>,
}

/// What a resolve answers.
#[derive(Debug)]
pub enum Resolved {
    /// Nothing is bound: call without a credential.
    NoConnection,
    /// What to send along.
    Lines(HeaderLines),
    /// There are none.
    Unresolved(Unresolved),
}

/// What a connection becomes for requests. Values are never printed.
#[derive(Debug)]
pub struct HeaderLines {
    /// Of the connection; 0 without one.
    pub credential_version: i64,
    /// Of the connection; 0 without one.
    pub token_generation: i64,
    /// In this order.
    pub headers: Vec<(String, Secret)>,
    /// Added to the URL's query.
    pub query: Vec<(String, Secret)>,
    /// To be shown in the TLS handshake.
    pub certificate: Option<ClientCertificate>,
    /// From the receipt on: when to ask again in the background.
    pub fresh: Duration,
    /// Until when it may be used while control answers.
    pub good: Duration,
    /// Until when it may be used while control does not answer.
    pub stale: Duration,
}

impl PartialEq for HeaderLines {
    fn eq(&self, other: &Self) -> bool {
        generated::HeaderLines::from(self) == generated::HeaderLines::from(other)
    }
}

/// PEM.
#[derive(Debug)]
pub struct ClientCertificate {
    /// The certificate and those above it.
    pub chain: Secret,
    /// PKCS #8, PKCS #1 or SEC 1.
    pub key: Secret,
}

/// Why there are no header lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unresolved {
    /// `connection_required`, `reauth_required`, `credential_unreadable`, `context_missing`, `template`,
    /// `upstream_auth`, `sealed` or `busy`.
    pub reason: String,
    /// For people; shows no secret.
    pub message: String,
    /// Only where trying again may help.
    pub retry_after: Option<Duration>,
}

/// What an upstream said to the header lines of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whose.
    pub tenant: TenantId,
    /// Which upstream.
    pub server: ServerId,
    /// Whose header lines.
    pub connection: ConnectionId,
    /// Of which generation.
    pub token_generation: i64,
    /// How it refused them after the retry; `None`: it accepted them.
    pub refused: Option<Challenge>,
}

/// What a proxy reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Who reports.
    pub node: String,
    /// One for each connection.
    pub verdicts: Vec<Verdict>,
}

impl From<&ResolveQuestion> for generated::ResolveRequest {
    fn from(question: &ResolveQuestion) -> Self {
        use generated::resolve_request::Evidence as Shown;
        Self {
            node_id: question.node.clone(),
            principal: principal_message(&question.principal),
            server: question.server.to_string(),
            connection: question.connection.map(|id| id.to_string()),
            departments: question.departments.clone(),
            newer_than: question.newer_than,
            challenge: question.challenge.as_ref().map(Into::into),
            evidence: match &question.evidence {
                Evidence::None => None,
                Evidence::Ticket(ticket) => Some(Shown::Ticket(ticket.clone())),
                Evidence::Key(key) => Some(Shown::Key(generated::KeyEvidence {
                    at: key.at,
                    nonce: key.nonce.to_vec(),
                    mac: key.mac.to_vec(),
                })),
                Evidence::Token(token) => Some(Shown::Token(token.expose().to_owned())),
            },
        }
    }
}

impl TryFrom<generated::ResolveRequest> for ResolveQuestion {
    type Error = Malformed;

    fn try_from(message: generated::ResolveRequest) -> Result<Self, Malformed> {
        use generated::resolve_request::Evidence as Shown;
        let evidence = match message.evidence {
            None => Evidence::None,
            Some(Shown::Ticket(ticket)) => Evidence::Ticket(ticket),
            Some(Shown::Token(token)) => Evidence::Token(Secret::new(token)),
            Some(Shown::Key(key)) => Evidence::Key(KeyEvidence {
                at: key.at,
                nonce: bytes("resolve.key.nonce", &key.nonce)?,
                mac: bytes("resolve.key.mac", &key.mac)?,
            }),
        };
        Ok(Self {
            node: message.node_id,
            principal: principal(message.principal)?,
            server: parsed("resolve.server", &message.server)?,
            connection: parsed_option("resolve.connection", message.connection.as_deref())?,
            departments: message.departments,
            newer_than: message.newer_than,
            challenge: message.challenge.map(challenge).transpose()?,
            evidence,
        })
    }
}

impl From<&Challenge> for generated::Challenge {
    fn from(challenge: &Challenge) -> Self {
        let Challenge { status, resource_metadata, scope, error } = challenge.clone();
        Self { status: status.into(), resource_metadata, scope, error }
    }
}

pub(crate) fn challenge(message: generated::Challenge) -> Result<Challenge, Malformed> {
    let generated::Challenge { status, resource_metadata, scope, error } = message;
    let status = u16::try_from(status).map_err(|_| Malformed::new("challenge.status", "no status"))?;
    Ok(Challenge { status, resource_metadata, scope, error })
}

impl From<&Resolved> for generated::ResolveAnswer {
    fn from(resolved: &Resolved) -> Self {
        use generated::resolve_answer::Body;
        let body = match resolved {
            Resolved::NoConnection => Body::None(generated::NoConnection {}),
            Resolved::Lines(lines) => Body::Lines(lines.into()),
            Resolved::Unresolved(why) => Body::Unresolved(generated::Unresolved {
                reason: why.reason.clone(),
                message: why.message.clone(),
                retry_after_ms: why.retry_after.map(millis),
            }),
        };
        Self { body: Some(body) }
    }
}

impl TryFrom<generated::ResolveAnswer> for Resolved {
    type Error = Malformed;

    fn try_from(message: generated::ResolveAnswer) -> Result<Self, Malformed> {
        use generated::resolve_answer::Body;
        Ok(match message.body.ok_or_else(|| Malformed::missing("resolve_answer.body"))? {
            Body::None(generated::NoConnection {}) => Self::NoConnection,
            Body::Lines(lines) => Self::Lines(lines.into()),
            Body::Unresolved(why) => Self::Unresolved(Unresolved {
                reason: why.reason,
                message: why.message,
                retry_after: why.retry_after_ms.map(Duration::from_millis),
            }),
        })
    }
}

impl From<&HeaderLines> for generated::HeaderLines {
    fn from(lines: &HeaderLines) -> Self {
        Self {
            credential_version: lines.credential_version,
            token_generation: lines.token_generation,
            headers: exposed(&lines.headers),
            query: exposed(&lines.query),
            certificate: lines.certificate.as_ref().map(|certificate| generated::ClientCertificate {
                chain: certificate.chain.expose().to_owned(),
                key: certificate.key.expose().to_owned(),
            }),
            fresh_ms: millis(lines.fresh),
            good_ms: millis(lines.good),
            stale_ms: millis(lines.stale),
        }
    }
}

impl From<generated::HeaderLines> for HeaderLines {
    fn from(message: generated::HeaderLines) -> Self {
        Self {
            credential_version: message.credential_version,
            token_generation: message.token_generation,
            headers: hidden(message.headers),
            query: hidden(message.query),
            certificate: message.certificate.map(|certificate| ClientCertificate {
                chain: Secret::new(certificate.chain),
                key: Secret::new(certificate.key),
            }),
            fresh: Duration::from_millis(message.fresh_ms),
            good: Duration::from_millis(message.good_ms),
            stale: Duration::from_millis(message.stale_ms),
        }
    }
}

fn exposed(lines: &[(String, Secret)]) -> Vec<generated::Header> {
    let line =
        |(name, value): &(String, Secret)| generated::Header { name: name.clone(), value: value.expose().to_owned() };
    lines.iter().map(line).collect()
}

fn hidden(lines: Vec<generated::Header>) -> Vec<(String, Secret)> {
    lines.into_iter().map(|line| (line.name, Secret::new(line.value))).collect()
}

impl From<&Report> for generated::ReportRequest {
    fn from(report: &Report) -> Self {
        let verdict = |verdict: &Verdict| generated::Verdict {
            tenant: verdict.tenant.to_string(),
            server: verdict.server.to_string(),
            connection: verdict.connection.to_string(),
            token_generation: verdict.token_generation,
            refused: verdict.refused.as_ref().map(Into::into),
        };
        Self { node_id: report.node.clone(), verdicts: report.verdicts.iter().map(verdict).collect() }
    }
}

impl TryFrom<generated::ReportRequest> for Report {
    type Error = Malformed;

    fn try_from(message: generated::ReportRequest) -> Result<Self, Malformed> {
        let verdict = |verdict: generated::Verdict| {
            Ok(Verdict {
                tenant: parsed("verdict.tenant", &verdict.tenant)?,
                server: parsed("verdict.server", &verdict.server)?,
                connection: parsed("verdict.connection", &verdict.connection)?,
                token_generation: verdict.token_generation,
                refused: verdict.refused.map(challenge).transpose()?,
            })
        };
        let verdicts = message.verdicts.into_iter().map(verdict).collect::<Result<_, Malformed>>()?;
        Ok(Self { node: message.node_id, verdicts })
    }
}

fn bytes<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], Malformed> {
    bytes.try_into().map_err(|_| Malformed::new(field, format!("not {N} bytes")))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn question(evidence: Evidence) -> ResolveQuestion {
        ResolveQuestion {
            node: "default/1".into(),
            principal: Principal {
                tenant: TenantId(Uuid::nil()),
                user: None,
                key: Some("0123456789abcdef".parse().unwrap()),
            },
            server: ServerId(Uuid::from_u128(2)),
            connection: Some(ConnectionId(Uuid::from_u128(3))),
            departments: vec!["sales".into()],
            newer_than: 7,
            challenge: Some(Challenge { status: 401, scope: Some("a b".into()), ..Challenge::default() }),
            evidence,
        }
    }

    #[test]
    fn a_question_survives_the_wire_and_shows_no_token() {
        let key = KeyEvidence { at: 5, nonce: [1; 16], mac: [2; 32] };
        let all = [
            Evidence::None,
            Evidence::Ticket("t".into()),
            Evidence::Key(key),
            Evidence::Token(Secret::new("canary".into())),
        ];
        for evidence in all {
            let asked = question(evidence);
            let message = generated::ResolveRequest::from(&asked);
            let read = ResolveQuestion::try_from(message.clone()).unwrap();
            assert_eq!(generated::ResolveRequest::from(&read), message);
            assert!(!format!("{asked:?}").contains("canary"));
        }
        let mut short = generated::ResolveRequest::from(&question(Evidence::Key(key)));
        if let Some(generated::resolve_request::Evidence::Key(key)) = &mut short.evidence {
            key.mac.pop();
        }
        assert_eq!(ResolveQuestion::try_from(short).unwrap_err().field, "resolve.key.mac");
    }

    #[test]
    fn an_answer_survives_the_wire_and_shows_no_secret() {
        let secret = || Secret::new("canary".into());
        let lines = HeaderLines {
            credential_version: 1,
            token_generation: 2,
            headers: vec![("authorization".into(), secret())],
            query: vec![("key".into(), secret())],
            certificate: Some(ClientCertificate { chain: secret(), key: secret() }),
            fresh: Duration::from_secs(60),
            good: Duration::from_secs(900),
            stale: Duration::from_secs(14_400),
        };
        let why = Unresolved { reason: "busy".into(), message: "m".into(), retry_after: Some(Duration::from_secs(1)) };
        for answer in [Resolved::NoConnection, Resolved::Lines(lines), Resolved::Unresolved(why)] {
            let message = generated::ResolveAnswer::from(&answer);
            let read = Resolved::try_from(message.clone()).unwrap();
            assert_eq!(generated::ResolveAnswer::from(&read), message);
            assert!(!format!("{answer:?}").contains("canary"));
        }
    }

    #[test]
    fn a_report_survives_the_wire() {
        let verdict = |refused| Verdict {
            tenant: TenantId(Uuid::from_u128(1)),
            server: ServerId(Uuid::from_u128(2)),
            connection: ConnectionId(Uuid::from_u128(3)),
            token_generation: 4,
            refused,
        };
        let challenge = Challenge { status: 403, error: Some("insufficient_scope".into()), ..Challenge::default() };
        let report = Report { node: "default/1".into(), verdicts: vec![verdict(None), verdict(Some(challenge))] };
        assert_eq!(Report::try_from(generated::ReportRequest::from(&report)).unwrap(), report);
    }
}
