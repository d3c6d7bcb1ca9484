//! The way from a change to the proxies, with real processes: what an admin and a client wait for.

use std::time::Instant;

use serde_json::Value;

use crate::BenchError;
use crate::child::ChildError;
use crate::house::{House, Rest};
use crate::report::Report;
use crate::rig::{Plan, Rig};
use crate::session::Session;

/// Adds of one round, and changes of one round.
const ADDS: usize = 50;
const CHANGES: usize = 100;
/// Rounds of works that take seconds each.
const FEW: usize = 5;
/// Servers that recover compares.
const RECOVERED: u64 = 1_000;
/// How often a pass that came between is made up for.
const AGAIN: usize = 3;

/// From the answer to an add until a client that was there before has called its tool.
pub(crate) async fn adds(rig: &Rig, plan: &Plan, report: &mut Report) -> Result<(), BenchError> {
    let mut house = House::start().await?;
    house.start_proxy().await?;
    let (mut rest, target) = (house.rest().await?, house.target());
    let upstream = *rig.upstream.addresses().first().ok_or(ChildError::NoFigure("address"))?;
    let mut session = Session::open(&target).await?;
    let (mut medians, mut tails, mut whole) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        let (mut first_calls, mut all) = (Vec::new(), Vec::new());
        for at in 0..ADDS {
            let name = format!("r{round}s{at}");
            let body = format!(r#"{{"name":"{name}","url":"http://{upstream}/mcp"}}"#);
            let begun = Instant::now();
            rest.ask("add", "POST /api/v1/servers", None, &body, 201).await?;
            let answered = Instant::now();
            session.echo_at(&format!("{name}__"), "echo", &name).await?;
            first_calls.push(millis(answered));
            all.push(millis(begun));
        }
        medians.push(quantile(&mut first_calls, 0.5));
        tails.push(quantile(&mut first_calls, 0.99));
        whole.push(quantile(&mut all, 0.5));
    }
    report.claim("answer to an add until the first call is answered, p50", "ms", medians, None, None);
    report.claim("answer to an add until the first call is answered, p99", "ms", tails, 50.0, 10.0);
    report.claim("an add, probe and first call included, p50", "ms", whole, None, None);
    Ok(())
}

