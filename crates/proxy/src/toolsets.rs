//! Toolsets: named selections of tools over several servers, each with its own URL.

use bytes::Bytes;
use http::Response;
use mcp::Revision;
use uuid::Uuid;

use crate::body::Body;
use crate::fault::Fault;
use crate::gate::Gate;
use crate::limits::Held;
use crate::principal::Authenticated;
use crate::relay::Asked;
use crate::session::Scope;

/// Which toolset of the caller's tenant has this name.
pub(crate) fn of(_who: &Authenticated, _name: &str) -> Option<Uuid> {
    None
}

/// What a client is told that begins a session at a toolset's URL.
pub(crate) fn initialized(_who: &Authenticated, _name: &str, _revision: Revision) -> Option<(Scope, Bytes)> {
    None
}

impl Gate {
    /// Serves a request at a toolset's URL.
    pub(crate) async fn on_toolset(&self, _asked: &Asked<'_>, _id: Uuid, _call: Held) -> Result<Response<Body>, Fault> {
        Err(Fault::NotFound)
    }
}
