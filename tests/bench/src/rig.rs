//! The arrangement: upstream, baseline and Gatehouse, and the ways that lead through them.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use serde_json::Value;

use crate::BenchError;
use crate::child::{Child, ChildError, LOADING, TESTED};
use crate::load::{self, Ask, Figures};
use crate::report::{Series, Work};
use crate::session::{Session, Target};

/// How long, how often and how big.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Rounds of every work.
    pub(crate) rounds: usize,
    /// What counts of one lane in one round.
    pub(crate) time: std::time::Duration,
    /// Idle sessions that are opened.
    pub(crate) sessions: usize,
    /// The largest number of mounts.
    pub(crate) mounts: usize,
}

/// The processes that serve most of the works.
pub(crate) struct Rig {
    /// The upstreams `s0`, `s1` and so on, one port each.
    pub(crate) upstream: Child,
    /// The baseline, in front of the first upstream.
    pub(crate) bare: Child,
    /// Gatehouse with one mount, unless it is left out.
    pub(crate) gate: Option<Child>,
}

/// How many upstreams are really listening.
pub(crate) const UPSTREAMS: usize = 100;

/// What a gate is started with.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Table {
    /// Mounted servers `s0`, `s1` and so on; those beyond [`UPSTREAMS`] are on a closed port.
    pub(crate) mounts: usize,
    /// Whether the server `dead` is mounted too, on a closed port.
    pub(crate) dead: bool,
    /// Whether allocations are counted.
    pub(crate) count: bool,
    /// Whether each server takes a credential, of a connection that everybody shares.
    pub(crate) bound: bool,
}

impl Rig {
    /// Starts everything.
    pub(crate) fn start(with_gate: bool) -> Result<Self, BenchError> {
        let upstream = Child::start("bench-upstream", LOADING, &["--ports".into(), UPSTREAMS.to_string()])?;
        let bare = start_bare(&upstream)?;
        let gate = if with_gate { Some(start_gate(&upstream, Table { mounts: 1, ..Table::default() })?) } else { None };
        Ok(Self { upstream, bare, gate })
    }

    /// Bare and both ways through Gatehouse.
    pub(crate) fn lanes(&self) -> Result<Vec<Lane<'_>>, BenchError> {
        let mut lanes = vec![Lane { target: bare(&self.bare)?, tested: Some(&self.bare) }];
        if let Some(gate) = &self.gate {
            lanes.push(Lane { target: single(gate, "gate", "s0")?, tested: Some(gate) });
            lanes.push(Lane { target: aggregate(gate, "gate /mcp")?, tested: Some(gate) });
        }
        Ok(lanes)
    }

    /// No hop at all.
    pub(crate) fn direct(&self) -> Result<Lane<'_>, BenchError> {
        let address = first(&self.upstream)?;
        let target = Target { name: "direct", address, path: "/mcp".into(), key: "none".into(), prefix: "" };
        Ok(Lane { target, tested: None })
    }

    /// Makes sure that what costs time in the gate really happens there: the injected header, the
    /// disabled tool, the key's list of servers.
    pub(crate) async fn prove_policy(&self) -> Result<(), BenchError> {
        let Some(gate) = &self.gate else { return Ok(()) };
        let before = self.asked("injected")?;
        for target in [single(gate, "gate", "s0")?, aggregate(gate, "gate /mcp")?] {
            let mut session = Session::open(&target).await?;
            load::times(&mut session, Ask::Echo, 1).await?;
            session.close().await?;
            Session::denied(&target, "hidden").await?;
        }
        Session::denied(&single(gate, "gate", "forbidden")?, "echo").await?;
        if self.asked("injected")? == before {
            return Err(ChildError::NoFigure("x-bench-injected").into());
        }
        Ok(())
    }

    /// What the upstream has been asked so far, e.g. `list`.
    pub(crate) fn asked(&self, what: &str) -> Result<u64, BenchError> {
        let counters = get_json(first(&self.upstream)?)?;
        Ok(counters.get(what).and_then(Value::as_u64).ok_or(ChildError::NoFigure("counter"))?)
    }
}

/// One way from the load generator to an answer.
pub(crate) struct Lane<'a> {
    /// Whom the load goes to.
    pub(crate) target: Target,
    /// Whose CPU and memory count.
    pub(crate) tested: Option<&'a Child>,
}

/// The baseline, in front of the first upstream.
pub(crate) fn start_bare(upstream: &Child) -> Result<Child, BenchError> {
    Ok(Child::start("bench-bare", TESTED, &bare_args(upstream)?)?)
}

