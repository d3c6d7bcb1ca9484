//! Requests of the stateless era (2026-07-28): told apart from those of sessions, checked, and served by the same steps.

use bytes::Bytes;
use http::HeaderMap;
use mcp::{Envelope, Params, Revision};

use crate::fault::Fault;
use crate::gate::Gate;
use crate::path::Target;
use crate::principal::Authenticated;
use crate::session::Session;
use crate::upstream::http::VERSION;

/// Whether a message is of the stateless era (protocol.md 1.4): what its `_meta` says, else its header.
pub(crate) fn is_stateless(headers: &HeaderMap, envelope: &Envelope) -> bool {
    envelope.params.as_ref().is_some_and(|params| params.meta_version.is_some())
        || headers.get(VERSION).is_some_and(|version| version == Revision::STATELESS.as_str())
}

impl Gate {
    /// What stands in for a session while this one request is served.
    pub(crate) fn stateless(
        &self,
        _who: &Authenticated,
        _target: Target<'_>,
        headers: &HeaderMap,
        message: &Bytes,
        envelope: &Envelope,
    ) -> Result<Session, Fault> {
        let in_body = envelope.params.as_ref().and_then(|params| Params::text(params.meta_version, message));
        let in_header = headers.get(VERSION).and_then(|version| version.to_str().ok());
        let requested = in_body.as_deref().or(in_header).unwrap_or_default();
        Err(Fault::Version { requested: requested.chars().take(32).collect() })
    }
}
