//! Sealing and opening secrets: a key file wraps data keys, a data key seals values.
//!
//! Start with [`Vault`] (the key file, and data keys under it), then [`DataKey`] (the envelope).
//! This crate knows nothing of the database: it makes bytes that the store keeps, and opens them.

mod coordinates;
mod data_key;
mod derive;
mod envelope;
mod error;
mod key_file;
mod reach;
mod wrap;

pub use self::coordinates::{Coordinates, PLATFORM};
pub use self::data_key::DataKey;
pub use self::envelope::{MAX_SECRET, OVERHEAD};
pub use self::error::VaultError;
pub use self::reach::is_closed;
pub use self::wrap::Vault;
