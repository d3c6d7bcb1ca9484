//! PostgreSQL for tests: one server that all tests of a run share, a database of its own for each; and
//! servers that one test has for itself, to stop, freeze or fill up.
//!
//! The programs are Debian's, the data lie below the system's folder for temporary files. PostgreSQL refuses
//! to run as root, so for root it runs as the package's user `postgres`.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::{CommandExt as _, parent_id};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use nix::unistd::{User, geteuid};
use tempfile::TempDir;

use crate::canary;
use crate::guarded::{Guarded, free_port, listens};
use crate::packages::skipped;
use crate::patience::PATIENCE;

/// A server of one test. Ends with it.
#[derive(Debug)]
pub struct Postgres {
    server: Guarded,
    port: u16,
    small: Option<SmallDisk>,
    /// Dropped last: after the server has ended and its small disk is gone.
    folder: TempDir,
}

/// The address of a new, empty database on the server that all tests of this run share; `None`, said aloud,
/// if `SKIP` holds `postgres`.
pub fn database() -> Option<String> {
    if skipped("postgres") {
        return None;
    }
    let port = shared();
    let name = fresh_name();
    run(client("createdb", port).arg(&name));
    Some(url(port, &name))
}

fn fresh_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("t{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

fn url(port: u16, database: &str) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/{database}")
}

/// The port of the shared server. The first test that asks starts it; it lives as long as the runner that
/// started the tests.
fn shared() -> u16 {
    let runner = parent_id();
    let folder = std::env::temp_dir().join(format!("gatehouse-postgres-{runner}"));
    let file = File::create(folder.with_extension("lock")).expect("a lock file");
    let _lock = Flock::lock(file, FlockArg::LockExclusive).expect("the lock");
    let written = folder.join("port");
    let running = std::fs::read_to_string(&written).ok().and_then(|text| text.parse::<u16>().ok());
    if let Some(port) = running.filter(|port| listens(SocketAddr::from(([127, 0, 0, 1], *port)))) {
        return port;
    }
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).expect("a folder for the server");
    initialize(&folder);
    let port = free_port();
    let mut server = start(runner, &folder, port);
    ready(&mut server, &folder, port);
    std::fs::write(written, port.to_string()).expect("the port is written down");
    port
}

impl Postgres {
    /// A server with one empty database, `gatehouse`; `None`, said aloud, if `SKIP` holds `postgres`.
    pub fn start() -> Option<Self> {
        (!skipped("postgres")).then(|| Self::on(None))
    }

    /// The same with its database on a disk of `mebibytes`, which [`fill`](Self::fill) fills up. Needs root,
    /// who may mount one; for others it is skipped aloud.
    pub fn on_small_disk(mebibytes: u32) -> Option<Self> {
        if skipped("postgres") {
            return None;
        }
        if !geteuid().is_root() {
            eprintln!("skipped: a small disk can be mounted by root only");
            return None;
        }
        Some(Self::on(Some(mebibytes)))
    }

    fn on(small: Option<u32>) -> Self {
        let folder = tempfile::Builder::new().prefix("gatehouse-postgres-").tempdir().expect("a folder");
        initialize(folder.path());
        let port = free_port();
        let mut server = start(std::process::id(), folder.path(), port);
        ready(&mut server, folder.path(), port);
        let small = small.map(|mebibytes| SmallDisk::mount(&folder.path().join("small"), mebibytes));
        let postgres = Self { server, port, folder, small };
        let mut createdb = client("createdb", port);
        if let Some(disk) = &postgres.small {
            let place = disk.path.join("space");
            std::fs::create_dir(&place).expect("a folder on the small disk");
            give(&place);
            postgres.sql_in("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", place.display()));
            createdb.args(["--tablespace", "small"]);
        }
        run(createdb.arg("gatehouse"));
        postgres
    }

    /// The address of its database.
    pub fn url(&self) -> String {
        url(self.port, "gatehouse")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Ends the server at once, as a crash would; its data stay.
    pub fn stop(&mut self) {
        self.server.end(Signal::SIGQUIT);
    }

    /// Starts it again on the same port with the same data.
    pub fn restart(&mut self) {
        if self.server.runs() {
            self.stop();
        }
        self.server = start(std::process::id(), self.folder.path(), self.port);
        ready(&mut self.server, self.folder.path(), self.port);
    }

    /// Freezes every process of it: connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.server.freeze();
    }

    /// Goes on after [`freeze`](Self::freeze).
    pub fn thaw(&self) {
        self.server.thaw();
    }

    /// Fills the small disk to its last byte.
    pub fn fill(&self) {
        self.disk().fill();
    }

    /// Gives the filled space back.
    pub fn free(&self) {
        self.disk().free();
    }

    fn disk(&self) -> &SmallDisk {
        self.small.as_ref().expect("a server on a small disk")
    }

    /// What `psql` answers to statements in the database, without headings.
    pub fn sql(&self, statements: &str) -> String {
        self.sql_in("gatehouse", statements)
    }

    fn sql_in(&self, database: &str, statements: &str) -> String {
        let mut psql = client("psql", self.port);
        psql.args(["-v", "ON_ERROR_STOP=1", "-qtA", "-d", database, "-c", statements]);
        run(&mut psql)
    }

    /// Writes the database down as a backup would, to be read back by [`restore`](Self::restore).
    pub fn backup(&self) -> String {
        run(client("pg_dump", self.port).args(["--clean", "--if-exists", "-d", "gatehouse"]))
    }

    /// Puts a backup in the place of what the database holds, while nobody is connected to it.
    pub fn restore(&self, backup: &str) {
        let file = self.folder.path().join("backup.sql");
        std::fs::write(&file, backup).expect("the backup is written");
        let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'gatehouse'";
        self.sql_in("postgres", others);
        let mut psql = client("psql", self.port);
        run(psql.args(["-v", "ON_ERROR_STOP=1", "-q", "-1", "-d", "gatehouse", "-f"]).arg(&file));
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if !self.server.runs() {
            return;
        }
        let mut dump = Vec::new();
        if !std::thread::panicking() {
            self.thaw();
            // A test may leave a database behind that can't be read; what can is searched.
            let dumped = client("pg_dump", self.port).args(["-d", "gatehouse"]).output();
            dump = dumped.map(|output| output.stdout).unwrap_or_default();
        }
        self.server.end(Signal::SIGQUIT);
        canary::none_in("the database", &dump);
    }
}

