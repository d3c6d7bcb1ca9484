//! Why a login can't go on. What it says is for people; nothing of a body that somebody answered is in it but the codes
//! of OAuth.

use store::StoreError;

use super::metadata::MetadataError;
use crate::keyring::KeyringError;
use crate::outward::OutwardError;

/// Most of what an authorization server says that is kept and shown.
const MAX_SAID: usize = 300;

/// Why a login can't go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    /// Its settings don't say so.
    #[error("people don't sign in at this server: it takes a key or nothing (its auth type is not authorization_code)")]
    NotSupported,
    /// Something that must be asked for can't be had.
    #[error("{what} can't be had")]
    Fetch {
        /// What.
        what: &'static str,
        /// Why not.
        #[source]
        why: OutwardError,
    },
    /// A document is of no use.
    #[error("{0}")]
    Metadata(#[from] MetadataError),
    /// No document of an authorization server anywhere that it may stand.
    #[error("no authorization server was found: neither the server nor its origin publishes metadata of one")]
    NoMetadata,
    /// The server names none of those that the client was given for.
    #[error(
        "the server now names another authorization server than the one that the client id was given for; an admin \
         sets `issuer` and `client_id` in its auth settings"
    )]
    OtherServer,
    /// It registers nobody by itself.
    #[error("the authorization server registers no clients by itself: an admin sets `client_id` in the auth settings")]
    NoClient,
    /// It said no, or something else than yes.
    #[error("{}", told(.error, .description.as_deref()))]
    Refused {
        /// Its code.
        error: String,
        /// Its sentence.
        description: Option<String>,
    },
    /// The answer is no token.
    #[error("the authorization server's answer is no token")]
    NoToken,
    /// The server asks for what it was given.
    #[error("the server asks for the same scopes after every login: another one would not help")]
    Again,
    /// Somebody else stored another credential or signed in while this login ended.
    #[error("another login or credential was stored in the meantime; that one is used")]
    Superseded,
    /// An admin switched the connection off.
    #[error("this connection is disabled; an admin enables it")]
    Disabled,
    /// It took too long.
    #[error("the authorization server took too long")]
    Slow,
    /// A secret can't be sealed or opened.
    #[error("a secret can't be sealed or opened now")]
    Keyring(#[source] KeyringError),
    /// The database.
    #[error("the database can't be used now")]
    Store(#[from] StoreError),
    /// A fault of ours.
    #[error("a fault of this service")]
    Internal,
}

impl From<KeyringError> for LoginError {
    fn from(error: KeyringError) -> Self {
        Self::Keyring(error)
    }
}

impl LoginError {
    /// A refusal of a server, cut.
    pub(super) fn refused(error: &str, description: Option<&str>) -> Self {
        let cut = |text: &str| text.chars().filter(|letter| !letter.is_control()).take(MAX_SAID).collect::<String>();
        Self::Refused { error: cut(error), description: description.map(cut) }
    }

    /// A stable word for programs.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::NotSupported => "login_not_supported",
            Self::Refused { error, .. } if error == "access_denied" => "access_denied",
            Self::Superseded => "superseded",
            Self::Disabled => "disabled",
            Self::Keyring(_) => "sealed",
            Self::Store(_) => "database_unavailable",
            Self::Internal => "internal",
            _ => "oauth_failed",
        }
    }
}

fn told(error: &str, description: Option<&str>) -> String {
    match description {
        None => format!("the authorization server answered: {error}"),
        Some(text) => format!("the authorization server answered: {error}: {text}"),
    }
}
