//! `gatehouse-proxy`: reads its configuration, serves, drains.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use proxy::{Config, ConfigError, run};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code for a configuration that can't be used (EX_CONFIG).
const BAD_CONFIG: u8 = 78;

/// The data plane of Gatehouse.
#[derive(Debug, Parser)]
#[command(name = "gatehouse-proxy", version)]
struct Args {
    /// The configuration file.
    #[arg(long, global = true, env = "GATEHOUSE_PROXY_CONFIG", default_value = "proxy.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read the configuration and the files that it names, and report everything that is wrong with them
    CheckConfig,
}

#[tokio::main]
async fn main() -> ExitCode {
    telemetry::init("proxy");
    let args = Args::parse();
    let config = match (Config::load(&args.config).and_then(Config::with_usable_files), args.command) {
        (Ok(config), None) => config,
        (Ok(_), Some(Command::CheckConfig)) => return ExitCode::SUCCESS,
        (Err(error), _) => return bad_config(&error),
    };
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

fn bad_config(error: &ConfigError) -> ExitCode {
    // For the person at the terminal, whatever the log's format and filter.
    _ = writeln!(std::io::stderr(), "{error}");
    ExitCode::from(BAD_CONFIG)
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
