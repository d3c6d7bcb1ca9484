//! A Redis server of one test, to be killed, frozen or flushed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::canary;
use crate::guarded::{Guarded, free_port};
use crate::packages::skipped;

/// A server that keeps nothing on disk. Ends with the test.
#[derive(Debug)]
pub struct Redis {
    server: Guarded,
    port: u16,
    folder: TempDir,
}

impl Redis {
    /// Starts one; `None`, said aloud, if `SKIP` holds `redis`.
    pub fn start() -> Option<Self> {
        if skipped("redis") {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("gatehouse-redis-").tempdir().expect("a folder");
        let port = free_port();
        Some(Self { server: serve(&folder, port), port, folder })
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Kills the server; all that it knew is gone.
    pub fn kill(&mut self) {
        self.server.end(Signal::SIGKILL);
    }

    /// Starts it again, empty, on the same port.
    pub fn restart(&mut self) {
        if self.server.runs() {
            self.kill();
        }
        self.server = serve(&self.folder, self.port);
    }

    /// Freezes it: connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.server.freeze();
    }

    /// Goes on after [`freeze`](Self::freeze).
    pub fn thaw(&self) {
        self.server.thaw();
    }

    /// Every key with what stands there, as Redis itself would write it to disk.
    pub fn dump(&self) -> Vec<u8> {
        self.ask(&["CONFIG", "SET", "rdbcompression", "no"]);
        self.ask(&["SAVE"]);
        std::fs::read(self.folder.path().join("dump.rdb")).expect("Redis writes its file")
    }

    /// Puts a text at a key.
    pub fn set(&self, key: &str, text: &str) {
        self.ask(&["SET", key, text]);
    }

    fn ask(&self, command: &[&str]) {
        let said = Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(command).output();
        assert!(said.as_ref().is_ok_and(|said| said.stdout.starts_with(b"OK")), "{command:?}: {said:?}");
    }

    /// Forgets everything.
    pub fn flush(&self) {
        self.ask(&["FLUSHALL"]);
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if !self.server.runs() {
            return;
        }
        let mut dump = Vec::new();
        if !std::thread::panicking() {
            self.thaw();
            dump = self.dump();
        }
        self.server.end(Signal::SIGKILL);
        canary::none_in("Redis", &dump);
    }
}

fn serve(folder: &TempDir, port: u16) -> Guarded {
    let found = std::env::var_os("PATH")
        .and_then(|path| std::env::split_paths(&path).map(|dir| dir.join("redis-server")).find(|path| path.exists()));
    let program: PathBuf = found.expect("`redis-server` is missing: run tests/setup.sh, or skip it with SKIP=redis");
    let mut redis = Command::new(program);
    redis.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]);
    redis.arg(folder.path());
    let mut server = Guarded::start(std::process::id(), folder.path(), None, &mut redis);
    server.accepts(SocketAddr::from(([127, 0, 0, 1], port)), folder.path());
    server
}
