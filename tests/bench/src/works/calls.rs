//! Calls, lists and session openings in closed and open loops, against the bare proxy.

use crate::BenchError;
use crate::load::{Ask, Figures};
use crate::report::{Report, Work};
use crate::rig::{self, Lane, Plan, Rig, Table, in_turns, in_turns_steady};

/// The lanes that have to meet a milestone against bare.
pub(crate) const GATES: [&str; 2] = ["gate", "gate /mcp"];

/// tools/call of 100 bytes at concurrency 1, 32 and 256.
pub(crate) async fn hundred_bytes(rig: &Rig, plan: &Plan, report: &mut Report) -> Result<(), BenchError> {
    let mut lanes = rig.lanes()?;
    for concurrency in [32, 256] {
        let name = format!("call100 c{concurrency}");
        let work = in_turns(plan, &name, &lanes, Ask::Echo, concurrency).await?;
        claim_cpu(report, &work, &format!("CPU per call of 100 B at {concurrency}"), 2.0, 1.3);
        report.works.push(work);
    }
    lanes.push(rig.direct()?);
    let work = in_turns(plan, "call100 c1", &lanes, Ask::Echo, 1).await?;
    let p50 = |figures: &Figures| figures.p50_us;
    let bare = work.added("bare", "direct", p50);
    for gate in GATES {
        let added = work.added(gate, "direct", p50);
        let ratios = added.iter().zip(&bare).map(|(gate, bare)| gate / bare).collect::<Vec<_>>();
        if !ratios.is_empty() {
            report.claim(format!("added p50 at 1 over direct, {gate}"), "x bare's", ratios, 1.5, 1.1);
        }
    }
    report.works.push(work);
    Ok(())
}

/// tools/call of 100 bytes at 200 per second: the p99, as the difference to bare.
pub(crate) async fn steady(rig: &Rig, plan: &Plan, report: &mut Report) -> Result<(), BenchError> {
    let mut lanes = rig.lanes()?;
    lanes.push(rig.direct()?);
    let work = in_turns_steady(plan, "steady 200/s", &lanes, Ask::Echo, 200).await?;
    for gate in GATES {
        let p99 = work.added(gate, "bare", |figures| figures.p99_us);
        let p50 = work.added(gate, "bare", |figures| figures.p50_us);
        if !p99.is_empty() {
            report.claim(format!("p50 at 200/s added to bare, {gate}"), "us", p50, None, None);
            report.claim(format!("p99 at 200/s added to bare, {gate}"), "us", p99, None, None);
        }
    }
    report.works.push(work);
    Ok(())
}

/// tools/call of 100 bytes at concurrency 32 to a server that takes a credential, beside one that takes none.
pub(crate) async fn bound(rig: &Rig, plan: &Plan, report: &mut Report) -> Result<(), BenchError> {
    let Some(plain) = &rig.gate else { return Ok(()) };
    let bound = rig::start_gate(&rig.upstream, Table { mounts: 1, bound: true, ..Table::default() })?;
    let lanes = [("gate", plain), ("gate bound", &bound)]
        .map(|(name, gate)| Ok(Lane { target: rig::single(gate, name, "s0")?, tested: Some(gate) }));
    let lanes = lanes.into_iter().collect::<Result<Vec<_>, BenchError>>()?;
    let work = in_turns(plan, "call100 bound c32", &lanes, Ask::Echo, 32).await?;
    let ratios = work.ratio("gate bound", "gate", |figures| figures.cpu_us);
    if !ratios.is_empty() {
        report.claim("CPU per call with a connection", "x with none", ratios, 1.2, 1.1);
    }
    report.works.push(work);
    Ok(())
}

/// Results of 64 KiB at concurrency 8.
pub(crate) async fn kibibytes(rig: &Rig, plan: &Plan, report: &mut Report) -> Result<(), BenchError> {
    let work = in_turns(plan, "call64k c8", &rig.lanes()?, Ask::Big(64 << 10), 8).await?;
    claim_cpu(report, &work, "CPU per call with a 64 KiB result", 1.5, 1.2);
    report.works.push(work);
    Ok(())
}

/// tools/list of 20 tools at concurrency 32; the upstream's own counter says how often it was asked.
pub(crate) async fn list(rig: &Rig, plan: &Plan, report: &mut Report) -> Result<(), BenchError> {
    let lanes = rig.lanes()?;
    let (bare, gates) = lanes.split_at(1);
    let work = in_turns(plan, "list c32", &lanes, Ask::List, 32).await?;
    claim_cpu(report, &work, "CPU per tools/list of 20 tools", 1.0, 0.5);
    report.works.push(work);
    // Once more by itself, since the lanes above share one upstream and one counter.
    let quick = Plan { rounds: 1, ..*plan };
    for lanes in [bare, gates].into_iter().filter(|lanes| !lanes.is_empty()) {
        let before = rig.asked("list")?;
        let work = in_turns(&quick, "list counted", lanes, Ask::List, 32).await?;
        let lists: u64 = work.series.iter().flat_map(|series| &series.rounds).map(|figures| figures.requests).sum();
        let asked = rig.asked("list")? - before;
        let names: Vec<&str> = work.series.iter().map(|series| series.lane).collect();
        if names != ["bare"] {
            report.claim("upstream lists asked for by the gate's 64 sessions", "lists", vec![asked as f64], 1.0, 0.0);
        }
        report.notes.push(format!("list: {lists} lists through {names:?}, the upstream was asked {asked} times"));
    }
    Ok(())
}

/// initialize and initialized at concurrency 32.
pub(crate) async fn open(rig: &Rig, plan: &Plan, report: &mut Report) -> Result<(), BenchError> {
    let work = in_turns(plan, "open c32", &rig.lanes()?, Ask::Open, 32).await?;
    claim_cpu(report, &work, "CPU per session opening", 3.0, 2.0);
    report.works.push(work);
    Ok(())
}

/// CPU per request against bare, for every way through the gate.
pub(crate) fn claim_cpu(report: &mut Report, work: &Work, what: &str, milestone: f64, goal: f64) {
    for gate in GATES {
        let ratios = work.ratio(gate, "bare", |figures| figures.cpu_us);
        if !ratios.is_empty() {
            report.claim(format!("{what}, {gate}"), "x bare", ratios, milestone, goal);
        }
    }
}
