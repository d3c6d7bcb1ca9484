//! The store's promises on PostgreSQL, each on a database of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test a panic is the answer"
)]

mod server;

const DATABASE: house::Kind = house::Kind::Postgres;

include!("suite.rs");
