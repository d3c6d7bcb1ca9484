//! A key out of a variable, and a process that begins anew without it: what a process was started with stays readable in
//! its environment's list for as long as it lives, whatever it removes.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use zeroize::Zeroizing;

/// Bytes of the text that are read; 32 bytes in base64 have 44.
const MOST: u64 = 128;

/// What the variable holds, or the descriptor that the variable with `_FD` behind its name holds the number of.
pub(super) fn read(name: &str) -> Option<Zeroizing<String>> {
    if let Ok(text) = std::env::var(name) {
        return Some(Zeroizing::new(text));
    }
    let number: i32 = std::env::var(descriptor(name)).ok()?.parse().ok()?;
    let mut text = Zeroizing::new(String::with_capacity(MOST as usize));
    let read = File::open(format!("/dev/fd/{number}")).and_then(|file| file.take(MOST).read_to_string(&mut text));
    if let Err(error) = nix::unistd::close(number) {
        tracing::warn!(%error, "the descriptor of a key can't be closed");
    }
    match read {
        Ok(_) => Some(text),
        Err(error) => {
            tracing::warn!(%error, "the descriptor of a key can't be read");
            None
        }
    }
}

/// Begins this process anew if the variable is there; does not come back then, but for an error.
pub(super) fn over(name: &str) -> io::Result<()> {
    let Ok(text) = std::env::var(name) else { return Ok(()) };
    let text = Zeroizing::new(text);
    // Without the flag that closes at an exec: the reading end goes along. The text is far shorter than a pipe holds.
    let (reading, writing) = nix::unistd::pipe().map_err(io::Error::from)?;
    let mut writing = File::from(writing);
    writing.write_all(text.as_bytes())?;
    drop(writing);
    let mut arguments = std::env::args_os();
    let program = std::env::current_exe()?;
    let mut command = Command::new(program);
    if let Some(own) = arguments.next() {
        command.arg0(own);
    }
    Err(command.args(arguments).env_remove(name).env(descriptor(name), reading.as_raw_fd().to_string()).exec())
}

fn descriptor(name: &str) -> String {
    format!("{name}_FD")
}
