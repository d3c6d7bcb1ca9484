//! The processes of the bench: started on a core of their own, read through /proc, ended with the driver.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child as Process, Command, Stdio};
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde_json::Value;

/// Why a process could not be started or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChildError {
    /// It could not be started.
    #[error("{program} could not be started")]
    Start {
        /// Its file name.
        program: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// It ended, or said something else than its line of JSON.
    #[error("{program} did not say that it is ready, but {said:?}")]
    NotReady {
        /// Its file name.
        program: &'static str,
        /// The line that came.
        said: String,
    },
    /// A figure of /proc is missing.
    #[error("no {0} to be read")]
    NoFigure(&'static str),
    /// The kernel refused.
    #[error("the kernel refused")]
    Kernel(#[from] nix::Error),
    /// A file of /proc could not be used.
    #[error("/proc could not be used")]
    Proc(#[from] std::io::Error),
}

/// The core of the process under test.
pub(crate) const TESTED: usize = 0;
/// The core of the load generator and the upstream.
pub(crate) const LOADING: usize = 1;

/// Holds the calling thread, and every child it starts from now on, to one core. A machine with
/// one core leaves it where it is.
pub(crate) fn hold_to(core: usize) -> Result<(), ChildError> {
    if std::fs::metadata(format!("/sys/devices/system/cpu/cpu{core}")).is_err() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// A started process; killed when dropped.
pub(crate) struct Child {
    process: Process,
    clock: ClockId,
    ready: Value,
}

impl Child {
    /// Starts a program that lies beside this one, on the given core, and waits for its line.
    pub(crate) fn start(program: &'static str, core: usize, args: &[String]) -> Result<Self, ChildError> {
        Self::start_under(&[], program, core, args)
    }

    /// The same under another program, e.g. valgrind with its options.
    pub(crate) fn start_under(
        wrapper: &[String],
        program: &'static str,
        core: usize,
        args: &[String],
    ) -> Result<Self, ChildError> {
        let failed = |source| ChildError::Start { program, source };
        let path = std::env::current_exe().map_err(failed)?.with_file_name(program);
        let mut command = match wrapper {
            [] => Command::new(path),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(path);
                command
            }
        };
        hold_to(core)?;
        let started = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        hold_to(LOADING)?;
        let mut process = started.map_err(failed)?;
        let mut said = String::new();
        if let Some(out) = process.stdout.take() {
            BufReader::new(out).read_line(&mut said).map_err(failed)?;
        }
        let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(process.id() as i32))?;
        match serde_json::from_str(&said) {
            Ok(ready) => Ok(Self { process, clock, ready }),
            Err(_) => {
                // It has failed already; what counts is the error below.
                let _ = process.kill();
                let _ = process.wait();
                Err(ChildError::NotReady { program, said })
            }
        }
    }

    /// Lets it end by itself, as it does when its standard input ends, and waits for that.
    pub(crate) fn finish(mut self) -> Result<(), ChildError> {
        drop(self.process.stdin.take());
        self.process.wait()?;
        Ok(())
    }

    /// A text of its ready line.
    pub(crate) fn text(&self, member: &'static str) -> Result<&str, ChildError> {
        self.ready.get(member).and_then(Value::as_str).ok_or(ChildError::NoFigure(member))
    }

    /// An address of its ready line.
    pub(crate) fn address(&self, member: &'static str) -> Result<SocketAddr, ChildError> {
        self.text(member)?.parse().map_err(|_| ChildError::NoFigure(member))
    }

    /// All the addresses of its ready line.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let listed = self.ready.get("addresses").and_then(Value::as_array);
        listed.into_iter().flatten().filter_map(|address| address.as_str()?.parse().ok()).collect()
    }

    /// User and system time of all its threads so far.
    pub(crate) fn cpu(&self) -> Result<Duration, ChildError> {
        Ok(clock_gettime(self.clock)?.into())
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident(&self) -> Result<u64, ChildError> {
        self.status("VmRSS:")
    }

    /// The most resident memory since the last [`Child::forget_peak`], in bytes.
    pub(crate) fn peak(&self) -> Result<u64, ChildError> {
        self.status("VmHWM:")
    }

    /// Begins a new peak at what is resident now.
    pub(crate) fn forget_peak(&self) -> Result<(), ChildError> {
        Ok(std::fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5")?)
    }

    fn status(&self, line: &'static str) -> Result<u64, ChildError> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let found = status.lines().find_map(|text| text.strip_prefix(line));
        let kib = found.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.map(|kib| kib * 1024).ok_or(ChildError::NoFigure(line))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