/// From the request of a change until its answer says that all proxies have it: a commit, a push and
/// an acknowledgement of each.
pub(crate) async fn effective(plan: &Plan, report: &mut Report) -> Result<(), BenchError> {
    for proxies in [0_usize, 1, 10, 50] {
        let house = House::start().await?;
        let _fleet = if proxies > 0 { Some(house.fleet(proxies)?) } else { None };
        let mut rest = house.rest().await?;
        let mut generation = generation(&rest.add_unasked("changing").await?)?;
        let (mut medians, mut tails) = (Vec::new(), Vec::new());
        for round in 0..plan.rounds {
            let mut times = Vec::new();
            for at in 0..CHANGES {
                let body = format!(r#"{{"title":"round {round} change {at}"}}"#);
                let begun = Instant::now();
                let answer = rest.ask("change", "PATCH /api/v1/servers/changing", Some(generation), &body, 200).await?;
                times.push(millis(begun));
                generation = self::generation(&answer)?;
                let live = answer.pointer("/effective/live").and_then(Value::as_u64);
                if live != Some(proxies as u64) {
                    return Err(ChildError::NoFigure("proxy that has the change").into());
                }
            }
            medians.push(quantile(&mut times, 0.5));
            tails.push(quantile(&mut times, 0.99));
        }
        let (milestone, goal) = if proxies == 50 { (Some(250.0), Some(25.0)) } else { (None, None) };
        report.claim(format!("a change until {proxies} proxies have it, p50"), "ms", medians, None, None);
        report.claim(format!("a change until {proxies} proxies have it, p99"), "ms", tails, milestone, goal);
    }
    Ok(())
}

/// Recover of 1,000 servers on one proxy: nothing wrong, all missing, and a third missing, a third
/// altered and a third too many, which counts as drift because control mounted it once.
pub(crate) async fn recover(plan: &Plan, report: &mut Report) -> Result<(), BenchError> {
    let house = House::start().await?;
    let mut rest = house.rest().await?;
    for at in 0..RECOVERED {
        rest.add_unasked(&format!("s{at}")).await?;
    }
    let mut fleet = house.fleet(1)?;
    let third = RECOVERED / 3;
    for (what, loss, [missing, drifted, orphaned], milestone, goal) in [
        ("nothing wrong", None, [0, 0, 0], Some(200.0), Some(20.0)),
        ("all missing", Some("forget all"), [RECOVERED, 0, 0], Some(3_000.0), Some(300.0)),
        ("mixed", Some("forget mixed"), [third + 1, 2 * third, 0], None, None),
    ] {
        let mut times = Vec::new();
        for _ in 0..plan.rounds {
            // A pass of the timer may come between the loss and the question.
            for tries in 1.. {
                if let Some(loss) = loss {
                    fleet.tell(loss)?;
                }
                let (took, report) = pass(&mut rest).await?;
                let before = ["missing", "drifted", "orphaned"].map(|name| count(&report, &format!("/before/{name}")));
                if before == [missing, drifted, orphaned].map(Some) {
                    times.push(took);
                    break;
                }
                if tries == AGAIN {
                    return Err(ChildError::NoFigure("difference that was made").into());
                }
            }
        }
        report.claim(format!("recover of {RECOVERED} servers, {what}"), "ms", times, milestone, goal);
    }
    Ok(())
}

/// One pass, which has to leave nothing wrong.
async fn pass(rest: &mut Rest) -> Result<(f64, Value), BenchError> {
    let begun = Instant::now();
    let report = rest.ask("recover", "POST /api/v1/recover", None, "{}", 200).await?;
    let took = millis(begun);
    if report.get("complete") != Some(&Value::Bool(true)) {
        return Err(ChildError::NoFigure("complete recovery").into());
    }
    Ok((took, report))
}

fn count(report: &Value, pointer: &str) -> Option<u64> {
    report.pointer(pointer).and_then(Value::as_u64)
}

/// A proxy that starts while control is away: from its start until it is ready.
pub(crate) async fn ready(plan: &Plan, report: &mut Report) -> Result<(), BenchError> {
    let sizes = if plan.mounts >= 10_000 {
        vec![(1_000, 500.0, 80.0), (10_000, 3_000.0, 500.0)]
    } else {
        vec![(1_000, 500.0, 80.0)]
    };
    for (servers, milestone, goal) in sizes {
        let mut house = House::start().await?;
        let mut rest = house.rest().await?;
        for at in 0..servers {
            rest.add_unasked(&format!("s{at}")).await?;
        }
        house.start_proxy().await?;
        // Its last good table is there once it has written what it acknowledged.
        while count(&rest.ask("proxies", "GET /api/v1/proxies", None, "", 200).await?, "/items/0/mounts")
            != Some(servers)
        {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        tokio::time::sleep(std::time::Duration::from_secs(3)).await;
        house.kill_control();
        let mut times = Vec::new();
        for _ in 0..plan.rounds.min(FEW) {
            house.kill_proxy();
            times.push(house.start_proxy().await?.as_secs_f64() * 1e3);
        }
        report.claim(
            format!("proxy ready from its last good table of {servers} servers"),
            "ms",
            times,
            milestone,
            goal,
        );
    }
    Ok(())
}

/// 1,000 proxies whose control was killed: from its readiness until all are attached and up to date.
pub(crate) async fn reconnect(plan: &Plan, report: &mut Report) -> Result<(), BenchError> {
    let proxies = plan.mounts.min(1_000);
    let mut house = House::start().await?;
    let mut rest = house.rest().await?;
    for at in 0..100 {
        rest.add_unasked(&format!("s{at}")).await?;
    }
    let mut fleet = house.fleet(proxies)?;
    let mut times = Vec::new();
    for _ in 0..plan.rounds.min(FEW) {
        house.kill_control();
        fleet.tell("lost")?;
        house.start_control().await?;
        let begun = Instant::now();
        fleet.tell("attached")?;
        times.push(begun.elapsed().as_secs_f64());
    }
    report.claim(format!("{proxies} proxies attached again after control came back"), "s", times, 60.0, None);
    Ok(())
}

fn generation(record: &Value) -> Result<i64, ChildError> {
    record.get("generation").and_then(Value::as_i64).ok_or(ChildError::NoFigure("generation"))
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

/// The value below which this part of all lies.
fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let at = ((values.len() as f64 * part).ceil() as usize).saturating_sub(1);
    values.get(at).copied().unwrap_or_default()
}
