//! `gatehouse-control`: reads the configuration, runs, drains, ends.

mod certificate;

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use control::Config;
use control::init::{self, Asked, Made};
use daemon::ConfigError;

/// The exit code of a configuration that can't be used (`EX_CONFIG`).
const BAD_CONFIG: u8 = 78;

/// The file that is read if it is there and no other is named.
const CONFIG_FILE: &str = "control.toml";

/// The management service of Gatehouse.
#[derive(Debug, Parser)]
#[command(name = "gatehouse-control", version)]
struct Args {
    /// The configuration file; without it `control.toml`, if it is there. Every key is also a variable:
    /// `listen` is `GATEHOUSE_LISTEN`.
    #[arg(long, global = true, env = "GATEHOUSE_CONTROL_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make what is missing: key file, certificates, database, a first tenant and two keys, shown once
    Init(Init),
    /// Read the configuration and the files that it names, and report everything that is wrong with them
    CheckConfig,
    /// Ask the running process on this machine whether it is ready; ends with 0 if it is
    Health,
    /// Make certificates of the plane
    #[command(subcommand)]
    Certificate(certificate::Command),
}

#[derive(Debug, clap::Args)]
struct Init {
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
    /// Make an embedded installation with both configurations in this folder, instead of preparing the
    /// one that this configuration describes.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Make two new keys in a known installation and revoke the old ones.
    #[arg(long)]
    new_keys: bool,
    /// REST; 127.0.0.1:5010 in a new folder.
    #[arg(long, requires = "data_dir")]
    listen: Option<SocketAddr>,
    /// The link; 127.0.0.1:5012 in a new folder.
    #[arg(long, requires = "data_dir")]
    link_listen: Option<SocketAddr>,
    /// Control's metrics; 127.0.0.1:5014 in a new folder.
    #[arg(long, requires = "data_dir")]
    metrics_listen: Option<SocketAddr>,
    /// MCP; 127.0.0.1:5011 in a new folder.
    #[arg(long, requires = "data_dir")]
    mcp_listen: Option<SocketAddr>,
    /// The proxy's metrics; 127.0.0.1:5013 in a new folder.
    #[arg(long, requires = "data_dir")]
    mcp_metrics_listen: Option<SocketAddr>,
    /// Where other proxies reach the proxy; 127.0.0.1:5015 in a new folder.
    #[arg(long, requires = "data_dir")]
    mcp_peer_listen: Option<SocketAddr>,
}

#[tokio::main]
async fn main() -> ExitCode {
    telemetry::init("control");
    let Args { config, command } = Args::parse();
    let config = config.or_else(|| Some(PathBuf::from(CONFIG_FILE)).filter(|file| file.exists()));
    let ended = match command {
        None => serve(config.as_deref()).await,
        Some(Command::CheckConfig) => Config::load(config.as_deref()).map(|(_, given)| tell(&given)),
        Some(Command::Health) => health(config.as_deref()).await,
        Some(Command::Certificate(command)) => Ok(ended(certificate::run(&command))),
        Some(Command::Init(init)) => initialize(config.as_deref(), init).await,
    };
    ended.unwrap_or_else(|error| bad_config(&error))
}

async fn serve(config: Option<&Path>) -> Result<ExitCode, ConfigError> {
    let (config, _) = Config::load(config)?;
    if let Err(error) = config.kek.hide() {
        return Ok(ended(Err::<(), _>(error)));
    }
    Ok(ended(control::run(config).await))
}

async fn initialize(config: Option<&Path>, init: Init) -> Result<ExitCode, ConfigError> {
    let show = |made: &Made| show(made, init.json);
    let Some(folder) = &init.data_dir else {
        let (config, _) = Config::before_init(config)?;
        return Ok(ended(init::prepare(&config, init.new_keys, show).await));
    };
    let asked = Asked {
        rest: init.listen,
        link: init.link_listen,
        metrics: init.metrics_listen,
        mcp: init.mcp_listen,
        mcp_metrics: init.mcp_metrics_listen,
        mcp_peers: init.mcp_peer_listen,
    };
    Ok(ended(init::init(folder, asked, init.new_keys, show).await))
}

/// Asks on the listener for metrics: it is on this machine and never under TLS.
async fn health(config: Option<&Path>) -> Result<ExitCode, ConfigError> {
    let (Config { metrics_listen, .. }, _) = Config::before_init(config)?;
    Ok(match egress::operator::is_ready(metrics_listen).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!("no answer from {metrics_listen} (metrics_listen): {}", telemetry::chain(&error));
            ExitCode::FAILURE
        }
    })
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

/// Prints what was given, without secrets.
fn tell(given: &[String]) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let told = given.iter().try_for_each(|line| writeln!(out, "{line}"));
    if told.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints the keys: the only time that they are seen.
fn show(made: &Made, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match made {
        Made::Existing if json => writeln!(out, "{{\"existing\":true}}")?,
        Made::Existing => writeln!(out, "The installation is known; its keys stay as they are.")?,
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
