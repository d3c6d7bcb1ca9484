//! `gatehouse-proxy`: reads its configuration, serves, drains.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use daemon::ConfigError;
use nix::sys::resource::{Resource, setrlimit};
use proxy::{Config, run};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code for a configuration that can't be used (EX_CONFIG).
const BAD_CONFIG: u8 = 78;

/// The file that is read if it is there and no other is named.
const CONFIG_FILE: &str = "proxy.toml";

/// The data plane of Gatehouse.
#[derive(Debug, Parser)]
#[command(name = "gatehouse-proxy", version)]
struct Args {
    /// The configuration file; without it `proxy.toml`, if it is there. Every key is also a variable:
    /// `listen` is `GATEHOUSE_LISTEN`.
    #[arg(long, global = true, env = "GATEHOUSE_PROXY_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read the configuration and the files that it names, and report everything that is wrong with them
    CheckConfig,
    /// Ask the running process on this machine whether it is ready; ends with 0 if it is
    Health,
}

#[tokio::main]
async fn main() -> ExitCode {
    telemetry::init("proxy");
    let args = Args::parse();
    let file = args.config.or_else(|| Some(PathBuf::from(CONFIG_FILE)).filter(|file| file.exists()));
    match (Config::load(file.as_deref()), args.command) {
        (Ok((config, _)), None) => serve(config).await,
        (Ok((_, given)), Some(Command::CheckConfig)) => tell(&given),
        (Ok((config, _)), Some(Command::Health)) => health(config.metrics_listen).await,
        (Err(error), _) => bad_config(&error),
    }
}

async fn serve(config: Config) -> ExitCode {
    keep_memory_private();
    let shutdown = CancellationToken::new();
    tokio::spawn(stop_on_signal(shutdown.clone()));
    match run(config, shutdown).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %telemetry::chain(&error), "the proxy can't run");
            ExitCode::FAILURE
        }
    }
}

/// Header lines are in this memory: no core file has it, and no other process of the same user reads it.
fn keep_memory_private() {
    if let Err(error) = setrlimit(Resource::RLIMIT_CORE, 0, 0) {
        tracing::warn!(%error, "core files of this process can't be forbidden");
    }
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        tracing::warn!(%error, "a core file of this process could hold credentials");
    }
}

/// Asks on the listener for metrics: it is on this machine and never under TLS.
async fn health(metrics: SocketAddr) -> ExitCode {
    match egress::operator::is_ready(metrics).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!("no answer from {metrics} (metrics_listen): {}", telemetry::chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn bad_config(error: &ConfigError) -> ExitCode {
    // For the person at the terminal, whatever the log's format and filter.
    _ = writeln!(std::io::stderr(), "{error}");
    ExitCode::from(BAD_CONFIG)
}

/// Prints what was given, without secrets.
fn tell(given: &[String]) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let told = given.iter().try_for_each(|line| writeln!(out, "{line}"));
    if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// SIGTERM, SIGINT, or the end of the process that started us and holds the other end of our input.
async fn stop_on_signal(shutdown: CancellationToken) {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("signals can't be waited for");
        return;
    };
    tokio::select! {
        _ = term.recv() => (),
        _ = int.recv() => (),
        () = parent_gone() => (),
    }
    shutdown.cancel();
}

/// Waits in a thread of its own: a runtime that shuts down does not wait for it.
async fn parent_gone() {
    if std::env::var_os("GATEHOUSE_PARENT_PIPE").is_none() {
        return std::future::pending().await;
    }
    let (gone, heard) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // Ends at the end of input, and on errors, which mean the same.
        let _read = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _nobody_waits = gone.send(());
    });
    let _thread_lives = heard.await;
}
