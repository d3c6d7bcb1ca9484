//! The store's promises on SQLite, each on a file of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test a panic is the answer"
)]

mod file;

const DATABASE: house::Kind = house::Kind::Sqlite;

include!("suite.rs");
