//! The works, by name, in the order in which they run.

pub(crate) mod calls;
pub(crate) mod eras;
pub(crate) mod faults;
pub(crate) mod identity;
pub(crate) mod instructions;
pub(crate) mod link;
pub(crate) mod memory;
pub(crate) mod mounts;
pub(crate) mod streams;
pub(crate) mod tools;

use crate::BenchError;
use crate::report::Report;
use crate::rig::{Plan, Rig};

/// The names that `--only` takes.
pub(crate) const NAMES: [&str; 23] = [
    "call100",
    "steady",
    "bound",
    "call64k",
    "call1m",
    "sse",
    "ticks",
    "list",
    "tools",
    "search",
    "open",
    "allocations",
    "idle",
    "mounts",
    "cooling",
    "instructions",
    "eras",
    "identity",
    "adds",
    "effective",
    "recover",
    "ready",
    "reconnect",
];

/// Runs one work and adds what it gave to the report.
pub(crate) async fn run(name: &str, rig: &Rig, plan: &Plan, report: &mut Report) -> Result<(), BenchError> {
    match name {
        "call100" => calls::hundred_bytes(rig, plan, report).await,
        "steady" => calls::steady(rig, plan, report).await,
        "bound" => calls::bound(rig, plan, report).await,
        "call64k" => calls::kibibytes(rig, plan, report).await,
        "call1m" => memory::mebibytes(rig, plan, report).await,
        "sse" => streams::answers(rig, plan, report).await,
        "ticks" => streams::ticks(rig, plan, report).await,
        "list" => calls::list(rig, plan, report).await,
        "tools" => tools::list(rig, plan, report).await,
        "search" => tools::search(rig, plan, report).await,
        "open" => calls::open(rig, plan, report).await,
        "allocations" => memory::allocations(rig, plan, report).await,
        "idle" => memory::idle(rig, plan, report).await,
        "mounts" => mounts::mounts(rig, plan, report).await,
        "cooling" => faults::cooling(rig, plan, report).await,
        "instructions" => instructions::instructions(rig, report).await,
        "eras" => eras::eras(rig, report).await,
        "identity" => identity::identity(plan, report),
        "adds" => link::adds(rig, plan, report).await,
        "effective" => link::effective(plan, report).await,
        "recover" => link::recover(plan, report).await,
        "ready" => link::ready(plan, report).await,
        "reconnect" => link::reconnect(plan, report).await,
        _ => Ok(()),
    }
}
