//! Pushes: cutting one into messages that fit, and putting it together again. A resource that can't
//! be read spoils only itself.

use model::{Resource, ResourceName, Revision};
use prost::Message as _;
use prost::bytes::Bytes;

use crate::fields::{parsed, revision, revision_message};
use crate::{FromControl, Malformed, generated};

/// No message on the link is longer: 4 MiB.
pub const MESSAGE_LIMIT: usize = 4 << 20;
/// Where a chunk is cut: room for one resource of the largest size and the rest of the message.
const CHUNK_BYTES: usize = 2 << 20;
/// A push is never longer than this: 64 MiB.
const PUSH_LIMIT: u32 = 32;

/// One chunk of a push.
#[derive(Debug, Clone, PartialEq)]
pub struct Push {
    /// What all chunks of the push share.
    pub head: PushHead,
    /// 0-based number of this chunk.
    pub chunk: u32,
    /// How many chunks the push has.
    pub chunks: u32,
    /// New and changed resources.
    pub upserts: Vec<Upsert>,
    /// What is no longer intended.
    pub removes: Vec<ResourceName>,
}

/// What all chunks of one push share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushHead {
    /// Names the push in its answer; means nothing outside its stream.
    pub nonce: u64,
    /// What the proxy is at afterwards.
    pub revision: Revision,
    /// Everything that the push does not name goes.
    pub snapshot: bool,
    /// On disk before the answer.
    pub urgent: bool,
}

/// One resource of a push, read or not.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "nearly all of them are read, and are taken out at once")]
pub enum Upsert {
    /// It was read.
    Read(Resource),
    /// It was not, and why.
    Unreadable {
        /// Its name as it came.
        name: String,
        /// What is wrong.
        why: Malformed,
    },
}

impl Push {
    /// Cuts a push into messages that fit the link, in the order in which they must be sent.
    pub fn split<'a>(
        head: PushHead,
        upserts: impl Iterator<Item = &'a Resource>,
        removes: Vec<ResourceName>,
    ) -> Vec<generated::FromControl> {
        Packed::of(upserts).push(head, removes)
    }
}

/// Resources as a push carries them, encoded once, however many proxies are sent them.
#[derive(Debug, Clone, Default)]
pub struct Packed {
    /// At least one, none longer than a message may be.
    chunks: Vec<Bytes>,
}

impl Packed {
    /// Encodes the resources.
    pub fn of<'a>(resources: impl Iterator<Item = &'a Resource>) -> Self {
        let mut chunks = vec![];
        let mut chunk = generated::Packed::default();
        let mut room = CHUNK_BYTES;
        for resource in resources {
            let message = generated::Resource::from(resource);
            let size = message.encoded_len() + 8;
            if size > room && !chunk.upserts.is_empty() {
                chunks.push(std::mem::take(&mut chunk).encode_to_vec().into());
                room = CHUNK_BYTES;
            }
            room = room.saturating_sub(size);
            chunk.upserts.push(message);
        }
        chunks.push(chunk.encode_to_vec().into());
        Self { chunks }
    }

    /// The messages of a push of exactly these, and of what goes, in the order in which they must be sent.
    pub fn push(&self, head: PushHead, removes: Vec<ResourceName>) -> Vec<generated::FromControl> {
        let chunks = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        let mut removes: Vec<_> = removes.iter().map(ToString::to_string).collect();
        let message = |(chunk, packed): (u32, &Bytes)| generated::FromControl {
            body: Some(generated::from_control::Body::Push(generated::Push {
                nonce: head.nonce,
                revision: revision_message(head.revision),
                snapshot: head.snapshot,
                urgent: head.urgent,
                chunk,
                chunks,
                packed: packed.clone(),
                removes: std::mem::take(&mut removes),
                ..Default::default()
            })),
        };
        (0..).zip(&self.chunks).map(message).collect()
    }

    /// How many bytes are sent, without what is around them.
    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }
}

