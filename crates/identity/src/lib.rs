//! Whose token is it: verifying and signing, the same on both planes. Pure: no IO, no clock.
//!
//! Begin with `compact`, which reads a token once and strictly: what is verified is what is read. Then `issued`, tokens
//! of a tenant's identity provider, and `own`, those that control signs.

mod compact;
mod error;
pub mod evidence;
mod issued;
mod json;
mod keys;
mod mapping;
mod own;
mod ring_provider;
mod signer;
mod times;

pub use self::compact::{Peek, peek};
pub use self::error::{KeySetError, SignerError, TokenError};
pub use self::issued::Verifier;
pub use self::keys::{KeyPrint, KeySet, MAX_KEY_SET, MAX_KEYS};
pub use self::mapping::{Issued, MAX_DEPARTMENT, MAX_DEPARTMENTS};
pub use self::own::{Audience, By, Claims, SCOPE, SignerKey, signer_of};
pub use self::signer::Signer;
pub use self::times::LEEWAY;

/// The claim `iss` of tokens that control signs. No issuer of a tenant can have it.
pub const OWN_ISSUER: &str = "urn:gatehouse";

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN: usize = 8 << 10;
