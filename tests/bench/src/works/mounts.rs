//! Whether a call costs more when more is mounted, and what a mount holds.

use crate::BenchError;
use crate::load::Ask;
use crate::report::{Report, Work};
use crate::rig::{self, Plan, Rig, Table, UPSTREAMS, in_turns, series_of};
use crate::works::memory::lane;

/// 1, 100 and 10,000 mounts; calls to one of them, and calls spread over 100 real upstreams.
pub(crate) async fn mounts(rig: &Rig, plan: &Plan, report: &mut Report) -> Result<(), BenchError> {
    if rig.gate.is_none() {
        return Ok(());
    }
    let start = |mounts| rig::start_gate(&rig.upstream, Table { mounts, count: true, ..Table::default() });
    let (one, hundred, many) = (start(1)?, start(UPSTREAMS)?, start(plan.mounts)?);
    let each = |after: u64, before: u64| (after as f64 - before as f64) / 1024.0 / (plan.mounts - 1) as f64;
    let resident = each(many.resident()?, one.resident()?);
    let heap = each(rig::heap(&many)?.live, rig::heap(&one)?.live);
    report.claim(format!("mounted server of {}, resident", plan.mounts), "KiB", vec![resident], 8.0, 2.0);
    report.claim(format!("mounted server of {}, live heap", plan.mounts), "KiB", vec![heap], None, None);

    let lanes = [
        lane(rig::single(&one, "1 mount", "s0")?, &one),
        lane(rig::single(&hundred, "100 mounts", "s0")?, &hundred),
        lane(rig::single(&many, "many mounts", "s0")?, &many),
    ];
    let work = in_turns(plan, "mounts, single-server URL, c32", &lanes, Ask::Echo, 32).await?;
    let ratio = work.ratio("many mounts", "1 mount", |figures| figures.cpu_us);
    report.claim(format!("CPU per call with {} mounts", plan.mounts), "x one", ratio, 1.1, 1.02);
    report.works.push(work);

    let lanes =
        [lane(rig::aggregate(&one, "1 upstream")?, &one), lane(rig::aggregate(&hundred, "100 upstreams")?, &hundred)];
    let mut work = Work { name: "mounts, aggregate, spread, c32".into(), series: series_of(&lanes) };
    for _ in 0..plan.rounds {
        for ((lane, servers), series) in lanes.iter().zip([1, UPSTREAMS]).zip(&mut work.series) {
            let ask = Ask::EchoOver(servers);
            series.rounds.push(crate::load::closed(&lane.target, ask, 32, plan.time, lane.tested).await?);
        }
    }
    let ratio = work.ratio("100 upstreams", "1 upstream", |figures| figures.cpu_us);
    report.claim("CPU per call spread over 100 upstreams", "x one", ratio, 1.1, 1.03);
    report.works.push(work);
    Ok(())
}
