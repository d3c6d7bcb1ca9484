//! Upstreams of 2026-07-28: every request carries its revision, its capabilities and the headers that repeat its body.

use std::sync::Arc;

use super::Failure;
use super::http::Answer;
use crate::client::Capabilities;
use crate::credentials::Lines;
use crate::table::Mount;

/// How a stateless upstream is spoken with.
#[derive(Clone, Default)]
pub(crate) struct Stateless {
    /// What is declared with each request.
    pub(crate) capabilities: Capabilities,
    /// What a request bears.
    pub(crate) lines: Option<Arc<Lines>>,
}

impl Stateless {
    /// The same for a request that bears these lines.
    pub(super) fn bearing(&self, lines: Option<&Arc<Lines>>) -> Self {
        Self { lines: lines.cloned(), ..self.clone() }
    }

    /// Asks on the gateway's own behalf.
    pub(super) async fn ask(&self, _mount: &Mount, _id: u64, _method: &str, _params: &[u8]) -> Result<Answer, Failure> {
        Err(Failure::OtherEra)
    }
}
