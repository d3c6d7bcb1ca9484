//! The two directions of the `Attach` stream, message by message.

use model::{Digest, IssuerId, ResourceName, Revision};

use crate::fields::{digest, held, held_messages, parsed, revision, revision_message};
use crate::generated::{self, from_control, from_proxy};
use crate::{Command, CommandAnswer, Malformed, Peer, Push};

/// The oldest revision of this protocol that this build speaks: 1 had no packed pushes and another digest of tables,
/// 2 knew of no users, issuers and scopes, 4 of no toolsets, peers and eras.
pub const PROTOCOL_LOWEST: u32 = 5;
/// The newest revision of this protocol that this build speaks.
pub const PROTOCOL_HIGHEST: u32 = 5;

/// What a proxy says.
#[derive(Debug, Clone, PartialEq)]
pub enum FromProxy {
    /// The first message of every stream, and only that.
    Hello(Hello),
    /// The answer to a push.
    Answer(Answer),
    /// Sent every 10 s.
    Heartbeat(Heartbeat),
    /// The answer to a command.
    Command(CommandAnswer),
    /// It leaves on purpose; nothing follows.
    Goodbye,
    /// A token of this issuer came with a key id that its keys don't have.
    UnknownKey(IssuerId),
}

/// What control says.
#[derive(Debug, Clone, PartialEq)]
pub enum FromControl {
    /// One chunk of a push.
    Push(Push),
    /// Sent every 10 s.
    Heartbeat(Heartbeat),
    /// Something to do.
    Command(Command),
    /// Every proxy of the pool that is there.
    Peers(Vec<Peer>),
}

/// Who a proxy is and what it holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Hello {
    /// `pool/random-per-boot`.
    pub node: String,
    /// Random per start of the process.
    pub boot: String,
    /// The same for every start from one data folder.
    pub instance: String,
    /// Version of the program.
    pub build: String,
    /// Lowest and highest revision of this protocol that the proxy speaks.
    pub protocol: (u32, u32),
    /// What its table is at.
    pub revision: Revision,
    /// What its table holds; empty asks for a snapshot.
    pub held: Vec<(ResourceName, Digest)>,
    /// `host:port` where other proxies of the pool reach it; `None` for nowhere.
    pub peer_address: Option<String>,
}

/// How a push went.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The push's.
    pub nonce: u64,
    /// What is in force now.
    pub revision: Revision,
    /// Resources that were not applied; each keeps its last good version.
    pub rejected: Vec<Rejected>,
    /// Set if nothing at all was applied.
    pub refusal: Option<Refusal>,
    /// After a snapshot: what the table holds.
    pub held: Vec<(ResourceName, Digest)>,
}

/// One resource that a proxy did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The resource's name as the push had it; a text, because an unreadable name is a reason too.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// Why a whole push was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Older than what is in force.
    StaleRevision,
    /// Another epoch without a snapshot, or chunks that don't fit together.
    SnapshotNeeded,
}

/// Sign of life, and what the sender believes the proxy's table to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// The table's revision.
    pub revision: Revision,
    /// The table's digest.
    pub digest: Digest,
    /// Id of the fleet's current sealing key, so that a rotation is noticed; 0 for none.
    pub sealing_key: u32,
}

impl From<FromProxy> for generated::FromProxy {
    fn from(message: FromProxy) -> Self {
        use from_proxy::Body;
        let body = match message {
            FromProxy::Hello(hello) => Body::Hello(hello.into()),
            FromProxy::Answer(answer) => Body::Answer(answer.into()),
            FromProxy::Heartbeat(heartbeat) => Body::Heartbeat(heartbeat.into()),
            FromProxy::Command(answer) => Body::Command(answer.into()),
            FromProxy::Goodbye => Body::Goodbye(generated::Goodbye {}),
            FromProxy::UnknownKey(issuer) => Body::UnknownKey(generated::UnknownKey { issuer: issuer.to_string() }),
        };
        Self { body: Some(body) }
    }
}

