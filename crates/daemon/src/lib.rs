//! What both long-running processes owe their operator: settings that are read whole, with every
//! mistake told at once, and listeners whose TLS certificate follows its files.
//!
//! Start with [`register`], the list of all settings. What a setting means is known to the process
//! that reads it.

pub mod register;

mod error;
mod settings;

mod certificate;
mod listener;
mod timers;
mod write_timeout;

pub use self::certificate::{Certificate, CertificateError, CertificateFiles};
pub use self::error::ConfigError;
pub use self::listener::{Arriving, Connection, Listener, bind};
pub use self::register::Program;
pub use self::settings::Settings;
pub use self::timers::scaled;
pub use self::write_timeout::WriteTimeout;
