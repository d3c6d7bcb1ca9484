//! The authorization server as clients and browsers see it.

mod consent;
mod documents;
mod flow;
mod open;
mod tokens;
mod world;
