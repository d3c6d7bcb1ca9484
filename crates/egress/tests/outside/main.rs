//! The egress client from outside: what is refused and never dialled, and how connections behave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod addresses;
mod certificates;
mod connections;
mod dialling;
mod faults;
mod operator;
mod rules;
mod server;
mod tls;
mod world;
