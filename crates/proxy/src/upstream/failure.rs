//! Why an upstream gave no answer, and what that means: for its cooldown, for another try, for who asks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use egress::{EgressError, Sent};
use wire::Challenge;

use super::challenge;
use crate::credentials::NoCredential;

/// Why an upstream gave no answer.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// The way there or back failed.
    Egress(Arc<EgressError>),
    /// The upstream does not know our session any more; it did nothing with the request.
    SessionLost,
    /// 401 or 403.
    Unauthorized(Arc<Refusal>),
    /// The caller has no credential for it, or none that can be used: it was not asked, or refused the one there was.
    NoCredential(Arc<NoCredential>),
    /// Another status that is no success, with the JSON-RPC error of its body, if it had one.
    Status { status: u16, retry_after: Option<Duration>, error: Option<Bytes> },
    /// It wanted us to go elsewhere.
    Redirected,
    /// Something that is no answer.
    BadResponse(&'static str),
    /// More than allowed.
    TooLarge,
    /// Nothing within the whole time of a call.
    Deadline,
    /// It is left alone for a while.
    Cooling(Duration),
    /// It does not speak the era in which it was spoken to; it did nothing with the request.
    OtherEra,
    /// All its places and those in the queue are taken.
    Busy,
    /// The client wants no answer any more.
    Cancelled,
}

impl From<EgressError> for Failure {
    fn from(error: EgressError) -> Self {
        Self::Egress(Arc::new(error))
    }
}

impl Failure {
    /// Whether the transport failed (answers that were not liked are no failures of it), and if so,
    /// whether not even a connection came about.
    pub(crate) fn strikes(&self) -> Option<bool> {
        match self {
            Self::Egress(error) => match &**error {
                EgressError::Blocked(_) | EgressError::Target | EgressError::TooLarge => None,
                error => Some(error.sent() == Sent::No && !matches!(error, EgressError::Closed(_))),
            },
            Self::Status { status: 500.., .. } | Self::BadResponse(_) | Self::Deadline => Some(false),
            _ => None,
        }
    }

    /// Whether it may be that the upstream refused a client certificate: in TLS 1.3 it does so after the handshake, by
    /// closing the connection.
    pub(crate) fn may_be_a_certificates(&self) -> bool {
        matches!(self, Self::Egress(error) if matches!(**error, EgressError::Tls(_) | EgressError::Closed(_)))
    }

    /// Whether the upstream was too slow: it may still be at work.
    pub(crate) fn is_late(&self) -> bool {
        match self {
            Self::Deadline => true,
            Self::Egress(error) => matches!(**error, EgressError::FirstByteTimeout),
            _ => false,
        }
    }

    /// Whether the upstream may have acted on the request all the same.
    pub(crate) fn may_have_acted(&self) -> bool {
        match self {
            Self::Egress(error) => error.sent() == Sent::Maybe,
            Self::Status { status: 500.., .. } | Self::BadResponse(_) | Self::TooLarge | Self::Deadline => true,
            _ => false,
        }
    }

    /// Whether the next try may go better. `safe`: the request may be executed twice.
    pub(crate) fn may_be_tried_again(&self, safe: bool) -> bool {
        match self {
            Self::Egress(error) => match &**error {
                EgressError::Blocked(_) | EgressError::Target | EgressError::TooLarge => false,
                error => safe || error.sent() == Sent::No,
            },
            Self::Status { status: 500.., .. } => safe,
            _ => false,
        }
    }

    /// The class, for admins; those of [`crate::CommandFailure`].
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::Egress(error) => error.class(),
            Self::Unauthorized(_) | Self::NoCredential(_) => "auth",
            Self::Status { status: 404 | 405, .. } => "not_found",
            Self::Redirected => "address_blocked",
            Self::Deadline => "timeout",
            Self::SessionLost | Self::OtherEra | Self::Status { .. } | Self::BadResponse(_) | Self::TooLarge => {
                "protocol"
            }
            Self::Cooling(_) | Self::Busy | Self::Cancelled => "other",
        }
    }
}

/// How an upstream refused a request for the sake of its credential, or for want of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) challenge: Challenge,
    /// The JSON-RPC error of the answer, if it had one.
    pub(crate) error: Option<Bytes>,
}

impl Refusal {
    /// Whether the credential is good, and not for this.
    pub(crate) fn is_insufficient_scope(&self) -> bool {
        self.challenge.status == 403 && self.challenge.error.as_deref() == Some("insufficient_scope")
    }

    /// A 401 that came as a JSON-RPC error: only where it says so without doubt.
    pub(crate) fn folded(error: &[u8]) -> Option<Self> {
        challenge::folded(error).map(|challenge| Self { challenge, error: None })
    }
}