/// The command line of the baseline.
pub(crate) fn bare_args(upstream: &Child) -> Result<Vec<String>, BenchError> {
    Ok(vec!["--upstream".into(), first(upstream)?.to_string()])
}

/// Gatehouse's data plane on a fixed table.
pub(crate) fn start_gate(upstream: &Child, table: Table) -> Result<Child, BenchError> {
    Ok(Child::start("bench-gate", TESTED, &gate_args(upstream, table))?)
}

/// The command line of a gate with that table.
pub(crate) fn gate_args(upstream: &Child, table: Table) -> Vec<String> {
    let mut args = vec!["--mounts".to_owned(), table.mounts.to_string()];
    for address in upstream.addresses().iter().take(table.mounts) {
        args.extend(["--upstream".to_owned(), address.to_string()]);
    }
    if table.dead {
        args.push("--dead".to_owned());
    }
    if table.count {
        args.push("--count".to_owned());
    }
    if table.bound {
        args.push("--bound".to_owned());
    }
    args
}

/// The way through the baseline.
pub(crate) fn bare(bare: &Child) -> Result<Target, BenchError> {
    let address = bare.address("address")?;
    Ok(Target { name: "bare", address, path: "/mcp".into(), key: "none".into(), prefix: "" })
}

/// The way to one server of a gate.
pub(crate) fn single(gate: &Child, name: &'static str, server: &str) -> Result<Target, BenchError> {
    let path = format!("/servers/{server}/mcp");
    Ok(Target { name, address: gate.address("mcp")?, path, key: gate.text("key")?.into(), prefix: "" })
}

/// The way to everything of a gate.
pub(crate) fn aggregate(gate: &Child, name: &'static str) -> Result<Target, BenchError> {
    let key = gate.text("key")?.into();
    Ok(Target { name, address: gate.address("mcp")?, path: "/mcp".into(), key, prefix: "s0__" })
}

fn first(upstream: &Child) -> Result<SocketAddr, ChildError> {
    upstream.addresses().first().copied().ok_or(ChildError::NoFigure("address"))
}

/// What a gate that was started with `count` has allocated so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heap {
    /// Allocations since the start.
    pub(crate) allocations: u64,
    /// Bytes of them.
    pub(crate) bytes: u64,
    /// Bytes not yet given back.
    pub(crate) live: u64,
}

/// Reads the counting allocator of a gate.
pub(crate) fn heap(gate: &Child) -> Result<Heap, BenchError> {
    let counters = get_json(gate.address("counters")?)?;
    let read = |name: &'static str| counters.get(name).and_then(Value::as_u64).ok_or(ChildError::NoFigure(name));
    Ok(Heap { allocations: read("allocations")?, bytes: read("bytes")?, live: read("live")? })
}

/// `GET /counters` of one of our own processes.
fn get_json(address: SocketAddr) -> Result<Value, BenchError> {
    #[allow(clippy::disallowed_methods, reason = "a counter port of the bench's own processes")]
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.write_all(b"GET /counters HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    Ok(serde_json::from_str(body)?)
}

/// The same closed loop through every lane, in turns, beginning with another lane each round.
pub(crate) async fn in_turns(
    plan: &Plan,
    name: &str,
    lanes: &[Lane<'_>],
    ask: Ask,
    concurrency: usize,
) -> Result<Work, BenchError> {
    let mut work = Work { name: name.to_owned(), series: series_of(lanes) };
    for round in 0..plan.rounds {
        for at in 0..lanes.len() {
            let at = (at + round) % lanes.len();
            if let (Some(lane), Some(series)) = (lanes.get(at), work.series.get_mut(at)) {
                series.rounds.push(load::closed(&lane.target, ask, concurrency, plan.time, lane.tested).await?);
            }
        }
    }
    Ok(work)
}

/// The same for an open loop.
pub(crate) async fn in_turns_steady(
    plan: &Plan,
    name: &str,
    lanes: &[Lane<'_>],
    ask: Ask,
    per_second: u32,
) -> Result<Work, BenchError> {
    let mut work = Work { name: name.to_owned(), series: series_of(lanes) };
    for round in 0..plan.rounds {
        for at in 0..lanes.len() {
            let at = (at + round) % lanes.len();
            if let (Some(lane), Some(series)) = (lanes.get(at), work.series.get_mut(at)) {
                series.rounds.push(load::steady(&lane.target, ask, per_second, plan.time, lane.tested).await?);
            }
        }
    }
    Ok(work)
}

/// Empty series for some lanes.
pub(crate) fn series_of(lanes: &[Lane<'_>]) -> Vec<Series> {
    lanes.iter().map(|lane| Series { lane: lane.target.name, rounds: Vec::<Figures>::new() }).collect()
}