/// A disk in memory that is full soon.
#[derive(Debug)]
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    fn mount(path: &Path, mebibytes: u32) -> Self {
        std::fs::create_dir(path).expect("a folder to mount on");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"]).arg(path));
        give(path);
        Self { path: path.to_owned() }
    }

    fn fill(&self) {
        let mut file = File::create(self.path.join("full")).expect("a file that fills");
        let zeros = [0; 4096];
        while std::io::Write::write_all(&mut file, &zeros).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.path.join("full")).expect("the file that fills");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).stderr(Stdio::null()).status();
    }
}

/// The user that PostgreSQL runs as, where it is not ours.
fn user() -> Option<(u32, u32)> {
    geteuid().is_root().then(|| {
        let user = User::from_name("postgres").expect("the system's users").expect("the user `postgres`");
        (user.uid.as_raw(), user.gid.as_raw())
    })
}

fn give(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("permissions");
    if let Some((user, group)) = user() {
        chown(path, Some(user), Some(group)).expect("the folder changes hands");
    }
}

/// A program of PostgreSQL: Debian keeps the server's out of the path, one folder for each version.
fn program(name: &str) -> PathBuf {
    let mut folders: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin").join(name))))
        .filter(|(_, path)| path.exists())
        .collect();
    folders.sort();
    let in_path =
        || std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.exists());
    let found = folders.pop().map(|(_, path)| path).or_else(in_path);
    found.unwrap_or_else(|| {
        panic!("PostgreSQL's `{name}` is missing: run tests/setup.sh, or skip it with SKIP=postgres")
    })
}

/// Without fsync: what tests kill is the server, not the machine.
fn initialize(folder: &Path) {
    give(folder);
    let mut initdb = Command::new(program("initdb"));
    initdb.arg("-D").arg(folder.join("data")).args(["-A", "trust", "-U", "postgres", "-E", "UTF8"]);
    initdb.args(["--locale=C.UTF-8", "--no-sync"]).current_dir("/");
    if let Some((user, group)) = user() {
        initdb.uid(user).gid(group);
    }
    run(&mut initdb);
}

fn start(watched: u32, folder: &Path, port: u16) -> Guarded {
    let mut postgres = Command::new(program("postgres"));
    postgres.arg("-D").arg(folder.join("data"));
    for setting in [
        &format!("port={port}"),
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "fsync=off",
        "full_page_writes=off",
        "max_connections=300",
        "shared_buffers=32MB",
    ] {
        postgres.args(["-c", setting]);
    }
    Guarded::start(watched, folder, user(), &mut postgres)
}

/// Listening is not enough: it must have recovered too.
fn ready(server: &mut Guarded, folder: &Path, port: u16) {
    server.accepts(SocketAddr::from(([127, 0, 0, 1], port)), folder);
    let end = Instant::now() + PATIENCE;
    while !client("pg_isready", port).stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        assert!(Instant::now() < end, "PostgreSQL does not become ready");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn client(name: &str, port: u16) -> Command {
    let mut command = Command::new(program(name));
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", "postgres"]);
    command
}

fn run(command: &mut Command) -> String {
    let done = command.stdin(Stdio::null()).output().expect("the program starts");
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
}
