//! What can go wrong on the way out, whose fault it is, and whether the upstream may have seen the request.

use std::io;

use crate::Refusal;

/// Why there is no response, or no more of it. Never shows an address.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The address policy says no.
    #[error("blocked by the address policy")]
    Blocked(#[source] Refusal),
    /// The request's URI is not a path with an optional query: a mistake of the caller.
    #[error("the request target must be a path")]
    Target,
    /// The name has no address, or the resolver didn't answer in time.
    #[error("the host name could not be resolved")]
    Resolve,
    /// Nobody listens there.
    #[error("connection refused")]
    Refused,
    /// No connection within the limit.
    #[error("timed out while connecting")]
    ConnectTimeout,
    /// The connection couldn't be made for another reason.
    #[error("could not connect")]
    Unreachable(io::ErrorKind),
    /// TLS could not be agreed on, or the certificate isn't valid for the name.
    #[error("TLS handshake failed")]
    Tls(#[source] io::Error),
    /// No head of a response within the limit.
    #[error("timed out while waiting for the response")]
    FirstByteTimeout,
    /// The connection ended before a response.
    #[error("the connection was closed before a response")]
    Closed(Sent),
    /// The connection ended in the middle of a body.
    #[error("the response body was cut short")]
    Truncated,
    /// What came back is not HTTP/1.1, or more than fits its bounds.
    #[error("the response is not valid HTTP")]
    Http,
    /// The body is larger than the caller takes.
    #[error("the response body is too large")]
    TooLarge,
}

/// Whether the upstream can have seen the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// No byte of it was written: sending it again repeats nothing.
    No,
    /// It may have been seen, and acted upon.
    Maybe,
}

impl EgressError {
    /// Whether the upstream can have seen the request.
    pub fn sent(&self) -> Sent {
        match self {
            Self::Blocked(_)
            | Self::Target
            | Self::Resolve
            | Self::Refused
            | Self::ConnectTimeout
            | Self::Unreachable(_)
            | Self::Tls(_) => Sent::No,
            Self::Closed(sent) => *sent,
            Self::FirstByteTimeout | Self::Truncated | Self::Http | Self::TooLarge => Sent::Maybe,
        }
    }

    /// The kind of failure, for error bodies, cooldown and counters.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Blocked(_) => "address_blocked",
            Self::Resolve => "dns",
            Self::Refused => "refused",
            Self::ConnectTimeout | Self::FirstByteTimeout => "timeout",
            Self::Tls(_) => "tls",
            Self::Http | Self::Truncated | Self::TooLarge => "protocol",
            Self::Target | Self::Unreachable(_) | Self::Closed(_) => "other",
        }
    }

    /// What a failed dial means.
    pub(crate) fn from_dial(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::ConnectTimeout,
            kind => Self::Unreachable(kind),
        }
    }

    /// What an error of hyper means after the request was handed over and before a response.
    pub(crate) fn from_head(error: &hyper::Error) -> Self {
        if error.is_parse() { Self::Http } else { Self::Closed(Sent::Maybe) }
    }

    /// What an error of hyper means inside a body.
    pub(crate) fn from_body(error: &hyper::Error) -> Self {
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            if let Some(io) = cause.downcast_ref::<io::Error>() {
                // hyper's decoder says so of chunks that make no sense.
                let garbled = matches!(io.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData);
                return if garbled { Self::Http } else { Self::Truncated };
            }
            source = cause.source();
        }
        if error.is_parse() { Self::Http } else { Self::Truncated }
    }
}

impl From<Refusal> for EgressError {
    fn from(refusal: Refusal) -> Self {
        Self::Blocked(refusal)
    }
}
