//! Answers by event stream, and how fast one event is passed on.

use std::time::Duration;

use crate::BenchError;
use crate::load::{Ask, Figures, percentile};
use crate::report::{Report, Work};
use crate::rig::{Plan, Rig, in_turns, series_of};
use crate::session::Session;
use crate::works::calls::{GATES, claim_cpu};

/// Calls that are answered by SSE, at concurrency 32.
pub(crate) async fn answers(rig: &Rig, plan: &Plan, report: &mut Report) -> Result<(), BenchError> {
    let work = in_turns(plan, "sse c32", &rig.lanes()?, Ask::Sse, 32).await?;
    claim_cpu(report, &work, "CPU per SSE-answered call", 2.0, 1.3);
    report.works.push(work);
    Ok(())
}

/// Microseconds between two events: 200 per second.
const GAP_US: u64 = 5_000;

/// One stream of 200 events per second: from the making of an event to its arrival.
pub(crate) async fn ticks(rig: &Rig, plan: &Plan, report: &mut Report) -> Result<(), BenchError> {
    let mut lanes = rig.lanes()?;
    lanes.push(rig.direct()?);
    let events = (plan.time.as_micros() as u64 / GAP_US).max(20);
    let mut work = Work { name: "ticks 200/s".into(), series: series_of(&lanes) };
    for round in 0..plan.rounds {
        for at in 0..lanes.len() {
            let at = (at + round) % lanes.len();
            let (Some(lane), Some(series)) = (lanes.get(at), work.series.get_mut(at)) else { continue };
            let mut session = Session::open(&lane.target).await?;
            let mut passed = session.ticks(events as u32, GAP_US).await?;
            session.close().await?;
            passed.sort_unstable();
            let micros = |nanos: u64| Duration::from_nanos(nanos).as_secs_f64() * 1e6;
            series.rounds.push(Figures {
                requests: passed.len() as u64,
                rate: 1e6 / GAP_US as f64,
                p50_us: micros(percentile(&passed, 50)),
                p99_us: micros(percentile(&passed, 99)),
                ..Figures::default()
            });
        }
    }
    for gate in GATES {
        let p50 = work.added(gate, "bare", |figures| figures.p50_us);
        let p99 = work.added(gate, "bare", |figures| figures.p99_us);
        if !p99.is_empty() {
            report.claim(format!("an event passed on, p50 added to bare, {gate}"), "us", p50, None, None);
            report.claim(format!("an event passed on, p99 added to bare, {gate}"), "us", p99, 1000.0, 100.0);
        }
    }
    report.works.push(work);
    Ok(())
}
