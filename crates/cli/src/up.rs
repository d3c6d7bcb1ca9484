//! `gatehouse up`: both processes on this machine, configured, started, watched and ended together.

use std::time::Duration;

use nix::unistd::Pid;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::args;
use crate::failure::Failure;
use crate::home::Home;
use crate::keys::Keys;
use crate::ports::{self, Ports};
use crate::progress;
use crate::screen;

mod announce;
mod child;
mod deaths;
mod first_admin;
mod init;
mod program;
mod ready;
mod signals;

use self::announce::Announcement;
use self::child::{Child, Ended, Wish};
use self::program::Programs;

/// How long a listener's address may still belong to the children of an `up` that was killed a moment ago.
const PORT_PATIENCE: Duration = Duration::from_secs(10);
/// Longest start: both processes answer `/readyz` by then or `up` gives up.
const READY_PATIENCE: Duration = Duration::from_secs(120);

/// Runs until a signal or until a child can't be kept alive.
pub(crate) async fn run(access: &args::Access, up: &args::Up) -> Result<(), Failure> {
    let home = Home::find(access.data_dir.as_deref())?;
    let asked = Ports::asked(up)?;
    let programs = Programs::find()?;
    home.create()?;
    let _lock = home.lock()?;
    let mut signals = signals::Signals::listen()?;

    let ports = settle(&home, &asked).await?;
    let keys = progress::during("preparing the folder", init::run(&programs, &home, &ports, up.new_keys)).await?;
    ports.keep(&home)?;

    let (wish, wishes) = watch::channel(Wish::Run);
    let mut family = Family {
        control: keep(Child::control(&programs, &home), !up.no_restart, &wishes),
        proxy: keep(Child::proxy(&programs, &home), !up.no_restart, &wishes),
        wish,
        no_restart: up.no_restart,
    };
    let outcome = tokio::select! {
        outcome = serve(&mut family, &ports, &keys, access, up) => outcome,
        signal = signals.next() => {
            info!("{signal}: ending both processes");
            Ok(())
        }
    };
    family.wish.send_replace(Wish::Drain);
    tokio::select! {
        () = family.gone() => {}
        signal = signals.next() => {
            warn!("{signal} again: not waiting any longer");
            family.wish.send_replace(Wish::Die);
            family.gone().await;
        }
    }
    outcome
}

/// Waits until both serve, says so, and then until one is lost for good. Returns only with a failure
/// or, where nobody is restarted, when nobody is left.
async fn serve(
    family: &mut Family,
    ports: &Ports,
    keys: &Keys,
    access: &args::Access,
    up: &args::Up,
) -> Result<(), Failure> {
    let ready = progress::during("starting", tokio::time::timeout(READY_PATIENCE, ready::both(ports)));
    tokio::select! {
        ready = ready => match ready {
            Ok(ready) => ready?,
            Err(_) => return Err(Failure::Failed(format!("not ready after {} s: see the log above", READY_PATIENCE.as_secs()))),
        },
        lost = family.first_lost() => return Err(lost),
    }
    let sign_in = tokio::select! {
        link = first_admin::link(ports, keys) => link,
        lost = family.lost() => return Err(lost),
    };
    let data_dir = access.data_dir.as_deref();
    let announcement = Announcement { ports, keys, sign_in: sign_in.as_ref(), pids: family.pids(), data_dir };
    screen::line(&if up.ready_json || access.json { announcement.json() } else { announcement.text() })?;
    Err(family.lost().await)
}

/// The final addresses: asked for, remembered or picked. A taken one is given a moment, because the
/// children of a killed `up` need one to end.
async fn settle(home: &Home, asked: &Ports) -> Result<Ports, Failure> {
    let chosen = asked.or_remembered(Ports::of(home)?.as_ref());
    let taken = || chosen.each().into_iter().filter(|address| ports::is_taken(*address)).collect::<Vec<_>>();
    let freed = async {
        while !taken().is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let waited = progress::during("waiting for a port", tokio::time::timeout(PORT_PATIENCE, freed)).await;
    let chosen = if waited.is_ok() { chosen } else { chosen.without(&taken(), asked) };
    if let Some(address) = chosen.each().into_iter().find(|address| ports::is_taken(*address)) {
        return Err(Failure::Taken(format!(
            "{address} is taken by another program; `--control 127.0.0.1:0 --mcp 127.0.0.1:0` picks free ports"
        )));
    }
    chosen.fill(ports::take_free).map_err(|error| Failure::caused("no free port", error))
}

/// A child and the task that keeps it alive.
struct Kept {
    pid: watch::Receiver<Option<Pid>>,
    task: JoinHandle<Ended>,
    ended: Option<Ended>,
}

fn keep(child: Child, restart: bool, wishes: &watch::Receiver<Wish>) -> Kept {
    let (pid, pids) = watch::channel(None);
    let task = tokio::spawn(child.keep(restart, wishes.clone(), pid));
    Kept { pid: pids, task, ended: None }
}

impl Kept {
    /// How it ended for good. Can be asked again and can be dropped while waiting.
    async fn ended(&mut self) -> &Ended {
        if self.ended.is_none() {
            let ended = (&mut self.task).await;
            self.ended = Some(ended.unwrap_or(Ended::Asked));
        }
        self.ended.as_ref().unwrap_or(&Ended::Asked)
    }
}

/// Both children.
struct Family {
    control: Kept,
    proxy: Kept,
    wish: watch::Sender<Wish>,
    no_restart: bool,
}

impl Family {
    fn pids(&self) -> [Option<i32>; 2] {
        [&self.control, &self.proxy].map(|kept| kept.pid.borrow().map(Pid::as_raw))
    }

    /// The first child that ends for good.
    async fn first_lost(&mut self) -> Failure {
        tokio::select! {
            ended = self.control.ended() => ended.failure(),
            ended = self.proxy.ended() => ended.failure(),
        }
    }

    /// When `up` has no reason to go on: one child can't be kept alive, or nobody is restarted and both are gone.
    async fn lost(&mut self) -> Failure {
        if self.no_restart {
            self.control.ended().await;
            return self.proxy.ended().await.failure();
        }
        self.first_lost().await
    }

    /// When nobody is left.
    async fn gone(&mut self) {
        self.control.ended().await;
        self.proxy.ended().await;
    }
}
