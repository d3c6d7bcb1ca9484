//! Server programs that tests start, and that end with them even when the tests are killed.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::patience::PATIENCE;
use crate::process::{descendants, runs};

/// A running server.
#[derive(Debug)]
pub(crate) struct Guarded {
    guard: Child,
}

impl Guarded {
    /// Starts `program`, as `user` where that is asked for, to live as long as the process `watched` at most;
    /// `folder` is removed then.
    pub(crate) fn start(watched: u32, folder: &Path, user: Option<(u32, u32)>, program: &mut Command) -> Self {
        let log = std::fs::File::create(folder.join("server.log")).expect("a log file");
        let mut guard = Command::new("sh");
        guard.arg("-c").arg(include_str!("guarded.sh")).arg("guarded.sh").arg(watched.to_string()).arg(folder);
        guard.arg(program.get_program()).args(program.get_args()).current_dir("/").process_group(0);
        guard.stdin(Stdio::null()).stdout(log.try_clone().expect("the log file")).stderr(log);
        if let Some((user, group)) = user {
            guard.uid(user).gid(group);
        }
        Self { guard: guard.spawn().expect("sh starts") }
    }

    /// The process id of the server; `None` before it is started and after its end.
    pub(crate) fn pid(&self) -> Option<u32> {
        let file = format!("/proc/{0}/task/{0}/children", self.guard.id());
        std::fs::read_to_string(file).ok()?.split_whitespace().next()?.parse().ok()
    }

    /// Whether the server still runs.
    pub(crate) fn runs(&self) -> bool {
        runs(self.guard.id())
    }

    /// Stops every process of the server in its tracks: it holds its ports and answers nothing.
    pub(crate) fn freeze(&self) {
        self.signal_all(Signal::SIGSTOP);
    }

    /// Goes on after `freeze`.
    pub(crate) fn thaw(&self) {
        self.signal_all(Signal::SIGCONT);
    }

    fn signal_all(&self, signal: Signal) {
        for pid in self.pid().into_iter().flat_map(|pid| [vec![pid], descendants(pid)].concat()) {
            send(pid, signal);
        }
    }

    /// Ends the server with `signal` and waits for its end.
    pub(crate) fn end(&mut self, signal: Signal) {
        self.thaw();
        if let Some(pid) = self.pid() {
            send(pid, signal);
        }
        let _ = self.guard.wait();
    }

    /// Waits until the server accepts connections; panics if it ends or takes too long.
    pub(crate) fn accepts(&mut self, address: SocketAddr, folder: &Path) {
        let end = Instant::now() + PATIENCE;
        while !listens(address) {
            let log = || std::fs::read_to_string(folder.join("server.log")).unwrap_or_default();
            assert!(self.guard.try_wait().is_ok_and(|ended| ended.is_none()), "the server ended: {}", log());
            assert!(Instant::now() < end, "the server does not listen on {address}: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn send(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// Whether somebody accepts connections there.
pub(crate) fn listens(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

/// A port of 127.0.0.1 that nobody listens on, to be listened on soon. Below those that the system gives to whoever
/// connects or asks for port 0: one of these could be gone by then. Each process has a stretch of its own.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const STRETCH: u16 = 32;
    const STRETCHES: u32 = 700;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = FIRST + (std::process::id() % STRETCHES) as u16 * STRETCH;
    let mut tries = (0..STRETCH).map(|_| first + NEXT.fetch_add(1, Ordering::Relaxed) % STRETCH);
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    tries.find(free).expect("a free port")
}
