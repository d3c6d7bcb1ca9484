//! A line on standard error while something takes longer than a second, for people at a terminal.

use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, interval_at};

/// Nothing is said before this has passed, and then as often.
const STEP: Duration = Duration::from_secs(1);

/// Runs `work`; from the first second on says what is waited for and since when. The line is wiped
/// when the work ends. Pipes and files see nothing.
pub(crate) async fn during<T>(what: &str, work: impl Future<Output = T>) -> T {
    if !io::stderr().is_terminal() {
        return work.await;
    }
    let begun = Instant::now();
    let mut ticks = interval_at(begun + STEP, STEP);
    let mut work = pin!(work);
    let mut said = false;
    loop {
        tokio::select! {
            done = &mut work => {
                if said {
                    say("\r\x1b[K");
                }
                return done;
            }
            _ = ticks.tick() => {
                said = true;
                say(&format!("\r\x1b[K{what} … {} s", begun.elapsed().as_secs()));
            }
        }
    }
}

/// A progress line that can't be written is no reason to stop.
fn say(text: &str) {
    let mut err = io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}
