//! What is held: under large results, by idle sessions, by an idle process, and per call.

use crate::BenchError;
use crate::child::Child;
use crate::load::{self, Ask};
use crate::report::{Report, Work};
use crate::rig::{self, Lane, Plan, Rig, Table, series_of};
use crate::works::calls::GATES;

const MIB: f64 = 1024.0 * 1024.0;

/// Results of 1 MiB at concurrency 256: how much memory rises over what was held before. Fresh
/// processes each round, since an allocator keeps what it had once.
pub(crate) async fn mebibytes(rig: &Rig, plan: &Plan, report: &mut Report) -> Result<(), BenchError> {
    let mut work = Work { name: "call1m c256".into(), series: series_of(&rig.lanes()?) };
    let mut rises = vec![Vec::new(); work.series.len()];
    for _ in 0..plan.rounds {
        for (at, series) in work.series.iter_mut().enumerate() {
            let bare = series.lane == "bare";
            let child = if bare { rig::start_bare(&rig.upstream)? } else { start_plain(rig)? };
            let target = match series.lane {
                "bare" => rig::bare(&child)?,
                "gate" => rig::single(&child, "gate", "s0")?,
                _ => rig::aggregate(&child, "gate /mcp")?,
            };
            load::closed(&target, Ask::Echo, 8, plan.time / 4, Some(&child)).await?;
            let before = child.resident()?;
            let figures = load::closed(&target, Ask::Big(1 << 20), 256, plan.time, Some(&child)).await?;
            series.rounds.push(figures);
            if let Some(rises) = rises.get_mut(at) {
                rises.push(figures.peak_mib - before as f64 / MIB);
            }
        }
    }
    for (series, rises) in work.series.iter().zip(rises) {
        let milestone = GATES.contains(&series.lane).then_some(128.0);
        let goal = milestone.map(|_| 64.0);
        report.claim(format!("memory rise under 256 x 1 MiB, {}", series.lane), "MiB", rises, milestone, goal);
    }
    report.works.push(work);
    Ok(())
}

/// Heap allocations per call, counted by the allocator of a gate of its own.
pub(crate) async fn allocations(rig: &Rig, plan: &Plan, report: &mut Report) -> Result<(), BenchError> {
    if rig.gate.is_none() {
        return Ok(());
    }
    let gate = rig::start_gate(&rig.upstream, Table { mounts: 1, count: true, ..Table::default() })?;
    for target in [rig::single(&gate, "gate", "s0")?, rig::aggregate(&gate, "gate /mcp")?] {
        let (mut calls, mut copies) = (Vec::new(), Vec::new());
        for _ in 0..plan.rounds {
            calls.push(per_request(&gate, &target, Ask::Echo, 400).await?.0);
            // What is copied has to be put somewhere: bytes allocated over bytes passed on. Reading
            // from the socket counts as one.
            copies.push(per_request(&gate, &target, Ask::Big(1 << 20), 50).await?.1 / MIB);
        }
        let name = target.name;
        report.claim(format!("heap allocations per call, {name}"), "", calls, 40.0, 12.0);
        report.claim(format!("bytes allocated per byte of a 1 MiB result, {name}"), "x", copies, None, None);
    }
    Ok(())
}

/// Allocations and bytes for each of `count` requests of one session.
async fn per_request(
    gate: &Child,
    target: &crate::session::Target,
    ask: Ask,
    count: u64,
) -> Result<(f64, f64), BenchError> {
    let mut session = crate::session::Session::open(target).await?;
    load::times(&mut session, ask, 20).await?;
    let before = rig::heap(gate)?;
    load::times(&mut session, ask, count).await?;
    let after = rig::heap(gate)?;
    session.close().await?;
    let each = |figure: u64| figure as f64 / count as f64;
    Ok((each(after.allocations - before.allocations), each(after.bytes - before.bytes)))
}

/// Sessions that were opened, used once and left: their connections are closed, they are not.
pub(crate) async fn idle(rig: &Rig, plan: &Plan, report: &mut Report) -> Result<(), BenchError> {
    if rig.gate.is_none() {
        return Ok(());
    }
    let mut fresh = Vec::new();
    let mut figures = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
    // Each round is a process of its own; three of them say what there is to say.
    for _ in 0..plan.rounds.min(3) {
        for (lane, (resident, heap)) in GATES.into_iter().zip(&mut figures) {
            let gate = rig::start_gate(&rig.upstream, Table { mounts: 1, count: true, ..Table::default() })?;
            fresh.push(gate.resident()? as f64 / MIB);
            let target =
                if lane == "gate" { rig::single(&gate, "gate", "s0")? } else { rig::aggregate(&gate, "gate /mcp")? };
            // What is needed once for 256 connections must not be counted as sessions.
            load::leave(&target, 256).await?;
            let before = (gate.resident()?, rig::heap(&gate)?.live);
            load::leave(&target, plan.sessions).await?;
            let after = (gate.resident()?, rig::heap(&gate)?.live);
            let each = |after: u64, before: u64| (after as f64 - before as f64) / 1024.0 / plan.sessions as f64;
            resident.push(each(after.0, before.0));
            heap.push(each(after.1, before.1));
        }
    }
    for (lane, (resident, heap)) in GATES.into_iter().zip(figures) {
        report.claim(format!("idle session, resident, {lane}"), "KiB", resident, 4.0, 1.0);
        report.claim(format!("idle session, live heap, {lane}"), "KiB", heap, None, None);
    }
    report.claim("idle proxy, resident", "MiB", fresh, 30.0, 15.0);
    Ok(())
}

fn start_plain(rig: &Rig) -> Result<Child, BenchError> {
    rig::start_gate(&rig.upstream, Table { mounts: 1, ..Table::default() })
}

/// The lane of a gate.
pub(crate) fn lane<'a>(target: crate::session::Target, gate: &'a Child) -> Lane<'a> {
    Lane { target, tested: Some(gate) }
}
