//! The fleet's sealing keys.

use zeroize::Zeroize as _;

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
}
