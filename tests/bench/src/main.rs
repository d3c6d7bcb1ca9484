//! `bench`: starts upstream, baseline and Gatehouse, loads them in turns, and prints what it costs.

mod child;
mod client;
mod house;
mod load;
mod noise;
mod report;
mod rig;
mod session;
mod works;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::report::Report;
use crate::rig::{Plan, Rig};

/// Measures Gatehouse's data plane against a bare reverse proxy, in turns, on one machine.
#[derive(Parser)]
struct Args {
    /// Rounds of every work; fewer than 7 are good for a look only.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Seconds that count of one lane in one round.
    #[arg(long, default_value_t = 2.0)]
    secs: f64,
    /// Only these works; may be given several times.
    #[arg(long, value_parser = works::NAMES)]
    only: Vec<String>,
    /// A look in a minute: 2 short rounds, fewer sessions and mounts.
    #[arg(long)]
    quick: bool,
    /// Leave Gatehouse out: the baseline alone.
    #[arg(long)]
    no_gate: bool,
    /// Where the JSON goes.
    #[arg(long, default_value = "target/bench.json")]
    json: PathBuf,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// A process of the bench failed.
    #[error("a process of the bench failed")]
    Child(#[from] child::ChildError),
    /// An answer was wrong or missing.
    #[error("an answer was wrong or missing")]
    Client(#[from] client::ClientError),
    /// A task of the load generator died.
    #[error("a task of the load generator died")]
    Task(#[from] tokio::task::JoinError),
    /// A counter could not be read.
    #[error("a counter could not be read")]
    Io(#[from] std::io::Error),
    /// A counter is not JSON.
    #[error("a counter is not JSON")]
    Json(#[from] serde_json::Error),
}

fn main() -> std::process::ExitCode {
    let args = Args::parse();
    match measure(&args) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            let mut cause: Option<&dyn std::error::Error> = Some(&error);
            while let Some(error) = cause {
                eprintln!("bench: {error}");
                cause = error.source();
            }
            std::process::ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> Result<(), BenchError> {
    child::hold_to(child::LOADING)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let plan = if args.quick {
        Plan { rounds: 2, time: Duration::from_millis(500), sessions: 500, mounts: 1_000 }
    } else {
        Plan { rounds: args.rounds, time: Duration::from_secs_f64(args.secs), sessions: 5_000, mounts: 10_000 }
    };
    let noise = noise::Noise::begin();
    let rig = Rig::start(!args.no_gate)?;
    let mut report = Report::default();
    if cfg!(debug_assertions) {
        report.notes.push("a debug build: these figures mean nothing".into());
    }
    report.notes.push(format!("{} rounds of {:?} per lane", plan.rounds, plan.time));
    let chosen = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let all = async {
        rig.prove_policy().await?;
        for name in works::NAMES.into_iter().filter(|name| chosen(name)) {
            eprintln!("bench: {name} …");
            works::run(name, &rig, &plan, &mut report).await?;
        }
        Ok::<_, BenchError>(())
    };
    tokio::task::LocalSet::new().block_on(&runtime, all)?;
    // Its processes have to be gone before they can be told from the others.
    drop(rig);
    report.notes.push(noise.end());
    println!("{}", report.text());
    if let Some(folder) = args.json.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&args.json, serde_json::to_vec_pretty(&report.json())?)?;
    Ok(())
}
