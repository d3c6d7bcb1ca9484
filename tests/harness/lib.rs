//! Both processes started for real, a small MCP client, and upstreams that can be told to misbehave.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness that meets something unexpected has to stop the test, loudly"
)]

pub mod admin;
pub mod arrows;
pub mod authority;
pub mod behaviour;
pub mod browser;
pub mod canary;
pub mod collector;
pub mod compose;
pub mod conformance;
pub mod conforming;
pub mod deploy;
mod dialogue;
pub mod forged;
pub mod forwarder;
pub mod gatehouse;
pub mod guard;
mod guarded;
pub mod http;
pub mod issuer;
pub mod lasting;
pub mod load;
pub mod mcp;
pub mod mcp_sign_in;
pub mod packages;
pub mod patience;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod redis;
pub mod relay;
pub mod replicas;
pub mod rust_sdk;
pub mod sse;
pub mod sse_session;
pub mod tenant_handle;
pub mod tools;
pub mod upstream;
pub mod visitor;

pub use admin::Admin;
pub use authority::Authority;
pub use behaviour::Behaviour;
pub use browser::Browser;
pub use conforming::Conforming;
pub use gatehouse::Gatehouse;
pub use guard::Guard;
pub use http::{Answer, Http};
pub use issuer::Issuer;
pub use mcp::Mcp;
pub use patience::{eventually, patient};
pub use postgres::Postgres;
pub use redis::Redis;
pub use sse_session::SseSession;
pub use upstream::Upstream;
pub use visitor::Visitor;
