//! REST as its callers see it: the whole router, a real store in a temporary folder, a double for
//! the proxies.

mod access;
mod auth;
mod authorization;
mod concurrent;
mod connections;
mod double;
mod failures;
mod house;
mod idempotency;
mod import;
mod input;
mod issuers;
mod keys;
mod nouns;
mod open;
mod pages;
mod paging;
mod records;
mod recover;
mod scopes;
mod seed;
mod tokens;
mod toolsets;
