//! The spans of commands: each goes on with the trace of whoever asked control.

use telemetry::trace::{self, Span};
use wire::{Outcome, Work};

/// The span of a command that came with this context.
pub(super) fn command(traceparent: Option<&str>, work: &Work) -> Span {
    let span = trace::server(traceparent, None);
    span.describe(|span| span.name(&format!("command {}", work.as_str())));
    span
}

/// It is done.
pub(super) fn ended(span: Span, outcome: &Outcome) {
    if let Outcome::Failed { class, .. } = outcome {
        span.describe(|span| span.failed(class));
    }
}