impl TryFrom<generated::FromProxy> for FromProxy {
    type Error = Malformed;

    fn try_from(message: generated::FromProxy) -> Result<Self, Malformed> {
        use from_proxy::Body;
        Ok(match message.body.ok_or_else(|| Malformed::missing("from_proxy.body"))? {
            Body::Hello(hello) => Self::Hello(hello.try_into()?),
            Body::Answer(answer) => Self::Answer(answer.try_into()?),
            Body::Heartbeat(heartbeat) => Self::Heartbeat(heartbeat.try_into()?),
            Body::Command(answer) => Self::Command(answer.try_into()?),
            Body::Goodbye(generated::Goodbye {}) => Self::Goodbye,
            Body::UnknownKey(unknown) => Self::UnknownKey(parsed("unknown_key.issuer", &unknown.issuer)?),
            Body::Part(_) => return Err(Malformed::new("from_proxy.part", "a part without the rest")),
        })
    }
}

impl From<FromControl> for generated::FromControl {
    fn from(message: FromControl) -> Self {
        use from_control::Body;
        let body = match message {
            FromControl::Push(push) => Body::Push(push.into()),
            FromControl::Heartbeat(heartbeat) => Body::Heartbeat(heartbeat.into()),
            FromControl::Command(command) => Body::Command(command.into()),
            FromControl::Peers(peers) => Body::Peers(peers.into()),
        };
        Self { body: Some(body) }
    }
}

impl TryFrom<generated::FromControl> for FromControl {
    type Error = Malformed;

    fn try_from(message: generated::FromControl) -> Result<Self, Malformed> {
        use from_control::Body;
        Ok(match message.body.ok_or_else(|| Malformed::missing("from_control.body"))? {
            Body::Push(push) => Self::Push(push.try_into()?),
            Body::Heartbeat(heartbeat) => Self::Heartbeat(heartbeat.try_into()?),
            Body::Command(command) => Self::Command(command.try_into()?),
            Body::Peers(peers) => Self::Peers(peers.into()),
        })
    }
}

impl From<Hello> for generated::Hello {
    fn from(hello: Hello) -> Self {
        Self {
            node_id: hello.node,
            boot_id: hello.boot,
            instance: hello.instance,
            build: hello.build,
            protocol_lowest: hello.protocol.0,
            protocol_highest: hello.protocol.1,
            revision: revision_message(hello.revision),
            held: held_messages(&hello.held),
            peer_address: hello.peer_address,
        }
    }
}

impl TryFrom<generated::Hello> for Hello {
    type Error = Malformed;

    fn try_from(message: generated::Hello) -> Result<Self, Malformed> {
        Ok(Self {
            node: message.node_id,
            boot: message.boot_id,
            instance: message.instance,
            build: message.build,
            protocol: (message.protocol_lowest, message.protocol_highest),
            revision: revision(message.revision)?,
            held: held(&message.held)?,
            peer_address: message.peer_address,
        })
    }
}

impl From<Answer> for generated::Answer {
    fn from(answer: Answer) -> Self {
        let refusal = match answer.refusal {
            None => generated::Refusal::None,
            Some(Refusal::StaleRevision) => generated::Refusal::StaleRevision,
            Some(Refusal::SnapshotNeeded) => generated::Refusal::SnapshotNeeded,
        };
        let rejected = answer.rejected.into_iter();
        Self {
            nonce: answer.nonce,
            revision: revision_message(answer.revision),
            rejected: rejected.map(|Rejected { name, reason }| generated::Rejected { name, reason }).collect(),
            refusal: refusal.into(),
            held: held_messages(&answer.held),
        }
    }
}

impl TryFrom<generated::Answer> for Answer {
    type Error = Malformed;

