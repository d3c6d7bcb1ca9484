//! What a house is declared to be: the YAML document of `export` and `apply`, and the plan that makes a house so.
//!
//! Everything here is pure; `verbs::export` and `verbs::apply` talk to control.

mod document;
mod node;
mod plan;
mod read;
mod schema;
mod told;
mod view;
mod write;

pub(crate) use self::document::{Document, Present, Record, Whose};
pub(crate) use self::plan::{Action, FieldChange, Plan, Step, Wish, plan};
pub(crate) use self::read::{Mistake, read};
pub(crate) use self::schema::{AUTH, AUTH_SECRETS, CLIENT_SECRET, CREDENTIAL, Kind, Reference, reference};
pub(crate) use self::told::{as_json, as_text};
pub(crate) use self::view::{Names, held};
pub(crate) use self::write::write;
