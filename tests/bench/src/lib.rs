//! What the programs of the bench share: one clock, one line that says "ready", one way to end.
//!
//! `bench` drives and measures; `bench-upstream` plays the remote MCP servers; `bench-bare` is the
//! baseline; `bench-gate` is Gatehouse's data plane on a fixed table; `bench-fleet` plays proxies for a
//! real control. The driver starts the others,
//! reads one line of JSON from each, and keeps their standard input open: when it ends, they end.

use std::io::{Read as _, Write as _};

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of the monotonic clock, which all processes of one machine share.
pub fn now_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |time| time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

/// Prints the one line that the driver waits for.
pub fn announce(ready: &serde_json::Value) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{ready}")?;
    out.flush()
}

/// Ends this process as soon as its standard input does, so that no child outlives the driver.
pub fn end_with_the_driver() {
    std::thread::spawn(|| {
        let mut nothing = [0; 64];
        while matches!(std::io::stdin().read(&mut nothing), Ok(read) if read > 0) {}
        std::process::exit(0);
    });
}
