//! The fleet's sealing keys, and the question for header lines.

use model::{Principal, ServerId};
use zeroize::Zeroize as _;

use crate::fields::{parsed, principal, principal_message};
use crate::{Malformed, generated};

/// A key under which proxies seal session ids and cursors. Never printed; wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct SealingKey {
    /// Counts up with every rotation.
    pub id: u32,
    /// 256 random bits.
    pub key: [u8; 32],
}

/// What a fleet seals and opens with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetKeys {
    /// Seals and opens.
    pub current: SealingKey,
    /// Opens only.
    pub previous: Option<SealingKey>,
}

impl Drop for SealingKey {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealingKey({})", self.id)
    }
}

impl From<&SealingKey> for generated::SealingKey {
    fn from(key: &SealingKey) -> Self {
        Self { id: key.id, key: key.key.to_vec() }
    }
}

impl TryFrom<generated::SealingKey> for SealingKey {
    type Error = Malformed;

    fn try_from(mut message: generated::SealingKey) -> Result<Self, Malformed> {
        let key = <[u8; 32]>::try_from(message.key.as_slice());
        message.key.zeroize();
        Ok(Self { id: message.id, key: key.map_err(|_| Malformed::new("sealing_key.key", "not 32 bytes"))? })
    }
}

impl From<&FleetKeys> for generated::SealingKeysAnswer {
    fn from(keys: &FleetKeys) -> Self {
        Self { current: Some((&keys.current).into()), previous: keys.previous.as_ref().map(Into::into) }
    }
}

impl TryFrom<generated::SealingKeysAnswer> for FleetKeys {
    type Error = Malformed;

    fn try_from(message: generated::SealingKeysAnswer) -> Result<Self, Malformed> {
        Ok(Self {
            current: message.current.ok_or_else(|| Malformed::missing("current"))?.try_into()?,
            previous: message.previous.map(TryInto::try_into).transpose()?,
        })
    }
}

/// Asks for the header lines of one use of a connection.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolveQuestion {
    /// Who asks.
    pub node: String,
    /// Evidence: the ticket of the command that caused the question, or empty.
    pub ticket: String,
    /// Who called.
    pub principal: Principal,
    /// The server that is to be called.
    pub server: ServerId,
}

/// What a resolve answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolved {
    /// Nothing is bound: call without a credential.
    NoConnection,
}

impl From<&ResolveQuestion> for generated::ResolveRequest {
    fn from(question: &ResolveQuestion) -> Self {
        Self {
            node_id: question.node.clone(),
            ticket: question.ticket.clone(),
            principal: principal_message(&question.principal),
            server: question.server.to_string(),
        }
    }
}

impl TryFrom<generated::ResolveRequest> for ResolveQuestion {
    type Error = Malformed;

    fn try_from(message: generated::ResolveRequest) -> Result<Self, Malformed> {
        Ok(Self {
            node: message.node_id,
            ticket: message.ticket,
            principal: principal(message.principal)?,
            server: parsed("resolve.server", &message.server)?,
        })
    }
}

impl From<Resolved> for generated::ResolveAnswer {
    fn from(resolved: Resolved) -> Self {
        use generated::resolve_answer::Body;
        match resolved {
            Resolved::NoConnection => Self { body: Some(Body::None(generated::NoConnection {})) },
        }
    }
}

impl TryFrom<generated::ResolveAnswer> for Resolved {
    type Error = Malformed;

    fn try_from(message: generated::ResolveAnswer) -> Result<Self, Malformed> {
        use generated::resolve_answer::Body;
        match message.body.ok_or_else(|| Malformed::missing("resolve_answer.body"))? {
            Body::None(generated::NoConnection {}) => Ok(Self::NoConnection),
        }
    }
}

impl From<String> for generated::SealingKeysRequest {
    /// The node that asks.
    fn from(node_id: String) -> Self {
        Self { node_id }
    }
}

impl From<generated::SealingKeysRequest> for String {
    fn from(message: generated::SealingKeysRequest) -> Self {
        message.node_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fleet_keys_survive_the_wire_and_are_never_printed() {
        let current = SealingKey { id: 2, key: [0xAB; 32] };
        for previous in [None, Some(SealingKey { id: 1, key: [0xCD; 32] })] {
            let keys = FleetKeys { current: current.clone(), previous };
            assert_eq!(FleetKeys::try_from(generated::SealingKeysAnswer::from(&keys)).unwrap(), keys);
            assert!(!format!("{keys:?}").contains("171"), "{keys:?}");
        }
        let short = generated::SealingKeysAnswer {
            current: Some(generated::SealingKey { id: 1, key: vec![1; 31] }),
            previous: None,
        };
        assert_eq!(FleetKeys::try_from(short).unwrap_err().field, "sealing_key.key");
    }

    #[test]
    fn a_resolve_survives_the_wire() {
        let question = ResolveQuestion {
            node: "default/1".into(),
            ticket: "t".into(),
            principal: Principal {
                tenant: model::TenantId(uuid::Uuid::nil()),
                user: None,
                key: Some("0123456789abcdef".parse().unwrap()),
            },
            server: ServerId(uuid::Uuid::nil()),
        };
        assert_eq!(ResolveQuestion::try_from(generated::ResolveRequest::from(&question)).unwrap(), question);
        let answer = generated::ResolveAnswer::from(Resolved::NoConnection);
        assert_eq!(Resolved::try_from(answer).unwrap(), Resolved::NoConnection);
    }
}
