//! Where the two programs are, and the environment that they are started with.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use daemon::register;
use tokio::process::Command;

use crate::failure::Failure;

/// Variables that both processes keep: how they log.
const KEPT: [&str; 2] = ["GATEHOUSE_LOG", "GATEHOUSE_LOG_FORMAT"];

/// What `up` settles in the files that it has written; a stray variable of the caller would say it
/// for both processes at once. `GATEHOUSE_KEY` is a secret of the caller besides.
fn settled() -> impl Iterator<Item = String> {
    let settings = register::SETTINGS.iter().map(register::Setting::variable);
    let settings = settings.flat_map(|name| [format!("{name}_FILE"), name]);
    let others = register::OTHERS.iter().filter(|name| !KEPT.contains(name));
    settings.chain(others.map(|&name| name.to_owned()))
}

/// Makes a debug build stop at a named point: meant for a process's first life only, or it would
/// stop there again while healing.
pub(super) const CRASH_AT: &str = "GATEHOUSE_CRASH_AT";

/// The paths of the two programs.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(super) control: PathBuf,
    pub(super) proxy: PathBuf,
}

impl Programs {
    /// In `GATEHOUSE_BIN_DIR`, else beside this program.
    pub(crate) fn find() -> Result<Self, Failure> {
        let folder = match env::var_os("GATEHOUSE_BIN_DIR") {
            Some(folder) => PathBuf::from(folder),
            None => {
                let own = env::current_exe().map_err(|error| Failure::caused("can't find myself", error))?;
                own.parent().map(Path::to_owned).unwrap_or_default()
            }
        };
        let find = |name: &str| {
            let path = folder.join(name);
            if path.is_file() {
                return Ok(path);
            }
            Err(Failure::NotFound(format!(
                "{} does not exist: set GATEHOUSE_BIN_DIR to the folder of the programs",
                path.display()
            )))
        };
        Ok(Self { control: find("gatehouse-control")?, proxy: find("gatehouse-proxy")? })
    }
}

/// A command with the environment that `up` gives to all that it starts. It ends with `up`.
pub(super) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    for name in settled() {
        command.env_remove(name);
    }
    // A process group of its own: Ctrl-C at the terminal reaches `up` alone, which then ends both in order.
    command.process_group(0).stdin(Stdio::null()).kill_on_drop(true);
    command
}
