//! The data plane in this process, between a client and upstreams that count what they see.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod aggregate;
mod attacks;
mod batches;
mod bindings;
mod bridge;
mod certificates;
mod disabled;
mod events;
mod house;
mod keys;
mod late;
mod lattice;
mod limits;
mod meta_tools;
mod mounting;
mod outcomes;
mod papers;
mod questions;
mod refusals;
mod retries;
mod rules;
mod scripted;
mod sessions;
mod sign_in;
mod sse_clients;
mod staleness;
mod stateless;
mod strangers;
mod timeouts;
mod timing;
mod tokens;
mod toolsets;
