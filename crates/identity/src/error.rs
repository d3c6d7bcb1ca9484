//! Why a token, a key set or a signing key is refused. Nothing here holds text of a token.

/// Why a token is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a signed JWT in the compact form, or one that two readers could read differently.
    #[error("not a well-formed token")]
    Malformed,
    /// Longer than [`crate::MAX_TOKEN`].
    #[error("the token is too long")]
    TooLong,
    /// A token for something else: an ID token where an access token belongs, or the other way round.
    #[error("a token of another type")]
    Type,
    /// Not one of the algorithms that are allowed for it.
    #[error("the token is signed with an algorithm that is not allowed")]
    Algorithm,
    /// No key that may be trusted now, or not exactly one, is the one that it names.
    #[error("the token's key is not known")]
    UnknownKey,
    /// The signature is not one of the key.
    #[error("the token's signature is wrong")]
    Signature,
    /// Of somebody else.
    #[error("the token is of another issuer")]
    Issuer,
    /// For somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYet,
    /// This claim is missing or is not what it should be.
    #[error("the token's claim `{0}` is missing or wrong")]
    Claim(&'static str),
    /// The token is good but lacks this scope.
    #[error("the token lacks the scope `{0}`")]
    Scope(String),
}

/// Why a JSON Web Key Set is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Longer than [`crate::MAX_KEY_SET`].
    #[error("the key set is longer than 64 KiB")]
    TooLong,
    /// No JSON Web Key Set.
    #[error("not a JSON Web Key Set")]
    Malformed,
    /// More than [`crate::MAX_KEYS`] keys that could verify something.
    #[error("the key set has more than 32 keys")]
    TooMany,
}

/// Why there is no signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    /// The machine gives no random numbers.
    #[error("no random numbers")]
    Random,
    /// Not an Ed25519 key in PKCS #8.
    #[error("not an Ed25519 key in PKCS #8")]
    Key,
}
