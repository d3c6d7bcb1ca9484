//! What ends the process: SIGTERM, SIGINT, or the end of the pipe to the parent that started it.

use std::io::Read as _;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// With this variable standard input is a pipe whose end means that the parent is gone.
const PARENT_PIPE: &str = "GATEHOUSE_PARENT_PIPE";

/// A token that is cancelled when the process should end. A second signal ends it at once.
pub(crate) fn shutdown() -> Result<CancellationToken, std::io::Error> {
    let token = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let told = token.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => (),
                _ = interrupt.recv() => (),
            }
            if told.is_cancelled() {
                tracing::warn!("told twice: ending at once");
                std::process::exit(1);
            }
            told.cancel();
        }
    });
    if std::env::var_os(PARENT_PIPE).is_some() {
        let told = token.clone();
        // A thread of its own: a read from standard input can't be cancelled.
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            let mut input = std::io::stdin();
            while !matches!(input.read(&mut buffer), Ok(0) | Err(_)) {}
            told.cancel();
        });
    }
    Ok(token)
}
