//! One newtype for each kind of id, so that two of them can't be swapped.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// A text that is not an id of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind} id")]
pub struct IdError {
    /// Which kind of id was expected.
    pub kind: &'static str,
}

macro_rules! uuid_ids {
    ($($(#[$doc:meta])* $name:ident $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A fresh id: UUID version 7, so that ids sort by the time of their making.
            pub fn fresh() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($kind, ":{}"), self.0.hyphenated())
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Uuid::parse_str(text).map(Self).map_err(|_| IdError { kind: $kind })
            }
        }
    )*};
}

uuid_ids! {
    /// A tenant: the isolation boundary.
    TenantId "tenant";
    /// A server: the record an admin manages.
    ServerId "server";
    /// A user inside a tenant.
    UserId "user";
    /// A department inside a tenant.
    DepartmentId "department";
    /// A rule of the address policy.
    EgressRuleId "egress rule";
    /// An identity provider of a tenant.
    IssuerId "issuer";
    /// A key under which control signs tokens.
    SignerId "signer";
    /// What a user has let a client do: everything between a consent and its revocation.
    GrantId "grant";
    /// A session of somebody who signed in with a browser.
    SessionId "session";
    /// A credential bound to a server and whom it is for.
    ConnectionId "connection";
    /// A selection of tools over several servers.
    ToolsetId "toolset";
}

/// The public part of a key: 16 characters of base62, by which it is looked up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 16]);

impl KeyId {
    /// The id that these bytes have as hexadecimal digits.
    pub fn of_hex(bytes: [u8; 8]) -> Self {
        let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
        let digits = bytes.into_iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
        let mut id = [0; 16];
        id.iter_mut().zip(digits).for_each(|(to, digit)| *to = digit);
        Self(id)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for KeyId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes: [u8; 16] = text.as_bytes().try_into().map_err(|_| IdError { kind: "key" })?;
        if bytes.iter().all(u8::is_ascii_alphanumeric) { Ok(Self(bytes)) } else { Err(IdError { kind: "key" }) }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key:{}", self.as_str())
    }
}

/// Counter of one record; every change of the record raises it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Generation(pub i64);

/// Position of the whole intended state. A higher epoch beats any seq of a lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Revision {
    /// Microseconds at the first migration; raised when a database was restored from a backup.
    pub epoch: i64,
    /// Raised by one in the same transaction as every change of intended state.
    pub seq: i64,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.seq)
    }
}
