//! What became of one request to an upstream, told once by whoever finds out: the head of the answer,
//! its last byte, or the event that answers.
//!
//! The one place for whatever is measured of a call: [`Account::begin`] is reached when a request is
//! handed to the relay, [`Account::end`] exactly once with its outcome, and an account that is dropped
//! before that was of a client that went away.

use std::sync::Arc;
use std::time::Instant;

use telemetry::trace;

use crate::metrics::{Counters, Outcome};
use crate::table::Mount;
use crate::upstream::Failure;

/// How a request to an upstream ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ended<'a> {
    /// With a result.
    Answered,
    /// With a result that says of itself that the tool failed.
    ToolFailed,
    /// With a JSON-RPC error of the upstream's.
    Rejected,
    /// Without an answer, or with one that could not be passed on.
    Failed(&'a Failure),
    /// The client cancelled it.
    Cancelled,
}

/// One request to an upstream whose outcome is not known yet.
pub(crate) struct Account {
    mount: Arc<Mount>,
    counters: Arc<Counters>,
    begun: Instant,
    ended: bool,
}

impl Ended<'static> {
    /// An answer that came: whether it is an error, and if not, whether the tool failed.
    pub(crate) fn answered(rejected: bool, tool_failed: bool) -> Self {
        match (rejected, tool_failed) {
            (true, _) => Self::Rejected,
            (false, true) => Self::ToolFailed,
            (false, false) => Self::Answered,
        }
    }
}

impl Account {
    /// A request is about to be relayed to `mount`.
    pub(crate) fn begin(counters: &Arc<Counters>, mount: &Arc<Mount>) -> Self {
        trace::describe(|span| span.text("gatehouse.server", mount.name()));
        Self { mount: mount.clone(), counters: counters.clone(), begun: Instant::now(), ended: false }
    }

    /// Its outcome.
    pub(crate) fn end(mut self, ended: Ended<'_>) {
        let (outcome, word) = match ended {
            Ended::Answered => (Outcome::Ok, None),
            Ended::ToolFailed => (Outcome::ToolError, Some("tool_error")),
            Ended::Rejected => (Outcome::RpcError, Some("rpc_error")),
            Ended::Failed(failure) => {
                let class = class(failure);
                self.mount.series(&self.counters).failed(class);
                let (server, trace_id) = (self.mount.name(), trace::trace_id());
                tracing::debug!(server, class, trace_id, ?failure, "an upstream gave no answer");
                (Outcome::TransportError, Some(class))
            }
            Ended::Cancelled => (Outcome::Cancelled, Some("cancelled")),
        };
        if let Some(word) = word {
            trace::describe(|span| span.failed(word));
        }
        self.count(outcome);
    }

    fn count(&mut self, outcome: Outcome) {
        self.ended = true;
        self.mount.series(&self.counters).ended(outcome, self.begun.elapsed());
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if !self.ended {
            self.count(Outcome::Abandoned);
        }
    }
}

/// The class for counting: what the gateway did not even send has its own.
fn class(failure: &Failure) -> &'static str {
    match failure {
        Failure::Cooling(_) => "cooling",
        Failure::Busy => "busy",
        failure => failure.class(),
    }
}
