//! Rows as the database has them; they never leave this crate.

#![allow(unreachable_pub, reason = "sea-orm's derive wants `pub` items; the module itself is private")]

pub(crate) mod api_key;
pub(crate) mod attempt;
pub(crate) mod audit;
pub(crate) mod command;
pub(crate) mod connection;
pub(crate) mod connection_fingerprint;
pub(crate) mod department;
pub(crate) mod egress_rule;
pub(crate) mod idempotency;
pub(crate) mod issuer;
pub(crate) mod login_attempt;
pub(crate) mod manifest;
pub(crate) mod membership;
pub(crate) mod oauth_client;
pub(crate) mod oauth_code;
pub(crate) mod oauth_grant;
pub(crate) mod outbox;
pub(crate) mod password;
pub(crate) mod proxy_status;
pub(crate) mod refresh_token;
pub(crate) mod sealed;
pub(crate) mod server;
pub(crate) mod session;
pub(crate) mod sign_in_link;
pub(crate) mod signer;
pub(crate) mod state;
pub(crate) mod tenant;
pub(crate) mod tenant_key;
pub(crate) mod toolset;
pub(crate) mod upstream_client;
pub(crate) mod upstream_metadata;
pub(crate) mod user;
pub(crate) mod vault_job;
