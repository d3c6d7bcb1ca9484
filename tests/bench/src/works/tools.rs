//! Two thousand tools over a hundred upstreams: listing them, and finding one of them.

use std::time::Instant;

use proxy::{Document, Index};

use crate::BenchError;
use crate::child::{Child, ChildError, LOADING, TESTED};
use crate::load::{self, Ask};
use crate::report::{Report, Work};
use crate::rig::{self, Lane, Plan, Rig, Table, UPSTREAMS, in_turns, series_of};

/// Sessions that list at once: a whole list is a megabyte.
const LISTING: usize = 8;

/// The whole list of 2,000 tools over 100 upstreams from ready bytes, beside an upstream's list of the same tools that is
/// passed on.
pub(crate) async fn list(rig: &Rig, plan: &Plan, report: &mut Report) -> Result<(), BenchError> {
    if rig.gate.is_none() {
        return Ok(());
    }
    let (upstream, gate) = start()?;
    let whole = vec!["--upstream".to_owned(), upstream.text("whole")?.to_owned()];
    let bare = Child::start("bench-bare", TESTED, &whole)?;
    let lanes = [
        Lane { target: rig::bare(&bare)?, tested: Some(&bare) },
        Lane { target: rig::aggregate(&gate, "gate /mcp")?, tested: Some(&gate) },
    ];
    let work =
        in_turns(plan, "tools, 2,000 over 100 upstreams, c8", &lanes, Ask::Pages(tests::tools::TOOLS), LISTING).await?;
    let ratios = work.ratio("gate /mcp", "bare", |figures| figures.cpu_us);
    report.claim("CPU per list of 2,000 tools, gate /mcp", "x bare", ratios, 0.5, 0.5);
    report.works.push(work);
    Ok(())
}

/// One search over 2,000 tools: of the index by itself, and asked for as a tool at 200 per second.
pub(crate) async fn search(rig: &Rig, plan: &Plan, report: &mut Report) -> Result<(), BenchError> {
    by_itself(plan, report)?;
    if rig.gate.is_none() {
        return Ok(());
    }
    let (_upstream, gate) = start()?;
    let lanes = [Lane { target: rig::aggregate(&gate, "gate /mcp")?, tested: Some(&gate) }];
    let mut work = Work { name: "search of 2,000 tools, 200/s".into(), series: series_of(&lanes) };
    for (lane, series) in lanes.iter().zip(&mut work.series) {
        for _ in 0..plan.rounds {
            series.rounds.push(load::steady(&lane.target, Ask::Search, 200, plan.time, lane.tested).await?);
        }
    }
    let p99 = work.lane("gate /mcp").iter().map(|figures| figures.p99_us / 1000.0).collect();
    report.claim("gatehouse__search_tools over 2,000 tools, p99", "ms", p99, 5.0, 5.0);
    report.works.push(work);
    Ok(())
}

fn by_itself(plan: &Plan, report: &mut Report) -> Result<(), BenchError> {
    let mut all = Vec::with_capacity(tests::tools::TOOLS);
    for offer in tests::tools::two_thousand() {
        let tools: Vec<&str> = offer.tools.iter().map(|tool| tool.get()).collect();
        let result = bytes::Bytes::from(format!(r#"{{"tools":[{}]}}"#, tools.join(",")));
        let list = mcp::List::parse(mcp::ListKind::Tools, &result, tests::tools::TOOLS);
        let items = list.map_err(|_| ChildError::NoFigure("tools of the fixtures"))?.items;
        all.extend(
            items.into_iter().map(|tool| (mcp::names::exposed(&offer.server, &tool.key), offer.server.clone(), tool)),
        );
    }
    let documents = || all.iter().map(|(name, server, tool)| Document { server, name, tool });
    let questions = tests::tools::questions();
    let (mut building, mut held, mut middle, mut late) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        let begin = Instant::now();
        let index = Index::new(documents());
        building.push(begin.elapsed().as_secs_f64() * 1e3);
        held.push(index.bytes() as f64 / 1024.0);
        let mut times = Vec::new();
        let begin = Instant::now();
        while begin.elapsed() < plan.time {
            for asked in &questions {
                let begin = Instant::now();
                if index.search(&asked.question, 10).is_empty() {
                    return Err(ChildError::NoFigure("tool for a question").into());
                }
                times.push(begin.elapsed());
            }
        }
        times.sort_unstable();
        middle.push(load::percentile(&times, 50).as_secs_f64() * 1e3);
        late.push(load::percentile(&times, 99).as_secs_f64() * 1e3);
    }
    report.claim("making the index of 2,000 tools", "ms", building, None, None);
    report.claim("what it holds", "KiB", held, None, None);
    report.claim("one search of it, p50", "ms", middle, None, None);
    report.claim("one search of it, p99", "ms", late, 5.0, 5.0);
    Ok(())
}

/// Upstreams that offer the 2,000 tools, and a gate before them.
fn start() -> Result<(Child, Child), BenchError> {
    let offers = tests::tools::two_thousand();
    let lists: Vec<_> = offers.iter().map(|offer| &offer.tools).collect();
    let file = tempfile::NamedTempFile::new()?;
    serde_json::to_writer(&file, &lists)?;
    let path = file.path().display().to_string();
    let upstream = Child::start("bench-upstream", LOADING, &["--offers".to_owned(), path])?;
    let gate = rig::start_gate(&upstream, Table { mounts: UPSTREAMS, ..Table::default() })?;
    Ok((upstream, gate))
}
