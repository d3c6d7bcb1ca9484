//! The store's promises, each on a database file of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test a panic is the answer"
)]

mod atomic;
mod house;
mod intended;
mod isolation;
mod keys;
mod opening;
mod platform;
mod servers;
