//! What control knows of one attached proxy, and what to push to it next. Pure: no clock, no network.
//!
//! Level-triggered: a push is always computed from the difference between what is intended now and
//! what this proxy has acknowledged, so any number of changes in between becomes one push, and a
//! lost hint costs nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use model::{Digest, ResourceKind, ResourceName, Revision};
use wire::{Answer, Heartbeat, Hello, PushHead, Refusal};

use super::intended::{Stamp, View, digest_of_table};

/// Mismatches in a row after which the table is pushed anew: one may be a heartbeat that was under way.
const MISMATCHES: u8 = 2;
/// Refused pushes in a row after which the stream is given up.
const REFUSALS: u8 = 3;

/// One attached proxy.
pub(crate) struct Session {
    /// What the proxy's table holds, as far as it has acknowledged.
    held: HashMap<ResourceName, Digest>,
    /// What it refused, in which version: not pushed again until it changes.
    rejected: HashMap<ResourceName, (Digest, String)>,
    /// What the proxy is at.
    at: Revision,
    /// The state that it was last brought to; `None` makes the next comparison a full one.
    settled: Option<Settled>,
    in_flight: Option<InFlight>,
    snapshot_wanted: bool,
    /// What the proxy said it holds crossed a push: compare everything once its answer is here.
    recompare: bool,
    nonce: u64,
    mismatches: u8,
    refusals: u8,
    digest_matches: bool,
    strays: u64,
}

/// What is kept of a state that a proxy was brought to.
#[derive(Clone, Copy)]
struct Settled {
    revision: Revision,
    stamp: Stamp,
    digest: Digest,
    len: usize,
}

struct InFlight {
    nonce: u64,
    intended: Arc<View>,
    upserts: Vec<(ResourceName, Digest)>,
    removes: Vec<ResourceName>,
    snapshot: bool,
}

/// A push to be sent.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) head: PushHead,
    pub(crate) upserts: Vec<ResourceName>,
    pub(crate) removes: Vec<ResourceName>,
}

/// A proxy that refuses everything it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the proxy refused {REFUSALS} pushes in a row")]
pub(crate) struct Stubborn;

impl Session {
    /// A session with a proxy that has just said what it holds.
    pub(crate) fn new(hello: &Hello) -> Self {
        Self {
            snapshot_wanted: hello.held.is_empty(),
            held: hello.held.iter().copied().collect(),
            rejected: HashMap::new(),
            at: hello.revision,
            settled: None,
            in_flight: None,
            recompare: false,
            nonce: 0,
            mismatches: 0,
            refusals: 0,
            digest_matches: true,
            strays: 0,
        }
    }

    /// What to push now; `None` while an answer is awaited, or if nothing differs.
    pub(crate) fn next_push(&mut self, intended: &Arc<View>) -> Option<Plan> {
        // A replica that lags behind what the proxy has says nothing: proxies never go back.
        if self.in_flight.is_some() || intended.revision < self.at {
            return None;
        }
        if intended.revision.epoch != self.at.epoch {
            self.snapshot_wanted = true;
        }
        let snapshot = self.snapshot_wanted;
        if !snapshot && self.settled.is_some_and(|settled| settled.stamp == intended.stamp()) {
            return None;
        }
        let (upserts, removes) =
            if snapshot { (intended.names().copied().collect(), vec![]) } else { self.difference(intended) };
        if !snapshot && upserts.is_empty() && removes.is_empty() && self.at == intended.revision {
            self.settle(intended);
            return None;
        }
        let urgent = self.takes_something(intended, &upserts, &removes, snapshot);
        self.nonce += 1;
        let head = PushHead { nonce: self.nonce, revision: intended.revision, snapshot, urgent };
        self.in_flight = Some(InFlight {
            nonce: self.nonce,
            intended: intended.clone(),
            upserts: upserts.iter().filter_map(|name| Some((*name, intended.digest_of(name)?))).collect(),
            removes: removes.clone(),
            snapshot,
        });
        Some(Plan { head, upserts, removes })
    }

    /// Takes the answer to the push under way; answers to anything else change nothing.
    pub(crate) fn answered(&mut self, answer: Answer) -> Result<(), Stubborn> {
        let Some(pushed) = self.in_flight.take_if(|pushed| pushed.nonce == answer.nonce) else {
            self.strays += 1;
            return Ok(());
        };
        self.at = answer.revision;
        if let Some(refusal) = answer.refusal {
            self.settled = None;
            self.refusals += 1;
            self.snapshot_wanted = refusal == Refusal::SnapshotNeeded || pushed.snapshot;
            return if self.refusals >= REFUSALS { Err(Stubborn) } else { Ok(()) };
        }
        self.refusals = 0;
        let reasons: HashMap<_, _> =
            answer.rejected.into_iter().map(|rejected| (rejected.name, rejected.reason)).collect();
        if pushed.snapshot {
            self.snapshot_wanted = false;
            self.held = answer.held.into_iter().collect();
        }
        for (name, digest) in pushed.upserts {
            let reason = if reasons.is_empty() { None } else { reasons.get(&name.to_string()) };
            match reason {
                Some(reason) => _ = self.rejected.insert(name, (digest, reason.clone())),
                None => {
                    self.rejected.remove(&name);
                    self.held.insert(name, digest);
                }
            }
        }
        for name in pushed.removes {
            self.held.remove(&name);
        }
        self.settle(&pushed.intended);
        if std::mem::take(&mut self.recompare) {
            self.settled = None;
        }
        Ok(())
    }

