//! What a proxy says may be longer than a message of the link: cutting it into parts, and joining
//! them again.

use prost::Message as _;

use crate::generated::{self, from_proxy::Body};
use crate::{FromProxy, Malformed};

/// What a part carries; the rest of its message fits beside it.
const PART_BYTES: usize = 2 << 20;
/// Nothing that a proxy says is longer: 64 MiB, as a push.
const JOINED_LIMIT: usize = 64 << 20;

/// More than can be said at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{bytes} bytes are more than the link carries at once")]
pub struct TooLong {
    /// How long it is.
    pub bytes: usize,
}

impl FromProxy {
    /// The messages that say this, in the order in which they must be sent.
    pub fn into_frames(self) -> Result<Vec<generated::FromProxy>, TooLong> {
        let whole = generated::FromProxy::from(self);
        let bytes = whole.encoded_len();
        if bytes <= PART_BYTES {
            return Ok(vec![whole]);
        }
        if bytes > JOINED_LIMIT {
            return Err(TooLong { bytes });
        }
        let encoded = whole.encode_to_vec();
        let chunks = encoded.chunks(PART_BYTES);
        let last = chunks.len() - 1;
        let part = |(number, chunk): (usize, &[u8])| generated::Part { bytes: chunk.to_vec(), last: number == last };
        Ok(chunks.enumerate().map(part).map(|part| generated::FromProxy { body: Some(Body::Part(part)) }).collect())
    }
}

/// Joins parts; what is whole may come between them.
#[derive(Debug, Default)]
pub struct Joiner {
    unfinished: Vec<u8>,
}

impl Joiner {
    /// Takes the next message; what was cut comes out with its last part.
    pub fn take(&mut self, frame: generated::FromProxy) -> Result<Option<FromProxy>, Malformed> {
        let part = match frame.body {
            Some(Body::Part(part)) => part,
            body => return FromProxy::try_from(generated::FromProxy { body }).map(Some),
        };
        if self.unfinished.len() + part.bytes.len() > JOINED_LIMIT {
            self.unfinished = Vec::new();
            return Err(Malformed::new("from_proxy.part", "longer than 64 MiB"));
        }
        self.unfinished.extend(part.bytes);
        if !part.last {
            return Ok(None);
        }
        let whole = generated::FromProxy::decode(std::mem::take(&mut self.unfinished).as_slice());
        let whole = whole.map_err(|error| Malformed::new("from_proxy.part", error))?;
        FromProxy::try_from(whole).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use model::{Digest, ResourceName, ServerId};
    use uuid::Uuid;

    use super::*;
    use crate::{CommandAnswer, MESSAGE_LIMIT, Outcome};

    fn resynced(entries: u128) -> FromProxy {
        let held = |number| (ResourceName::Server(ServerId(Uuid::from_u128(number))), Digest([7; 32]));
        let outcome = Outcome::Resynced((0..entries).map(held).collect());
        FromProxy::Command(CommandAnswer { id: 1, outcome })
    }

    #[test]
    fn what_is_long_comes_in_parts_between_which_others_may_speak() {
        let long = resynced(100_000);
        let frames = long.clone().into_frames().unwrap();
        assert!(frames.len() > 3 && frames.iter().all(|frame| frame.encoded_len() < MESSAGE_LIMIT));
        let mut joiner = Joiner::default();
        let mut joined = vec![];
        for frame in frames {
            joined.extend(joiner.take(frame).unwrap());
            let short = resynced(1);
            assert_eq!(joiner.take(short.clone().into_frames().unwrap().remove(0)).unwrap(), Some(short));
        }
        assert_eq!(joined, vec![long]);
    }

    #[test]
    fn what_is_too_long_is_neither_cut_nor_joined() {
        assert!(resynced(900_000).into_frames().is_err());
        let part = generated::Part { bytes: vec![0; JOINED_LIMIT / 2 + 1], last: false };
        let frame = generated::FromProxy { body: Some(Body::Part(part)) };
        let mut joiner = Joiner::default();
        assert_eq!(joiner.take(frame.clone()).unwrap(), None);
        assert_eq!(joiner.take(frame).unwrap_err().field, "from_proxy.part");
        let mut inner = generated::FromProxy { body: Some(Body::Part(generated::Part::default())) }.encode_to_vec();
        let nested = generated::Part { bytes: std::mem::take(&mut inner), last: true };
        assert!(joiner.take(generated::FromProxy { body: Some(Body::Part(nested)) }).is_err());
    }
}
