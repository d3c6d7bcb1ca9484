//! How full the queues of the link are, whichever stream is open.

use std::sync::{Arc, Mutex, PoisonError};

use telemetry::Metrics;
use tokio::sync::mpsc::{Sender, WeakSender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire::frame::ProxyFrame;

/// Messages that wait to be sent. More than all commands and answers together, so a full queue
/// means a stream that has stopped moving.
pub(super) const OUTGOING: usize = 256;
/// Commands done at once; more are refused.
const COMMANDS: usize = 64;

/// The queues of one link. Cloning gives another handle to the same.
#[derive(Clone)]
pub(crate) struct Queues {
    commands: Arc<Semaphore>,
    outgoing: Arc<Mutex<Option<WeakSender<ProxyFrame>>>>,
}

impl Default for Queues {
    fn default() -> Self {
        Self { commands: Arc::new(Semaphore::new(COMMANDS)), outgoing: Arc::default() }
    }
}

impl Queues {
    /// Shows them in the metrics of the process.
    pub(crate) fn show(&self, metrics: &Metrics) {
        let queues = self.clone();
        metrics
            .bound("link_commands", COMMANDS as u64, move || (COMMANDS - queues.commands.available_permits()) as u64);
        let queues = self.clone();
        metrics.bound("link_messages", OUTGOING as u64, move || queues.waiting());
    }

    /// A stream begins, whose messages wait here.
    pub(super) fn begun(&self, outgoing: &Sender<ProxyFrame>) {
        *self.outgoing.lock().unwrap_or_else(PoisonError::into_inner) = Some(outgoing.downgrade());
    }

    /// A place for one more command; `None` if there are too many.
    pub(super) fn command(&self) -> Option<OwnedSemaphorePermit> {
        self.commands.clone().try_acquire_owned().ok()
    }

    /// Messages that wait; 0 between two streams.
    fn waiting(&self) -> u64 {
        let outgoing = self.outgoing.lock().unwrap_or_else(PoisonError::into_inner);
        let outgoing = outgoing.as_ref().and_then(WeakSender::upgrade);
        outgoing.map_or(0, |outgoing| (outgoing.max_capacity() - outgoing.capacity()) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_is_shown_as_long_as_the_stream_is_there() {
        let (queues, metrics) = (Queues::default(), Metrics::new());
        queues.show(&metrics);
        let shown = |line: &str| metrics.render().contains(line);
        assert!(shown(r#"gatehouse_bound_used{bound="link_messages",server="",tenant=""} 0"#));
        let (outgoing, _sent) = tokio::sync::mpsc::channel(OUTGOING);
        queues.begun(&outgoing);
        outgoing.try_send(wire::FromProxy::Goodbye.into()).unwrap();
        let _running = queues.command().unwrap();
        assert!(shown(r#"gatehouse_bound_used{bound="link_messages",server="",tenant=""} 1"#));
        assert!(shown(r#"gatehouse_bound_limit{bound="link_messages",server="",tenant=""} 256"#));
        assert!(shown(r#"gatehouse_bound_used{bound="link_commands",server="",tenant=""} 1"#));
        drop(outgoing);
        assert!(shown(r#"gatehouse_bound_used{bound="link_messages",server="",tenant=""} 0"#));
    }
}
