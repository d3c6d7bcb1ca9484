//! `/toolsets/{name}/mcp`: the tools that a toolset chooses, under the names and with the descriptions that it gives them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use mcp::{ListKind, Params, Revision, names};
use model::Listing;
use serde_json::json;
use uuid::Uuid;

use crate::aggregate::renamed;
use crate::asked::Asked;
use crate::body::Body;
use crate::fault::Fault;
use crate::gate::Gate;
use crate::hub::Hears;
use crate::limits::Held;
use crate::meta_tools::{self, MetaTool};
use crate::principal::Authenticated;
use crate::respond::{json_response, refused};
use crate::session::Scope;
use crate::table::{Mount, Offered, Plain, Toolset};
use crate::views::Page;

/// For how long the list of the tools that find others is promised to be right.
const SAME: Duration = Duration::from_secs(3600);
/// No such tool here.
const UNKNOWN: Fault = Fault::Unknown { reason: "unknown_tool" };

/// Which toolset of the caller's tenant has this name.
pub(crate) fn of(who: &Authenticated, name: &str) -> Option<Uuid> {
    who.tenant.toolsets.get(name).map(|toolset| toolset.spec.id.0)
}

fn by_id(who: &Authenticated, id: Uuid) -> Option<&Arc<Toolset>> {
    who.tenant.toolsets.values().find(|toolset| toolset.spec.id.0 == id)
}

/// What a stream at a toolset hears of.
pub(crate) fn hears(who: &Authenticated, id: Uuid) -> Result<Hears, Fault> {
    let toolset = by_id(who, id).ok_or(Fault::SessionUnknown)?;
    let (id, generation) = (toolset.spec.id, toolset.spec.generation);
    Ok(Hears::Toolset { id, generation, servers: toolset.servers().collect(), allowed: who.view() })
}

/// What a client is told that begins a session at a toolset's URL.
pub(crate) fn initialized(who: &Authenticated, name: &str, revision: Revision) -> Option<(Scope, Bytes)> {
    let toolset = who.tenant.toolsets.get(name)?;
    let (offered, instructions) = offered(toolset);
    let result = json!({
        "protocolVersion": revision.as_str(),
        "capabilities": offered.capabilities(),
        "serverInfo": {
            "name": toolset.spec.name.as_str(), "title": toolset.spec.title, "version": env!("CARGO_PKG_VERSION"),
        },
        "instructions": instructions,
    });
    Some((Scope::Toolset(toolset.spec.id.0), result.to_string().into()))
}

/// What a toolset has, and how it is to be used.
pub(crate) fn offered(toolset: &Toolset) -> (Offered, String) {
    let mut instructions = toolset.spec.description.clone().unwrap_or_else(|| toolset.spec.title.clone());
    if toolset.spec.listing == Listing::Search {
        instructions.push_str("\n\n");
        instructions.push_str(meta_tools::INSTRUCTIONS);
    }
    (Offered { tools: true, ..Offered::default() }, instructions)
}

/// The toolset of a session or of a request.
pub(crate) fn found(who: &Authenticated, id: Uuid) -> Option<Arc<Toolset>> {
    by_id(who, id).cloned()
}

impl Gate {
    /// Serves a request at a toolset's URL.
    pub(crate) async fn on_toolset(&self, asked: &Asked<'_>, id: Uuid, call: Held) -> Result<Response<Body>, Fault> {
        let toolset = found(asked.who, id).ok_or(Fault::SessionUnknown)?;
        match asked.method() {
            "tools/list" => self.list_toolset(asked, &toolset).await,
            "tools/call" => {
                let name = asked.name().ok_or(Fault::Params("name is missing"))?;
                match MetaTool::called(&name).filter(|_| toolset.spec.listing == Listing::Search) {
                    Some(tool) => self.meta_tool(asked, tool, Some(&toolset), call).await,
                    None => self.in_toolset(asked, &toolset, call).await,
                }
            }
            _ => Err(Fault::MethodUnknown),
        }
    }

    async fn list_toolset(&self, asked: &Asked<'_>, toolset: &Arc<Toolset>) -> Result<Response<Body>, Fault> {
        let client = asked.session.client();
        let cursor = asked.params().and_then(|params| params.cursor);
        let cursor = cursor.map(|span| Params::text(Some(span), asked.message).unwrap_or_default());
        let foreign = Fault::Params("the cursor is not of this list");
        let page = match toolset.spec.listing {
            Listing::Search if cursor.is_some() => return Err(foreign),
            Listing::Search => Page::whole(meta_tools::listed(), SAME),
            Listing::Tools => {
                let shelf = self.shelves.of(&self.sessions, asked.who, asked.shown, client, Some(toolset)).await;
                shelf.page(&self.sealer, cursor.as_deref()).ok_or(foreign)?
            }
        };
        Ok(json_response(page.answer(&asked.id, client)))
    }

    /// Calls a tool by the name that it has in the toolset.
    pub(crate) async fn in_toolset(
        &self,
        asked: &Asked<'_>,
        toolset: &Toolset,
        call: Held,
    ) -> Result<Response<Body>, Fault> {
        let name = asked.name().ok_or(Fault::Params("name is missing"))?;
        if let Some(entry) = toolset.called(&name) {
            let mount = asked.who.mounts().find(|mount| mount.spec.id == entry.server).cloned().ok_or(UNKNOWN)?;
            return Ok(self.relay_tool(asked, &mount, &entry.tool, call).await);
        }
        let slug = names::server(&name).ok_or(UNKNOWN)?;
        let mount = asked.who.mount(slug).cloned().ok_or(UNKNOWN)?;
        match toolset.plain(mount.spec.id, slug, &name).ok_or(UNKNOWN)? {
            Plain::Entry(entry) => Ok(self.relay_tool(asked, &mount, &entry.tool, call).await),
            Plain::Every => {
                if mount.disabled.iter().any(|tool| names::exposed(slug, tool) == name) {
                    return Ok(refused(self, &Fault::ToolDisabled, Some(&asked.id), Some(slug)));
                }
                let listed = match self.holding(asked, &mount, ListKind::Tools, &name).await {
                    Ok(listed) => listed,
                    Err(failure) => {
                        return Ok(refused(self, &asked.fault(&failure, false), Some(&asked.id), Some(slug)));
                    }
                };
                let item = listed.find(&name).ok_or(UNKNOWN)?;
                if toolset.has_own(mount.spec.id, &item.key) {
                    return Err(UNKNOWN);
                }
                Ok(self.relay_tool(asked, &mount, &item.key, call).await)
            }
        }
    }

    async fn relay_tool(&self, asked: &Asked<'_>, mount: &Arc<Mount>, tool: &str, call: Held) -> Response<Body> {
        if mount.disabled.contains(tool) {
            return refused(self, &Fault::ToolDisabled, Some(&asked.id), Some(mount.name()));
        }
        let span = asked.params().and_then(|params| params.name).unwrap_or_default();
        let name = asked.name().unwrap_or_default();
        self.relay(asked, mount, renamed(span, &name, tool), Some(call)).await
    }
}