impl From<Push> for generated::Push {
    /// An unreadable resource is written as its bare name, so it stays unreadable.
    fn from(push: Push) -> Self {
        let upserts = push.upserts.iter().map(|upsert| match upsert {
            Upsert::Read(resource) => resource.into(),
            Upsert::Unreadable { name, .. } => generated::Resource { name: name.clone(), body: None },
        });
        Self {
            nonce: push.head.nonce,
            revision: revision_message(push.head.revision),
            snapshot: push.head.snapshot,
            chunk: push.chunk,
            chunks: push.chunks,
            upserts: upserts.collect(),
            removes: push.removes.iter().map(ToString::to_string).collect(),
            urgent: push.head.urgent,
            packed: Bytes::new(),
        }
    }
}

impl TryFrom<generated::Push> for Push {
    type Error = Malformed;

    fn try_from(message: generated::Push) -> Result<Self, Malformed> {
        let packed = generated::Packed::decode(message.packed).map_err(|error| Malformed::new("push.packed", error))?;
        let upserts = message.upserts.into_iter().chain(packed.upserts).map(|resource| {
            let name = resource.name.clone();
            Resource::try_from(resource).map_or_else(|why| Upsert::Unreadable { name, why }, Upsert::Read)
        });
        Ok(Self {
            upserts: upserts.collect(),
            removes: message.removes.iter().map(|name| parsed("push.removes", name)).collect::<Result<_, _>>()?,
            head: PushHead {
                nonce: message.nonce,
                revision: revision(message.revision)?,
                snapshot: message.snapshot,
                urgent: message.urgent,
            },
            chunk: message.chunk,
            chunks: message.chunks,
        })
    }
}

impl From<Push> for FromControl {
    fn from(push: Push) -> Self {
        Self::Push(push)
    }
}

/// Puts the chunks of pushes together again; holds at most one unfinished push.
#[derive(Debug, Default)]
pub struct Collector {
    unfinished: Option<Collected>,
    expected: u32,
}

/// A whole push.
#[derive(Debug, PartialEq)]
pub struct Collected {
    /// What all chunks shared.
    pub head: PushHead,
    /// New and changed resources.
    pub upserts: Vec<Upsert>,
    /// What is no longer intended.
    pub removes: Vec<ResourceName>,
}

/// Chunks that don't make a push.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CollectError {
    /// A chunk out of its turn or of another push.
    #[error("chunk {chunk} of {chunks} of push {nonce} came out of turn")]
    OutOfTurn {
        /// The push.
        nonce: u64,
        /// The chunk that came.
        chunk: u32,
        /// How many there should be.
        chunks: u32,
    },
    /// More than 64 MiB.
    #[error("push {nonce} has {chunks} chunks, at most {PUSH_LIMIT} are taken")]
    TooLarge {
        /// The push.
        nonce: u64,
        /// How many chunks it has.
        chunks: u32,
    },
}

