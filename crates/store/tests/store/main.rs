//! The store's promises, each on a database file of its own.

mod atomic;
mod handle_rule;
mod house;
mod intended;
mod isolation;
mod keys;
mod opening;
mod platform;
mod servers;
