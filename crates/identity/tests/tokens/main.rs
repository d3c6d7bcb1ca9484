//! Every trick with a token that we know of, as tables, and those that we don't, at random.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod headers;
mod id_tokens;
mod issued;
mod key_sets;
mod mapping;
mod mutations;
mod own;
mod rsa;
mod world;
