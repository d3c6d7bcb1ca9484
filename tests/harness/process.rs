//! Processes as /proc shows them: alive, gone, whose child, how much memory.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::eventually;

/// Whether the process runs. A zombie is gone: it holds nothing any more.
pub fn runs(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

/// `kill -9`; a process that is gone already is no error.
pub fn kill_now(pid: u32) {
    signal(pid, Signal::SIGKILL);
}

/// Asks the process to end.
pub fn ask_to_end(pid: u32) {
    signal(pid, Signal::SIGTERM);
}

/// Stops the process in its tracks: it holds its ports and connections and answers nothing.
pub fn freeze(pid: u32) {
    signal(pid, Signal::SIGSTOP);
}

/// Goes on after [`freeze`].
pub fn thaw(pid: u32) {
    signal(pid, Signal::SIGCONT);
}

fn signal(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

/// Waits until the process is seen gone.
pub async fn gone(pid: u32) {
    eventually(&format!("process {pid} is gone"), || async move { (!runs(pid)).then_some(()) }).await;
}

/// Every running process below `pid`, at any depth.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let all: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|pid| Some((pid, stat(pid)?.1)))
        .collect();
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        found.extend(all.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.remove(0);
    found
}

/// Resident memory in KiB; 0 when the process is gone.
pub fn resident_kib(pid: u32) -> u64 {
    field(pid, "VmRSS:")
}

/// The most memory that the process ever had resident, in KiB; 0 when it is gone.
pub fn peak_kib(pid: u32) -> u64 {
    field(pid, "VmHWM:")
}

/// Makes a file one that may be run.
pub fn may_run(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("our own file");
}

fn field(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    line.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// State letter and parent of a process.
fn stat(pid: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut rest = stat.rsplit_once(')')?.1.split_whitespace();
    let state = rest.next()?.chars().next()?;
    Some((state, rest.next()?.parse().ok()?))
}
