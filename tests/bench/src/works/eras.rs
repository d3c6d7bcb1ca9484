//! What a call of the stateless era costs beside one of the session era, in instructions.

use crate::BenchError;
use crate::child::{Child, LOADING};
use crate::load::Ask;
use crate::report::Report;
use crate::rig::{self, Rig, Table, UPSTREAMS};
use crate::works::instructions::{can_count, count};

/// Calls of either era to an upstream that speaks both, stateless ones to an upstream that has sessions only, and
/// stateless ones over the aggregate with 100 upstreams beside one.
pub(crate) async fn eras(rig: &Rig, report: &mut Report) -> Result<(), BenchError> {
    if rig.gate.is_none() || !can_count(report) {
        return Ok(());
    }
    let arguments = ["--ports".to_owned(), UPSTREAMS.to_string(), "--stateless".to_owned()];
    let both = Child::start("bench-upstream", LOADING, &arguments)?;
    let table = |upstream, mounts| rig::gate_args(upstream, Table { mounts, ..Table::default() });
    let single = |gate: &Child| rig::single(gate, "gate", "s0");
    let aggregate = |gate: &Child| rig::aggregate(gate, "gate /mcp");
    let sessions = count("bench-gate", table(&both, 1), Ask::Echo, single).await?;
    let stateless = count("bench-gate", table(&both, 1), Ask::Stateless, single).await?;
    let bridged = count("bench-gate", table(&rig.upstream, 1), Ask::Stateless, single).await?;
    let one = count("bench-gate", table(&both, 1), Ask::StatelessOver(1), aggregate).await?;
    let hundred = count("bench-gate", table(&both, UPSTREAMS), Ask::StatelessOver(UPSTREAMS), aggregate).await?;
    for (what, figure) in [("session era", sessions), ("stateless era", stateless), ("bridged to sessions", bridged)] {
        report.claim(format!("instructions per call, {what}"), "thousand", vec![figure / 1000.0], None, None);
    }
    let era = "x session era";
    report.claim("instructions per stateless call", era, vec![stateless / sessions], 1.2, 1.2);
    report.claim(
        "instructions per stateless call to an upstream with sessions",
        era,
        vec![bridged / sessions],
        1.2,
        1.2,
    );
    report.claim("instructions per stateless call over 100 upstreams", "x one", vec![hundred / one], 1.1, 1.03);
    Ok(())
}
