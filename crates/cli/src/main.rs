//! `gatehouse`: starts both planes on one machine, and asks control what a person or a script wants to know or change.

mod access;
mod api;
mod args;
mod declared;
mod failure;
mod home;
mod keys;
mod ports;
mod problem;
mod progress;
mod proxy;
mod ready;
mod screen;
mod up;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

use crate::args::Cli;
use crate::failure::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.access.json;
    telemetry::init("gatehouse");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime
        .map_err(|error| Failure::caused("can't start", error))
        .and_then(|runtime| runtime.block_on(verbs::run(cli)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}
