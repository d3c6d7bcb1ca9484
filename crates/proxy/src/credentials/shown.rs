//! What a caller has shown, as far as control may ask for it: made into evidence only when header lines are asked for.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use identity::evidence::{Lease, sign};
use model::{ConnectionId, KeyText, Principal, Secret, ServerId};
use sha2::{Digest as _, Sha256};
use wire::{Evidence, KeyEvidence};

/// What stands behind a request.
#[derive(Clone, Default)]
pub(crate) enum Shown {
    /// The `Authorization` header of the request.
    Header(HeaderValue),
    /// The ticket of a command, and whom control made it for.
    Ticket(Arc<(String, Principal)>),
    /// Nothing: whatever is asked for in the background.
    #[default]
    Nothing,
}

/// The same, borrowed: a request that needs no new header lines clones nothing.
#[derive(Clone, Copy, Default)]
pub(crate) enum Showing<'a> {
    /// The `Authorization` header of the request.
    Header(&'a HeaderValue),
    /// Something that is kept.
    Kept(&'a Shown),
    /// Nothing.
    #[default]
    Nothing,
}

impl Showing<'_> {
    /// To be kept for as long as the request takes.
    pub(crate) fn kept(self) -> Shown {
        match self {
            Self::Header(header) => {
                let mut header = header.clone();
                header.set_sensitive(true);
                Shown::Header(header)
            }
            Self::Kept(shown) => shown.clone(),
            Self::Nothing => Shown::Nothing,
        }
    }

    /// SHA-256 of the token, if a token was shown.
    pub(super) fn token_digest(self) -> Option<[u8; 32]> {
        let header = match self {
            Self::Header(header) | Self::Kept(Shown::Header(header)) => header,
            Self::Kept(_) | Self::Nothing => return None,
        };
        bearer(header).filter(|bearer| !is_key(bearer)).map(|bearer| Sha256::digest(bearer).into())
    }
}

/// The question that evidence is made for.
pub(super) struct About<'a> {
    pub(super) node: &'a str,
    pub(super) principal: &'a Principal,
    pub(super) server: ServerId,
    pub(super) connection: Option<ConnectionId>,
    /// Microseconds since 1970.
    pub(super) at: i64,
}

impl Shown {
    /// Whom control made a ticket for.
    pub(super) fn principal(&self) -> Option<&Principal> {
        match self {
            Self::Ticket(ticket) => Some(&ticket.1),
            Self::Header(_) | Self::Nothing => None,
        }
    }

    /// That a live caller stands behind a question.
    pub(super) fn evidence(&self, about: &About<'_>) -> Evidence {
        match self {
            Self::Nothing => Evidence::None,
            Self::Ticket(ticket) => Evidence::Ticket(ticket.0.clone()),
            Self::Header(header) => match bearer(header) {
                Some(bearer) if is_key(bearer) => by_key(bearer, about).unwrap_or(Evidence::None),
                Some(bearer) => Evidence::Token(Secret::new(bearer.to_owned())),
                None => Evidence::None,
            },
        }
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header(_) => "a header",
            Self::Ticket(_) => "a ticket",
            Self::Nothing => "nothing",
        })
    }
}

/// What authentication has read already; it takes nothing else than one bearer.
fn bearer(header: &HeaderValue) -> Option<&str> {
    header.to_str().ok()?.split_once(' ').map(|(_, bearer)| bearer.trim())
}

fn is_key(bearer: &str) -> bool {
    bearer.starts_with("ghk_")
}

fn by_key(bearer: &str, about: &About<'_>) -> Option<Evidence> {
    let key: KeyText = bearer.parse().ok()?;
    let nonce = uuid::Uuid::new_v4().into_bytes();
    let lease = Lease {
        node: about.node,
        tenant: about.principal.tenant,
        key: key.id(),
        user: about.principal.user,
        server: about.server,
        connection: about.connection,
        at: about.at,
        nonce,
    };
    let evidence = zeroize::Zeroizing::new(key.evidence());
    Some(Evidence::Key(KeyEvidence { at: about.at, nonce, mac: sign(&evidence, &lease) }))
}
