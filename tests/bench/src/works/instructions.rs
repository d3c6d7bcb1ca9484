//! Instructions per call, counted by valgrind: the figure that a noisy machine can't spoil.

use std::path::PathBuf;

use crate::BenchError;
use crate::child::{Child, ChildError, TESTED};
use crate::load::{self, Ask};
use crate::report::Report;
use crate::rig::{self, Rig, Table, UPSTREAMS};
use crate::session::Target;

/// Calls that count; as many as in the rule for claims of 10 % or less.
const CALLS: u64 = 2_000;
/// Calls that are made in both runs, and so cancel out with start and warming up.
const WARM: u64 = 300;

/// Bare, and the gate with 1 mount, 1 mount that takes a credential, 100 upstreams and 10,000 mounts, 2,000 calls of one
/// session.
/// Instructions in user space only: the kernel's share is the same sockets for all of them.
pub(crate) async fn instructions(rig: &Rig, report: &mut Report) -> Result<(), BenchError> {
    if !can_count(report) {
        return Ok(());
    }
    let bare = count("bench-bare", rig::bare_args(&rig.upstream)?, Ask::Echo, rig::bare).await?;
    report.claim("instructions per call, bare", "thousand", vec![bare / 1000.0], None, None);
    if rig.gate.is_none() {
        return Ok(());
    }
    let table = |mounts| rig::gate_args(&rig.upstream, Table { mounts, ..Table::default() });
    let single = |gate: &Child| rig::single(gate, "gate", "s0");
    let aggregate = |gate: &Child| rig::aggregate(gate, "gate /mcp");
    let one = count("bench-gate", table(1), Ask::Echo, single).await?;
    let bound_table = rig::gate_args(&rig.upstream, Table { mounts: 1, bound: true, ..Table::default() });
    let bound = count("bench-gate", bound_table, Ask::Echo, single).await?;
    let one_of_all = count("bench-gate", table(1), Ask::EchoOver(1), aggregate).await?;
    let hundred = count("bench-gate", table(UPSTREAMS), Ask::EchoOver(UPSTREAMS), aggregate).await?;
    let many = count("bench-gate", table(10_000), Ask::Echo, single).await?;
    for (what, figure) in [("gate", one), ("gate /mcp", one_of_all)] {
        report.claim(format!("instructions per call, {what}"), "thousand", vec![figure / 1000.0], None, None);
        report.claim(format!("instructions per call, {what}"), "x bare", vec![figure / bare], None, None);
    }
    report.claim("instructions per call spread over 100 upstreams", "x one", vec![hundred / one_of_all], 1.1, 1.03);
    report.claim("instructions per call with 10000 mounts", "x one", vec![many / one], 1.1, 1.02);
    report.claim("instructions per call with a connection", "x with none", vec![bound / one], 1.2, 1.1);
    Ok(())
}

/// Whether instructions can be counted here; the report says if not.
pub(crate) fn can_count(report: &mut Report) -> bool {
    let found = std::process::Command::new("valgrind").arg("--version").output().is_ok();
    if !found {
        report.notes.push("no valgrind here, so no instructions per call".into());
    }
    found
}

/// Instructions for each of [`CALLS`] calls: a run with them less a run without.
pub(crate) async fn count(
    program: &'static str,
    args: Vec<String>,
    ask: Ask,
    target: impl Fn(&Child) -> Result<Target, BenchError>,
) -> Result<f64, BenchError> {
    let mut totals = [0u64; 2];
    for (total, calls) in totals.iter_mut().zip([WARM, WARM + CALLS]) {
        let log = log_file();
        let wrapper = [
            "valgrind".to_owned(),
            "--tool=cachegrind".to_owned(),
            "--cache-sim=no".to_owned(),
            "--cachegrind-out-file=/dev/null".to_owned(),
            format!("--log-file={}", log.display()),
        ];
        let child = Child::start_under(&wrapper, program, TESTED, &args)?;
        let mut session = load::connect(&target(&child)?, ask).await?;
        load::times(&mut session, ask, calls).await?;
        child.finish()?;
        let said = std::fs::read_to_string(&log)?;
        // A log that stays behind does no harm.
        let _ = std::fs::remove_file(&log);
        *total = refs(&said).ok_or(ChildError::NoFigure("I refs"))?;
    }
    let [without, with] = totals;
    Ok(with.saturating_sub(without) as f64 / CALLS as f64)
}

fn log_file() -> PathBuf {
    std::env::temp_dir().join(format!("bench-instructions-{}", std::process::id()))
}

/// The figure behind `I   refs:`.
fn refs(log: &str) -> Option<u64> {
    let line = log.lines().find_map(|line| line.split_once("I   refs:"))?.1;
    line.trim().replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_in_the_log() {
        assert_eq!(refs("==1== \n==1== I   refs:      1,234,567\n"), Some(1_234_567));
        assert_eq!(refs("nothing"), None);
    }
}
