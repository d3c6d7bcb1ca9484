//! The other proxies of the pool: who they are, which of them keeps what a session's id can't hold, and the way there.
//!
//! Control tells who is there; the last list is kept on disk, so that a start without control knows it too. Who can't be
//! reached counts as gone for a moment, and what it keeps is then begun anew elsewhere: all who see the same proxies agree
//! where.

mod certificates;
mod forward;
mod passed;
pub(crate) mod route;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use egress::Limits;
use egress::operator::Peer as Way;
use rustls::ClientConfig;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

pub(crate) use self::certificates::{Certificates, Files};
pub(crate) use self::forward::{NODE, NOT_SERVED, Sending, TO, Unanswered};
pub(crate) use self::passed::Passed;
use crate::session::{NodeTag, Uid};
use crate::timers::scaled;

/// Most other proxies that are known: what control tells of one pool.
pub(crate) const MOST: usize = 4_096;
/// A proxy that could not be reached is not tried for so long.
const GONE: Duration = Duration::from_secs(5);
/// For a connection to a proxy that is near: name, dial and handshake together.
const CONNECT: Duration = Duration::from_secs(2);
/// The longest that the head of an answer may take: what a call may take at most, and a moment for the way.
const ANSWER: Duration = Duration::from_secs(3_630);
/// Connections to one proxy that are kept though nobody uses them.
const IDLE: usize = 64;

/// The other proxies of the pool, as far as they are known.
pub(crate) struct Peers {
    node: String,
    tag: NodeTag,
    /// Where the others reach this one; `None` where they can't: then everything is served here.
    address: Option<String>,
    known: ArcSwap<Known>,
    /// Held while the list is replaced.
    taking: Mutex<()>,
    tls: watch::Receiver<Arc<ClientConfig>>,
}

type Known = HashMap<NodeTag, Arc<Peer>>;

/// Another proxy.
pub(crate) struct Peer {
    pub(crate) tag: NodeTag,
    node: String,
    address: String,
    way: Way,
    /// Until when it counts as gone.
    gone: Mutex<Option<Instant>>,
}

/// Where something is kept.
#[derive(Clone)]
pub(crate) enum Place {
    Here,
    At(Arc<Peer>),
}

impl Peers {
    /// The peers of this node, which is reached at `address`. They are spoken with as `tls` says at the time.
    pub(crate) fn new(node: &str, address: Option<String>, tls: watch::Receiver<Arc<ClientConfig>>) -> Self {
        let (known, taking) = (ArcSwap::default(), Mutex::default());
        Self { node: node.to_owned(), tag: NodeTag::of(node), address, known, taking, tls }
    }

    /// What this node is called.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// Where the others reach this one.
    pub(crate) fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// Those who are there from now on. An earlier process at our own address is none of them: we came after it.
    pub(crate) fn told(&self, list: Vec<wire::Peer>) {
        let _turn = self.turn();
        let ours = |peer: &wire::Peer| peer.node == self.node || Some(&peer.address) == self.address.as_ref();
        let others = list.into_iter().filter(|peer| !ours(peer));
        self.replace(others.take(MOST));
    }

    /// At this peer's address there is another process by now.
    fn succeeded(&self, before: &Peer, node: &str) {
        let _turn = self.turn();
        let known = self.known.load();
        // Told otherwise meanwhile.
        if node == self.node || !known.contains_key(&before.tag) || known.contains_key(&NodeTag::of(node)) {
            return before.lost();
        }
        tracing::info!(before = before.node, now = node, "a proxy of the pool was started again");
        let others = known.values().filter(|peer| peer.tag != before.tag);
        let others = others.map(|peer| wire::Peer { node: peer.node.clone(), address: peer.address.clone() });
        let now = wire::Peer { node: node.to_owned(), address: before.address.clone() };
        self.replace(others.chain([now]).collect::<Vec<_>>().into_iter());
    }

    /// The same list, spoken with as the certificates say now.
    pub(crate) fn certificates_changed(&self) {
        let _turn = self.turn();
        let known = self.known.load();
        let list: Vec<_> =
            known.values().map(|peer| wire::Peer { node: peer.node.clone(), address: peer.address.clone() }).collect();
        self.known.store(Arc::default());
        self.replace(list.into_iter());
    }

    /// Keeps the connections to those who stay.
    fn replace(&self, list: impl Iterator<Item = wire::Peer>) {
        let (before, tls) = (self.known.load(), self.tls.borrow().clone());
        let known = list.filter_map(|wire::Peer { node, address }| {
            let tag = NodeTag::of(&node);
            if let Some(peer) = before.get(&tag).filter(|peer| peer.address == address) {
                return Some((tag, peer.clone()));
            }
            let limits = Limits { connect: CONNECT, first_byte: ANSWER, idle_connections: IDLE };
            match Way::new(&address, tls.clone(), limits) {
                Ok(way) => Some((tag, Arc::new(Peer { tag, node, address, way, gone: Mutex::default() }))),
                Err(error) => {
                    tracing::warn!(node, address, %error, "a proxy of the pool can't be reached: its address is none");
                    None
                }
            }
        });
        self.known.store(Arc::new(known.collect()));
    }

    /// Where what belongs to the session is kept: at the node that its id names, if that is there; else at the one of
    /// those who are there that all of them pick.
    pub(crate) fn owner(&self, named: NodeTag, uid: Uid) -> Place {
        if named == self.tag {
            return Place::Here;
        }
        let known = self.known.load();
        if let Some(peer) = known.get(&named).filter(|peer| peer.is_there()) {
            return Place::At(peer.clone());
        }
        let there = known.values().filter(|peer| peer.is_there()).max_by_key(|peer| weight(uid, peer.tag));
        match there {
            Some(peer) if weight(uid, peer.tag) > weight(uid, self.tag) => Place::At(peer.clone()),
            _ => Place::Here,
        }
    }

    /// The node of this tag, if it is another one and there.
    pub(crate) fn named(&self, tag: NodeTag) -> Option<Arc<Peer>> {
        self.known.load().get(&tag).filter(|peer| peer.is_there()).cloned()
    }

    /// All others that are there.
    pub(crate) fn all(&self) -> Vec<Arc<Peer>> {
        self.known.load().values().filter(|peer| peer.is_there()).cloned().collect()
    }

    /// How many are known.
    pub(crate) fn len(&self) -> usize {
        self.known.load().len()
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.taking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer {
    fn is_there(&self) -> bool {
        self.gone().is_none_or(|until| until <= Instant::now())
    }

    /// It could not be reached, or is about to stop.
    pub(crate) fn lost(&self) {
        *self.gone() = Some(Instant::now() + scaled(GONE));
    }

    fn gone(&self) -> MutexGuard<'_, Option<Instant>> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rendezvous hashing: each session has its own order of the nodes, and a node that goes changes nothing for the others.
fn weight(uid: Uid, node: NodeTag) -> [u8; 32] {
    Sha256::new().chain_update(uid.0).chain_update(node.0).finalize().into()
}
