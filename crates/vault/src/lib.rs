//! Sealing and opening secrets: a KEK wraps data keys, a data key seals values.
//!
//! Start with [`Keks`] (the keys above all keys, and data keys under them), then [`DataKey`] (the envelope).
//! This crate knows nothing of the database: it makes bytes that the store keeps, and opens them.

mod coordinates;
mod data_key;
mod derive;
mod envelope;
mod error;
mod kek;
mod key_file;
mod key_text;
pub mod legacy;
mod local;
mod reach;
mod root;

pub use self::coordinates::{Coordinates, PLATFORM};
pub use self::data_key::DataKey;
pub use self::envelope::{MAX_SECRET, OVERHEAD, data_key_of};
pub use self::error::VaultError;
pub use self::kek::{KekError, KekProvider, Keks, KeyOf, MAX_KEK_ID, MAX_WRAPPED, Wrapped};
pub use self::local::LocalKek;
pub use self::reach::is_closed;
pub use self::root::{FINGERPRINT, RootSecret};
