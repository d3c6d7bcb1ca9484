//! The `gatehouse` command as somebody types it.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use tests::Gatehouse;
use tests::gatehouse::executable;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// A shell beside a house.
pub(crate) struct Shell {
    dir: PathBuf,
    key: Option<String>,
    url: Option<String>,
    admin_key: String,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Shell {
    /// Somebody with the folder of this house.
    pub(crate) fn of(house: &Gatehouse) -> Self {
        Self { dir: house.dir().to_owned(), key: None, url: None, admin_key: house.admin_key().to_owned() }
    }

    /// Somebody elsewhere, with a key of this house.
    pub(crate) fn with_key(house: &Gatehouse, key: &str) -> Self {
        let dir = house.dir().join("elsewhere");
        Self { dir, key: Some(key.to_owned()), url: Some(house.control().to_owned()), ..Self::of(house) }
    }

    /// Runs what is typed, with `input` on standard input.
    pub(crate) async fn run_with(&self, args: &[&str], input: &str) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_owned();
        // A command that ends before it has read everything is no fault of the test.
        let written = tokio::spawn(async move { stdin.write_all(input.as_bytes()).await.ok() });
        let output = tests::patient("the command ends", child.wait_with_output()).await.unwrap();
        written.abort();
        let ran = Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        let printed = ran.stdout.contains(&self.admin_key) || ran.stderr.contains(&self.admin_key);
        assert!(!printed, "{args:?} prints the admin's key");
        ran
    }

    /// Runs what is typed while somebody reads what it prints, both streams, in this file.
    pub(crate) async fn run_into(&self, args: &[&str], file: &std::path::Path) -> Ran {
        let mut command = self.command(args);
        let open = || std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
        command.stdin(Stdio::null()).stdout(open()).stderr(open()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let status = tests::patient("the command ends", child.wait()).await.unwrap();
        let printed = std::fs::read_to_string(file).unwrap();
        Ran { code: status.code().unwrap_or(-1), stdout: printed, stderr: String::new() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(executable("gatehouse"));
        command.args(args).arg("--data-dir").arg(&self.dir).env_remove("GATEHOUSE_URL").env_remove("GATEHOUSE_KEY");
        command.envs(self.key.iter().map(|key| ("GATEHOUSE_KEY", key)));
        command.envs(self.url.iter().map(|url| ("GATEHOUSE_URL", url)));
        command
    }

    /// Runs what is typed.
    pub(crate) async fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, "").await
    }

    /// Runs what is typed and must succeed; what it printed for people.
    pub(crate) async fn told(&self, args: &[&str]) -> String {
        let ran = self.run(args).await;
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
        ran.stdout
    }

    /// Runs what is typed with `--json`; the exit code and the document.
    pub(crate) async fn json(&self, args: &[&str]) -> (i32, Value) {
        let ran = self.run(&[args, &["--json"]].concat()).await;
        let document = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| json!(format!("{ran:?}")));
        (ran.code, document)
    }

    /// Runs what is typed with `--json` and must succeed; the document.
    pub(crate) async fn done(&self, args: &[&str]) -> Value {
        let (code, document) = self.json(args).await;
        assert_eq!(code, 0, "{args:?}: {document}");
        document
    }

    /// Runs what is typed and must fail with this code; what it said.
    pub(crate) async fn fails(&self, code: i32, args: &[&str]) -> String {
        let ran = self.run(args).await;
        assert_eq!(ran.code, code, "{args:?}: {ran:?}");
        ran.stderr
    }
}
