//! MCP messages as a gateway must see them: scanned strictly, spliced, never re-modelled.
//!
//! Pure: bytes in, bytes out. [`Envelope`] reads what must be read of one JSON-RPC message;
//! [`Splicer`] puts the client's id back into an answer while it streams by; [`sse`] frames and
//! unframes event streams; [`names`] and [`headers`] hold the naming and header rules.

pub mod batch;
mod envelope;
pub mod headers;
mod json;
mod list;
pub mod meta;
pub mod names;
mod object;
pub mod param_headers;
pub mod references;
pub mod result;
mod revision;
mod scalar;
mod span;
mod splice;
pub mod sse;
mod utf8;
pub mod write;

pub use self::envelope::{Envelope, EnvelopeError, Kind, Params};
pub use self::json::{JsonError, MAX_DEPTH, member, unescape};
pub use self::list::{Item, List, ListError, ListKind};
pub use self::object::{Change, Object, elements};
pub use self::result::Additions;
pub use self::revision::{Era, Revision};
pub use self::span::Span;
pub use self::splice::{SpliceError, Splicer};
