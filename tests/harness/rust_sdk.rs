//! The Rust SDK on both ends: a server that answers both eras, and its client in either.
#![allow(deprecated, reason = "what the stateless revision did away with is what the ones before are tried with")]

mod client;
mod server;

pub use client::{Mode, RustClient};
pub use server::RustServer;