    /// Compares the proxy's digest with ours; two mismatches in a row lead to a snapshot.
    pub(crate) fn heartbeat(&mut self, heartbeat: &Heartbeat) {
        if self.in_flight.is_some() || self.settled.is_none() {
            return;
        }
        self.digest_matches = heartbeat.digest == self.digest();
        self.mismatches = if self.digest_matches { 0 } else { self.mismatches + 1 };
        if self.mismatches >= MISMATCHES {
            self.mismatches = 0;
            self.rejected.clear();
            self.settled = None;
            self.snapshot_wanted = true;
        }
    }

    /// The proxy has said anew what it holds: compare everything, and try again what it refused.
    pub(crate) fn resynced(&mut self, held: Vec<(ResourceName, Digest)>) {
        self.held = held.into_iter().collect();
        self.rejected.clear();
        self.settled = None;
        self.mismatches = 0;
        self.recompare = self.in_flight.is_some();
    }

    /// The digest of what we believe the proxy to hold.
    pub(crate) fn digest(&self) -> Digest {
        match self.settled {
            Some(settled) if self.rejected.is_empty() && self.held.len() == settled.len => settled.digest,
            _ => digest_of_table(self.held.iter().map(|(name, digest)| (*name, *digest))),
        }
    }

    /// What the proxy is at.
    pub(crate) fn at(&self) -> Revision {
        self.at
    }

    /// The intended revision that the proxy was brought to.
    pub(crate) fn settled(&self) -> Option<Revision> {
        self.settled.map(|settled| settled.revision)
    }

    /// Whether the next push is a snapshot.
    pub(crate) fn wants_snapshot(&self, intended: &View) -> bool {
        let epoch = intended.revision.epoch != self.at.epoch;
        self.in_flight.is_none() && intended.revision >= self.at && (self.snapshot_wanted || epoch)
    }

    /// Answers that were none to the push under way: old nonces, unknown ones.
    pub(crate) fn strays(&self) -> u64 {
        self.strays
    }

    /// Whether an answer is awaited.
    pub(crate) fn awaits_answer(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Whether the last heartbeat's digest was ours.
    pub(crate) fn digest_matches(&self) -> bool {
        self.digest_matches
    }

    /// What the proxy refused, and why.
    pub(crate) fn rejected(&self) -> Vec<(ResourceName, String)> {
        self.rejected.iter().map(|(name, (_, reason))| (*name, reason.clone())).collect()
    }

    /// How many servers the proxy's table holds.
    pub(crate) fn mounts(&self) -> u32 {
        let servers = self.held.keys().filter(|name| name.kind() == ResourceKind::Server).count();
        u32::try_from(servers).unwrap_or(u32::MAX)
    }

    fn settle(&mut self, intended: &View) {
        self.rejected.retain(|name, _| intended.digest_of(name).is_some());
        let (revision, stamp) = (intended.revision, intended.stamp());
        self.settled = Some(Settled { revision, stamp, digest: intended.digest(), len: intended.len() });
    }

    fn difference(&self, intended: &View) -> (Vec<ResourceName>, Vec<ResourceName>) {
        let touched = self.settled.and_then(|settled| intended.touched_since(settled.stamp));
        let candidates: HashSet<ResourceName> =
            touched.unwrap_or_else(|| intended.names().chain(self.held.keys()).copied().collect());
        let (mut upserts, mut removes) = (Vec::new(), Vec::new());
        for name in candidates {
            match intended.digest_of(&name) {
                Some(digest) => {
                    let refused = self.rejected.get(&name).is_some_and(|(refused, _)| *refused == digest);
                    if self.held.get(&name) != Some(&digest) && !refused {
                        upserts.push(name);
                    }
                }
                None if self.held.contains_key(&name) => removes.push(name),
                None => (),
            }
        }
        (upserts, removes)
    }

    /// Whether the push takes from somebody what the proxy lets them do now.
    fn takes_something(
        &self,
        intended: &View,
        upserts: &[ResourceName],
        removes: &[ResourceName],
        snapshot: bool,
    ) -> bool {
        use ResourceKind::{Connection, Egress, Issuer, Key, Revoked, Server, Signer, Tenant, Toolset, User};
        let lets_in = |name: &ResourceName| matches!(name.kind(), Key | Tenant | User | Issuer | Signer);
        let narrows = |name: &ResourceName| match name.kind() {
            Key | User | Issuer => self.held.get(name).is_some_and(|held| intended.digest_of(name) != Some(*held)),
            Revoked => !self.held.contains_key(name),
            Tenant | Server | Egress | Signer | Connection | Toolset => false,
        };
        let vanishes = |name: &ResourceName| lets_in(name) && intended.digest_of(name).is_none();
        removes.iter().any(lets_in) || upserts.iter().any(narrows) || (snapshot && self.held.keys().any(vanishes))
    }
}

#[cfg(test)]
mod tests;
