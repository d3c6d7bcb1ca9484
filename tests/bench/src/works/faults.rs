//! An upstream that is down: how fast that is said, and whether the others notice.

use crate::BenchError;
use crate::load::{self, Ask};
use crate::report::{Report, Work};
use crate::rig::{self, Plan, Rig, Table, series_of};
use crate::works::memory::lane;

/// One dead upstream beside a healthy one, asked 200 times a second each.
pub(crate) async fn cooling(rig: &Rig, plan: &Plan, report: &mut Report) -> Result<(), BenchError> {
    if rig.gate.is_none() {
        return Ok(());
    }
    let gate = rig::start_gate(&rig.upstream, Table { mounts: 1, dead: true, ..Table::default() })?;
    let dead = rig::single(&gate, "dead", "dead")?;
    let well = rig::single(&gate, "others alone", "s0")?;
    let beside = rig::single(&gate, "others beside", "s0")?;
    let lanes = [lane(well, &gate), lane(beside, &gate), lane(dead, &gate)];
    let mut work = Work { name: "cooling 200/s".into(), series: series_of(&lanes) };
    let [well, beside, dead] = &lanes;
    for _ in 0..plan.rounds {
        let alone = load::steady(&well.target, Ask::Echo, 200, plan.time, Some(&gate)).await?;
        let (others, down) = tokio::join!(
            load::steady(&beside.target, Ask::Echo, 200, plan.time, Some(&gate)),
            load::steady(&dead.target, Ask::Refused, 200, plan.time, Some(&gate)),
        );
        for (series, figures) in work.series.iter_mut().zip([alone, others?, down?]) {
            series.rounds.push(figures);
        }
    }
    let down = work.lane("dead").iter().map(|figures| figures.p99_us / 1000.0).collect();
    report.claim("p99 of the answer of an upstream that cools", "ms", down, 5.0, 1.0);
    let moved = work.ratio("others beside", "others alone", |figures| figures.p99_us);
    report.claim("p99 of the others beside it", "x alone", moved, 1.2, 1.05);
    let moved = work.ratio("others beside", "others alone", |figures| figures.p50_us);
    report.claim("p50 of the others beside it", "x alone", moved, None, None);
    report.works.push(work);
    Ok(())
}
