//! Has `gatehouse-control init` make what the folder lacks, and keeps the keys that it prints.

use std::process::Stdio;

use model::Secret;
use tokio::io::AsyncReadExt;

use super::announce::quoted;
use super::program::{self, CRASH_AT, Programs};
use crate::failure::Failure;
use crate::home::Home;
use crate::keys::Keys;
use crate::ports::Ports;

/// `init` prints one short JSON object.
const LARGEST_OUTPUT: u64 = 64 << 10;

/// Runs `init`. It keeps what is there, so a known folder comes out as it went in, with today's
/// addresses. New keys, which revoke the old ones, are made where they are asked for and where a run
/// was cut between their making and their keeping.
pub(super) async fn run(programs: &Programs, home: &Home, ports: &Ports, new_keys: bool) -> Result<Keys, Failure> {
    let new_keys = new_keys || Keys::are_lost(home)?;
    let kept = Keys::of(home)?.filter(|_| !new_keys);
    if kept.is_none() {
        if home.file("control.toml").exists() && !new_keys {
            let folder = home.path().display().to_string();
            return Err(Failure::NoKey(format!(
                "keys.json is gone from {folder}: `gatehouse --data-dir {} up --new-keys` makes two new keys and revokes the old ones",
                quoted(&folder)
            )));
        }
        Keys::await_new(home)?;
    }
    let mut command = program::command(&programs.control);
    command.args(["init", "--json"]).arg("--data-dir").arg(home.path());
    for (flag, address) in [
        ("--listen", ports.control),
        ("--link-listen", ports.link),
        ("--metrics-listen", ports.control_metrics),
        ("--mcp-listen", ports.mcp),
        ("--mcp-metrics-listen", ports.mcp_metrics),
        ("--mcp-peer-listen", ports.mcp_peers),
    ] {
        command.arg(flag).arg(address.to_string());
    }
    if new_keys {
        command.arg("--new-keys");
    }
    let mut process = command
        .env_remove(CRASH_AT)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::caused(format!("can't start {}", programs.control.display()), error))?;
    let mut printed = String::new();
    if let Some(output) = process.stdout.take() {
        let read = output.take(LARGEST_OUTPUT).read_to_string(&mut printed).await;
        read.map_err(|error| Failure::caused("can't read what `gatehouse-control init` prints", error))?;
    }
    let printed = Secret::new(printed);
    let status = process.wait().await.map_err(|error| Failure::caused("lost `gatehouse-control init`", error))?;
    if !status.success() {
        return Err(Failure::Failed(format!("`gatehouse-control init` ended with {status}: see the log above")));
    }
    match (kept, Keys::parse(printed.expose())) {
        // New keys are printed once; they must be on disk before anything else happens.
        (_, Ok(new)) => new.keep(home).map(|()| new),
        (Some(kept), Err(_)) => Ok(kept),
        (None, Err(_)) => Err(Failure::Failed("`gatehouse-control init` made no keys".to_owned())),
    }
}
