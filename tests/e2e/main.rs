//! Both processes, started for real: one test for each promise.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at the first thing that is not as promised"
)]

mod arrows;
mod authorization;
mod bad_input;
mod built_in;
mod canary;
mod cancellation;
mod cli_apply;
mod cli_identity;
mod cli_records;
mod command;
mod conformance;
mod conformance_auth;
mod conformance_client;
mod connections;
mod crash_points;
mod crossing;
mod deploy_files;
mod deploy_kubernetes;
mod deploy_topology;
mod deploy_variables;
mod external;
mod failures;
mod harbour;
mod harness;
mod kills;
mod listener_tls;
mod matrix;
mod misbehaving;
mod mounting;
mod oauth_upstream;
mod observability;
mod offers;
mod oidc;
mod old_clients;
mod on_behalf;
mod openapi;
mod peer_strangers;
mod people;
mod questions;
mod real_clients;
mod recover;
mod refresh;
mod replicas;
mod requirements;
mod revocation;
mod seed_data_plane;
mod seed_surface;
mod sessions;
mod shared_sessions;
mod shell;
mod shutdown;
mod sign_in;
mod slow_peers;
mod tenancy;
mod tenant_handle;
mod toolsets;
mod tracing;
mod up;
mod vault;
mod ways;
