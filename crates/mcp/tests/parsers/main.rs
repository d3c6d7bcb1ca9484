//! The parsers under any bytes: the corpus of the fuzz targets replayed, and random messages that are nearly right.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod checks;
mod corpus;
mod properties;
