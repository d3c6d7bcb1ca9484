// What holds on both databases: part of both programs, so that nothing can be tried on one alone.

mod atomic;
mod concurrent;
mod departments;
mod egress_rules;
mod house;
mod idempotency;
mod intended;
mod isolation;
mod keys;
mod last_admin;
mod opening;
mod platform;
mod purge;
mod server_life;
mod servers;
mod tail;
mod tenants;
mod users;