impl Collector {
    /// Takes the next chunk; the whole push comes out with its last one.
    pub fn take(&mut self, push: Push) -> Result<Option<Collected>, CollectError> {
        let Push { head, chunk, chunks, upserts, removes } = push;
        if chunks > PUSH_LIMIT {
            self.unfinished = None;
            return Err(CollectError::TooLarge { nonce: head.nonce, chunks });
        }
        let collected = match self.unfinished.take() {
            None if chunk == 0 => Collected { head, upserts, removes },
            Some(mut collected) if collected.head == head && chunk == self.expected => {
                collected.upserts.extend(upserts);
                collected.removes.extend(removes);
                collected
            }
            _ => return Err(CollectError::OutOfTurn { nonce: head.nonce, chunk, chunks }),
        };
        self.expected = chunk + 1;
        if self.expected >= chunks {
            return Ok(Some(collected));
        }
        self.unfinished = Some(collected);
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::resource::tests::resource;

    fn head(nonce: u64) -> PushHead {
        PushHead { nonce, revision: Revision { epoch: 1, seq: 2 }, snapshot: true, urgent: false }
    }

    fn reread(frame: generated::FromControl) -> Push {
        match FromControl::try_from(frame).unwrap() {
            FromControl::Push(push) => push,
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        #[test]
        fn a_push_survives_the_wire(resources in prop::collection::vec(resource(), 0..8), nonce: u64) {
            let removes = vec![resources.first().map_or(ResourceName::Tenant(model::TenantId(uuid::Uuid::nil())), Resource::name)];
            let mut collector = Collector::default();
            let mut frames = Push::split(head(nonce), resources.iter(), removes.clone()).into_iter();
            let whole = collector.take(reread(frames.next().unwrap())).unwrap().unwrap();
            prop_assert!(frames.next().is_none());
            prop_assert_eq!(whole.head, head(nonce));
            prop_assert_eq!(whole.removes, removes);
            let read: Vec<_> = resources.into_iter().map(Upsert::Read).collect();
            prop_assert_eq!(whole.upserts, read);
        }
    }

    #[test]
    fn a_large_push_is_cut_and_put_together_again() {
        let server = |n: u128| {
            Resource::Server(model::ServerSpec {
                id: model::ServerId(uuid::Uuid::from_u128(n)),
                tenant: model::TenantId(uuid::Uuid::nil()),
                name: "notes".parse().unwrap(),
                title: "x".repeat(100_000),
                generation: model::Generation(1),
                transport: model::Transport::Auto,
                url: model::UpstreamUrl::parse("https://notes.example/").unwrap(),
                headers: vec![],
                connect_timeout: std::time::Duration::from_secs(1),
                read_timeout: std::time::Duration::from_secs(1),
                disabled_tools: vec![],
                trust_hints: false,
                retry_count: 0,
                retry_delay: std::time::Duration::from_secs(1),
                limits: model::ServerLimits::default(),
                binding: None,
                eras: model::Eras::default(),
            })
        };
        let servers: Vec<_> = (0..100).map(server).collect();
        let frames = Push::split(head(7), servers.iter(), vec![]);
        assert!(frames.len() > 4);
        assert!(frames.iter().all(|frame| frame.encoded_len() < MESSAGE_LIMIT));
        let last = frames.len() - 1;
        let mut collector = Collector::default();
        for (at, frame) in frames.into_iter().enumerate() {
            let whole = collector.take(reread(frame)).unwrap();
            assert_eq!(whole.is_some(), at == last);
            assert!(whole.is_none_or(|whole| whole.upserts.len() == 100));
        }
    }

    #[test]
    fn chunks_out_of_turn_are_refused() {
        let chunk = |nonce, chunk| Push { head: head(nonce), chunk, chunks: 3, upserts: vec![], removes: vec![] };
        for (first, second) in [((1, 0), (1, 2)), ((1, 0), (2, 1)), ((1, 0), (1, 0))] {
            let mut collector = Collector::default();
            assert_eq!(collector.take(chunk(first.0, first.1)), Ok(None));
            assert!(matches!(collector.take(chunk(second.0, second.1)), Err(CollectError::OutOfTurn { .. })));
        }
        let mut collector = Collector::default();
        let huge = Push { chunks: 33, ..chunk(1, 0) };
        assert_eq!(collector.take(huge), Err(CollectError::TooLarge { nonce: 1, chunks: 33 }));
    }

    #[test]
    fn an_unreadable_resource_spoils_only_itself() {
        let good = Resource::Tenant(model::TenantSpec {
            id: model::TenantId(uuid::Uuid::nil()),
            name: "default".parse().unwrap(),
            limits: model::Limits::default(),
            stale_after: Some(model::TenantSpec::STALE_AFTER),
            authorization_server: false,
        });
        let mut message = generated::Push { chunks: 1, revision: Some(Default::default()), ..Default::default() };
        message.upserts.push(generated::Resource { name: "server/nonsense".into(), body: None });
        message.upserts.push((&good).into());
        let push = Push::try_from(message).unwrap();
        assert!(matches!(&push.upserts[0], Upsert::Unreadable { name, .. } if name == "server/nonsense"));
        assert_eq!(push.upserts[1], Upsert::Read(good));
    }
}