    fn try_from(message: generated::Answer) -> Result<Self, Malformed> {
        let refusal = match generated::Refusal::try_from(message.refusal) {
            Ok(generated::Refusal::None) => None,
            Ok(generated::Refusal::StaleRevision) => Some(Refusal::StaleRevision),
            Ok(generated::Refusal::SnapshotNeeded) => Some(Refusal::SnapshotNeeded),
            Err(error) => return Err(Malformed::new("answer.refusal", error)),
        };
        let rejected = message.rejected.into_iter();
        Ok(Self {
            nonce: message.nonce,
            revision: revision(message.revision)?,
            rejected: rejected.map(|rejected| Rejected { name: rejected.name, reason: rejected.reason }).collect(),
            refusal,
            held: held(&message.held)?,
        })
    }
}

impl From<Heartbeat> for generated::Heartbeat {
    fn from(heartbeat: Heartbeat) -> Self {
        Self {
            revision: revision_message(heartbeat.revision),
            digest: heartbeat.digest.0.to_vec(),
            sealing_key: heartbeat.sealing_key,
        }
    }
}

impl TryFrom<generated::Heartbeat> for Heartbeat {
    type Error = Malformed;

    fn try_from(message: generated::Heartbeat) -> Result<Self, Malformed> {
        Ok(Self {
            revision: revision(message.revision)?,
            digest: digest("heartbeat.digest", &message.digest)?,
            sealing_key: message.sealing_key,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::resource::tests::resource;

    fn revisions() -> impl Strategy<Value = Revision> {
        any::<(i64, i64)>().prop_map(|(epoch, seq)| Revision { epoch, seq })
    }

    fn held() -> impl Strategy<Value = Vec<(ResourceName, Digest)>> {
        prop::collection::vec(resource().prop_map(|resource| (resource.name(), resource.digest())), 0..5)
    }

    proptest! {
        #[test]
        fn hello_survives_the_wire(
            texts in any::<[String; 4]>(),
            protocol: (u32, u32),
            revision in revisions(),
            held in held(),
            peer_address: Option<String>,
        ) {
            let [node, boot, instance, build] = texts;
            let hello = FromProxy::Hello(Hello { node, boot, instance, build, protocol, revision, held, peer_address });
            prop_assert_eq!(FromProxy::try_from(generated::FromProxy::from(hello.clone())).unwrap(), hello);
        }

        #[test]
        fn answers_and_heartbeats_survive_the_wire(
            nonce: u64,
            revision in revisions(),
            rejected in prop::collection::vec(any::<(String, String)>(), 0..4),
            bytes: [u8; 32],
            refusal in prop::option::of(prop_oneof![Just(Refusal::StaleRevision), Just(Refusal::SnapshotNeeded)]),
            held in held(),
        ) {
            let rejected = rejected.into_iter().map(|(name, reason)| Rejected { name, reason }).collect();
            let digest = Digest(bytes);
            let answer = FromProxy::Answer(Answer { nonce, revision, rejected, refusal, held });
            prop_assert_eq!(FromProxy::try_from(generated::FromProxy::from(answer.clone())).unwrap(), answer);
            let beat = Heartbeat { revision, digest, sealing_key: 7 };
            let from_control = FromControl::Heartbeat(beat.clone());
            prop_assert_eq!(FromControl::try_from(generated::FromControl::from(from_control.clone())).unwrap(), from_control);
        }
    }

    #[test]
    fn peers_survive_the_wire() {
        let peers = FromControl::Peers(vec![Peer { node: "default/1".into(), address: "10.0.0.1:5015".into() }]);
        assert_eq!(FromControl::try_from(generated::FromControl::from(peers.clone())).unwrap(), peers);
    }

    #[test]
    fn an_empty_message_is_refused_by_field() {
        let empty = generated::FromProxy { body: None };
        assert_eq!(FromProxy::try_from(empty).unwrap_err().field, "from_proxy.body");
        let no_revision = generated::Heartbeat { digest: vec![0; 32], ..Default::default() };
        assert_eq!(Heartbeat::try_from(no_revision).unwrap_err().field, "revision");
        let short = generated::Heartbeat { revision: Some(Default::default()), digest: vec![0; 31], sealing_key: 0 };
        assert_eq!(Heartbeat::try_from(short).unwrap_err().field, "heartbeat.digest");
    }
}
