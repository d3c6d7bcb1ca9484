//! Every trick with a token that we know of, as tables, and those that we don't, at random.

mod headers;
mod id_tokens;
mod issued;
mod key_sets;
mod mapping;
mod mutations;
mod own;
mod rsa;
mod world;
