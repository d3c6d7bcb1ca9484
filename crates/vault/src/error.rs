//! What can go wrong with a key file, a wrapped key or an envelope.

use std::path::PathBuf;

use model::TenantId;

/// Why the vault refused. No variant carries a byte of a key or of a plaintext.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The key file isn't there or can't be read.
    #[error("cannot read the key file {}", path.display())]
    KeyFileUnreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The key file can't be made.
    #[error("cannot write the key file {}", path.display())]
    KeyFileUnwritable {
        /// The file.
        path: PathBuf,
        /// What the system said; `AlreadyExists` when there is a key: it is never overwritten.
        #[source]
        cause: std::io::Error,
    },
    /// The path is a folder, a device or the like.
    #[error("the key file {} is not a regular file", path.display())]
    KeyFileKind {
        /// The file.
        path: PathBuf,
    },
    /// Others may read or write it.
    #[error("the key file {} has mode {mode:04o}: others may reach it, `chmod 600` it", path.display())]
    KeyFileMode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to another user.
    #[error("the key file {} belongs to user {owner}, this process runs as {user}", path.display())]
    KeyFileOwner {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who we are.
        user: u32,
    },
    /// A key is exactly 32 bytes.
    #[error("the key file {} must hold exactly 32 bytes", path.display())]
    KeyFileLength {
        /// The file.
        path: PathBuf,
    },
    /// Equal bytes or text: a password is not a key.
    #[error("the key file {} does not hold random bytes: make one with `gatehouse-control init`", path.display())]
    KeyFileWeak {
        /// The file.
        path: PathBuf,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    NoRandomness,
    /// More than 16 KiB.
    #[error("a secret may hold at most 16 KiB")]
    TooLong,
    /// The coordinates name another tenant than the one whose data key this is.
    #[error("this data key belongs to another tenant than {tenant}")]
    WrongTenant {
        /// The tenant of the coordinates.
        tenant: TenantId,
    },
    /// Too short, of a wrong length, or without our magic.
    #[error("not an envelope")]
    NotAnEnvelope,
    /// Made by a newer version, or altered. There is no fallback to another reading.
    #[error("unsupported envelope: version {version}, suite {suite}")]
    UnsupportedEnvelope {
        /// The version byte.
        version: u8,
        /// The suite byte.
        suite: u8,
    },
    /// Sealed under another data key of the tenant.
    #[error("sealed under data key {found}, not {expected}")]
    OtherDataKey {
        /// The id of the key that was asked.
        expected: u32,
        /// The id in the envelope.
        found: u32,
    },
    /// There is no data key of this number, or none that seals.
    #[error("the tenant has no such data key")]
    NoDataKey,
    /// Wrapped under a KEK that isn't configured here.
    #[error("wrapped under another key than those of the configuration")]
    OtherKek,
    /// A wrapped key is longer than any of ours can be.
    #[error("a wrapped key may hold at most 4096 bytes")]
    WrappedTooLong,
    /// The text is not the base64 form of 32 bytes.
    #[error("the key must be 32 bytes in base64")]
    KeyTextLength,
    /// Equal bytes or text: a password is not a key.
    #[error("the key is not made of random bytes: `head -c 32 /dev/urandom | base64` makes one")]
    KeyTextWeak,
    /// The commitment doesn't fit: another key or an altered envelope.
    #[error("the key commitment does not fit")]
    CommitMismatch,
    /// Altered, or moved from other coordinates.
    #[error("altered, or taken from another place")]
    Altered,
}
