//! One tool of a server, switched without touching the others.

use model::{Generation, ServerId};

use super::TenantStore;
use crate::bounds::DISABLED_TOOLS;
use crate::{Actor, Committed, ServerRecord, StoreError};

impl TenantStore {
    /// Enables or disables one tool by the upstream's own name, one generation on; what others switch
    /// meanwhile is kept. `Bound` if 2000 are disabled already.
    pub async fn set_tool(
        &self,
        actor: &Actor,
        id: ServerId,
        expected: Option<Generation>,
        tool: &str,
        enabled: bool,
    ) -> Result<Committed<ServerRecord>, StoreError> {
        let action = if enabled { "tool.enable" } else { "tool.disable" };
        self.change_server(actor, id, expected, action, |before| {
            let after = before.with_tool(tool, enabled);
            let (had, has) = (before.spec.disabled_tools.len(), after.spec.disabled_tools.len());
            if has > had && has > DISABLED_TOOLS as usize {
                return Err(StoreError::Bound { what: "disabled tools", limit: DISABLED_TOOLS });
            }
            Ok(after)
        })
        .await
    }
}
