//! One child process, kept alive until it is asked to end or dies too often.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::deaths::{Deaths, Verdict};
use super::program::{self, CRASH_AT, Programs};
use crate::failure::Failure;
use crate::home::Home;

/// A process drains within 35 s; what hasn't ended by then is killed.
const DRAIN_PATIENCE: Duration = Duration::from_secs(40);

/// The exit code of a process whose configuration can't be used: another start would end alike.
const BAD_CONFIG: i32 = 78;

/// What `up` wants of its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wish {
    /// Live.
    Run,
    /// Finish what is under way and end.
    Drain,
    /// End now.
    Die,
}

/// How a child ended for good.
#[derive(Debug)]
pub(super) enum Ended {
    /// As it was asked to.
    Asked,
    /// It can't be started, or died too often, or died and nobody starts it again.
    Lost(String),
}

impl Ended {
    /// As `up` reports it.
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::Asked => Failure::Failed("a process ended".to_owned()),
            Self::Lost(why) => Failure::Failed(why.clone()),
        }
    }
}

/// Which program to start with which configuration.
#[derive(Debug)]
pub(super) struct Child {
    name: &'static str,
    program: PathBuf,
    config: PathBuf,
}

/// A child and the pipe that ends it: when `up` is gone, however it went, the pipe closes and the
/// child, which reads it, ends too.
struct Life {
    process: tokio::process::Child,
    pipe: Option<tokio::process::ChildStdin>,
    pid: Pid,
    begun: Instant,
}

impl Child {
    /// `gatehouse-control` on the folder's configuration.
    pub(super) fn control(programs: &Programs, home: &Home) -> Self {
        Self { name: "control", program: programs.control.clone(), config: home.file("control.toml") }
    }

    /// `gatehouse-proxy` on the folder's configuration.
    pub(super) fn proxy(programs: &Programs, home: &Home) -> Self {
        Self { name: "proxy", program: programs.proxy.clone(), config: home.file("proxy.toml") }
    }

    /// Starts it, and again when it dies. The receiver of `pid` sees the living one.
    pub(super) async fn keep(
        self,
        restart: bool,
        mut wishes: watch::Receiver<Wish>,
        pid: watch::Sender<Option<Pid>>,
    ) -> Ended {
        let name = self.name;
        let begun = Instant::now();
        let mut deaths = Deaths::default();
        let mut first = true;
        loop {
            let mut life = match self.start(first) {
                Ok(life) => life,
                Err(error) => return Ended::Lost(format!("can't start {}: {error}", self.program.display())),
            };
            first = false;
            pid.send_replace(Some(life.pid));
            let status = tokio::select! {
                status = life.process.wait() => status,
                () = wished(&mut wishes, Wish::Drain) => {
                    self.end(life, &mut wishes).await;
                    pid.send_replace(None);
                    return Ended::Asked;
                }
            };
            pid.send_replace(None);
            let status_code = status.as_ref().ok().and_then(ExitStatus::code);
            let how = status.map_or_else(|error| error.to_string(), |status| told(&status));
            if status_code == Some(BAD_CONFIG) {
                return Ended::Lost(format!("{name}'s configuration can't be used: see the log above"));
            }
            if !restart {
                warn!("{name} (pid {}) ended: {how}; nobody starts it again", life.pid);
                return Ended::Lost(format!("{name} ended: {how}"));
            }
            match deaths.count(begun.elapsed(), life.begun.elapsed()) {
                Verdict::GiveUp => {
                    error!("{name} (pid {}) ended: {how}; five times in a minute is too often", life.pid);
                    return Ended::Lost(format!("{name} ended five times within 60 s, last: {how}"));
                }
                Verdict::Restart(pause) => {
                    warn!("{name} (pid {}) ended: {how}; starting it again in {pause:?}", life.pid);
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = wished(&mut wishes, Wish::Drain) => return Ended::Asked,
                    }
                }
            }
        }
    }

    fn start(&self, first: bool) -> std::io::Result<Life> {
        let mut command = program::command(&self.program);
        command.arg("--config").arg(&self.config).env("GATEHOUSE_PARENT_PIPE", "1").stdin(Stdio::piped());
        // Standard output belongs to `up`'s one line; whatever a child prints is log.
        command.stdout(std::io::stderr().as_fd().try_clone_to_owned()?).stderr(Stdio::inherit());
        if !first {
            command.env_remove(CRASH_AT);
        }
        let mut process = command.spawn()?;
        let pipe = process.stdin.take();
        let pid = process.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let pid = pid.ok_or_else(|| std::io::Error::other("it ended at once"))?;
        info!("{} started (pid {pid})", self.name);
        Ok(Life { process, pipe, pid, begun: Instant::now() })
    }

    /// Lets it drain, then doesn't.
    async fn end(&self, mut life: Life, wishes: &mut watch::Receiver<Wish>) {
        // The end of the pipe asks it to end, as it would if `up` had died: one way, used every time.
        // A signal besides would count as the second request, which doesn't wait for what is under way.
        drop(life.pipe.take());
        let drained = tokio::select! {
            drained = tokio::time::timeout(DRAIN_PATIENCE, life.process.wait()) => drained.is_ok(),
            () = wished(wishes, Wish::Die) => false,
        };
        if !drained {
            warn!("{} (pid {}) is killed", self.name, life.pid);
            let _ = life.process.kill().await;
        }
    }
}

/// Waits until `up` wants at least this. An `up` that is gone wants everything to end.
async fn wished(wishes: &mut watch::Receiver<Wish>, least: Wish) {
    let _ = wishes.wait_for(|wish| *wish >= least).await;
}

fn told(status: &ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => {
            Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |signal| signal.to_string())
        }
        (None, None) => "for an unknown reason".to_owned(),
    }
}
