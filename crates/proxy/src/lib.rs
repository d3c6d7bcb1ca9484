//! The data plane: MCP clients in, upstream MCP servers out.
//!
//! Start with [`pipeline`], which shows a request's whole way, then [`table`]. This crate never sees the
//! database or a key of the vault; it hears from control over [`link`].

mod config;
mod process;
mod server;

mod admission;
mod client;
mod cursors;
mod gate;
mod head_timeout;
mod hosts;
mod limits;
mod path;
mod pipeline;
mod principal;
mod protected;
mod readiness;
mod seal;
mod session;

mod account;
mod aggregate;
mod answer;
mod asked;
mod batch;
mod body;
mod bridge;
mod client_sessions;
mod connected;
mod elsewhere;
mod events;
mod exposed;
mod farewell;
mod fault;
mod flights;
mod listen;
mod lists;
mod messages;
mod meta_tools;
mod methods;
mod questions;
mod relay;
mod renewed;
mod respond;
mod retry;
mod search;
mod shape;
mod shelf;
mod spans;
mod sse_clients;
mod stateless;
mod subscriptions;

mod built_in;
mod cooldown;
mod credentials;
mod hub;
mod internal;
mod table;
mod toolsets;
mod unknown_keys;
mod upstream;
mod upstream_sessions;
mod views;

mod commands;
mod last_good;
mod link;
mod metrics;
mod peers;
mod timers;

pub use self::commands::{CommandFailure, Commands, ObservedMount, ProbeSpec, Probed};
pub use self::config::Config;
pub use self::credentials::{Control, ControlError};
pub use self::gate::Gate;
pub use self::hosts::Hosts;
pub use self::last_good::{LastGood, LastGoodError, Loaded};
pub use self::link::{LinkConfig, LinkError, LinkStatus};
pub use self::process::{StartError, run};
pub use self::readiness::Readiness;
pub use self::seal::{FleetKey, Sealer};
pub use self::search::{Document, Index};
pub use self::server::serve;
pub use self::table::{Change, Tables};
