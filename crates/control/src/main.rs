//! `gatehouse-control`: reads the configuration, runs, drains, ends.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use control::init::{self, Asked, Made};
use control::{Config, config::ConfigError};

/// The exit code of a configuration that can't be used (`EX_CONFIG`).
const BAD_CONFIG: u8 = 78;

/// The management service of Gatehouse.
#[derive(Debug, Parser)]
#[command(name = "gatehouse-control", version)]
struct Args {
    /// The configuration file.
    #[arg(long, global = true, env = "GATEHOUSE_CONTROL_CONFIG", default_value = "control.toml")]
    config: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an embedded installation in a folder and show its two keys, once
    Init(Init),
    /// Read the configuration and the files that it names, and report everything that is wrong with them
    CheckConfig,
}

#[derive(Debug, clap::Args)]
struct Init {
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
    /// The folder; made if it isn't there.
    #[arg(long)]
    data_dir: PathBuf,
    /// Make two new keys in a known folder and revoke the old ones.
    #[arg(long)]
    new_keys: bool,
    /// REST; 127.0.0.1:5010 in a new folder.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// The link; 127.0.0.1:5012 in a new folder.
    #[arg(long)]
    link_listen: Option<SocketAddr>,
    /// Control's metrics; 127.0.0.1:5014 in a new folder.
    #[arg(long)]
    metrics_listen: Option<SocketAddr>,
    /// MCP; 127.0.0.1:5011 in a new folder.
    #[arg(long)]
    mcp_listen: Option<SocketAddr>,
    /// The proxy's metrics; 127.0.0.1:5013 in a new folder.
    #[arg(long)]
    mcp_metrics_listen: Option<SocketAddr>,
}

#[tokio::main]
async fn main() -> ExitCode {
    telemetry::init("control");
    let args = Args::parse();
    match args.command {
        None => match Config::load(&args.config).and_then(Config::with_usable_files) {
            Ok(config) => ended(control::run(config).await),
            Err(error) => bad_config(&error),
        },
        Some(Command::CheckConfig) => match Config::load(&args.config).and_then(Config::with_usable_files) {
            Ok(_) => ExitCode::SUCCESS,
            Err(error) => bad_config(&error),
        },
        Some(Command::Init(init)) => {
            let asked = Asked {
                rest: init.listen,
                link: init.link_listen,
                metrics: init.metrics_listen,
                mcp: init.mcp_listen,
                mcp_metrics: init.mcp_metrics_listen,
            };
            ended(init::init(&init.data_dir, asked, init.new_keys, |made| show(made, init.json)).await)
        }
    }
}

fn ended<E: std::error::Error + 'static>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", telemetry::chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn bad_config(error: &ConfigError) -> ExitCode {
    // For the person at the terminal, whatever the log's format and filter.
    _ = writeln!(std::io::stderr(), "{error}");
    ExitCode::from(BAD_CONFIG)
}

/// Prints the keys: the only time that they are seen.
fn show(made: &Made, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match made {
        Made::Existing if json => writeln!(out, "{{\"existing\":true}}")?,
        Made::Existing => writeln!(out, "The folder is known; its keys stay as they are.")?,
        Made::Keys { admin, client } if json => {
            let (admin, client) = (admin.expose(), client.expose());
            writeln!(out, "{{\"admin_key\":\"{admin}\",\"client_key\":\"{client}\",\"tenant\":\"default\"}}")?;
        }
        Made::Keys { admin, client } => {
            writeln!(out, "admin key:  {}\nclient key: {}", admin.expose(), client.expose())?;
        }
    }
    out.flush()
}
