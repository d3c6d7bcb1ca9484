//! Who the proxies of a pool are, and where they reach each other.

use prost::Message as _;

use crate::{Malformed, generated};

/// A proxy that is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// `pool/random-per-boot`.
    pub node: String,
    /// `host:port`.
    pub address: String,
}

/// Writes a list, as a proxy keeps it on its disk.
pub fn peers_to_bytes(peers: &[Peer]) -> Vec<u8> {
    generated::Peers::from(peers.to_vec()).encode_to_vec()
}

/// Reads what [`peers_to_bytes`] wrote.
pub fn peers_from_bytes(bytes: &[u8]) -> Result<Vec<Peer>, Malformed> {
    Ok(generated::Peers::decode(bytes).map_err(|error| Malformed::new("peers", error))?.into())
}

impl From<Vec<Peer>> for generated::Peers {
    fn from(peers: Vec<Peer>) -> Self {
        let peer = |Peer { node, address }| generated::Peer { node_id: node, address };
        Self { peers: peers.into_iter().map(peer).collect() }
    }
}

impl From<generated::Peers> for Vec<Peer> {
    fn from(message: generated::Peers) -> Self {
        let peer = |generated::Peer { node_id, address }| Peer { node: node_id, address };
        message.peers.into_iter().map(peer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back_from_the_disk_as_it_was() {
        let peer = |at: u8| Peer { node: format!("default/{at}"), address: format!("10.0.0.{at}:5015") };
        for peers in [vec![], vec![peer(1)], vec![peer(1), peer(2)]] {
            assert_eq!(peers_from_bytes(&peers_to_bytes(&peers)), Ok(peers));
        }
        assert_eq!(peers_from_bytes(b"\xff").unwrap_err().field, "peers");
    }
}
