//! Requests of upstreams to clients (elicitation, sampling, roots) that wait for an answer.

use crate::gate::Gate;
use crate::relay::Asked;

impl Gate {
    /// A client answers a question. Answers to nothing are dropped.
    pub(crate) async fn answered_by_client(&self, asked: &Asked<'_>) {
        tracing::debug!(session = ?asked.session.uid, "an answer to no question");
    }
}
