//! Toolsets, and the servers that they name.

use model::{Listing, ServerId, ToolsetTool};
use store::{NewToolset, ToolsetPage, ToolsetPatch};

use super::*;

fn entry(ids: &Ids, server: ServerId) -> ToolsetTool {
    ToolsetTool { server, tool: "search".to_owned(), name: None, description: Some(ids.mark.clone()) }
}

fn new(ids: &Ids, tools: Vec<ToolsetTool>) -> NewToolset {
    NewToolset {
        name: ids.fresh_name().parse().unwrap(),
        title: ids.mark.clone(),
        description: None,
        listing: Listing::Tools,
        tools,
    }
}

pub(super) fn toolsets() -> Vec<Way> {
    let mut ways = ways! { ToUnknown:
        toolset = |tenant, ids| tenant.toolset(ids.toolset);
        toolset_by_name = |tenant, ids| tenant.toolset_by_name(&ids.toolset_name);
        toolsets = |tenant, ids| tenant.toolsets(ToolsetPage { search: Some(ids.toolset_name.clone()), limit: 50, ..Default::default() });
        create_toolset = |tenant, ids| async move { tenant.create_toolset(&actor(), new(&ids, vec![entry(&ids, ids.server)])).await };
        change_toolset = |tenant, ids| {
            let patch = ToolsetPatch { title: Some(ids.fresh_text()), ..Default::default() };
            async move { tenant.change_toolset(&actor(), ids.toolset, ids.expected, patch).await }
        };
        change_toolset = |tenant, ids| {
            let patch = ToolsetPatch { tools: Some(vec![entry(&ids, ids.server)]), ..Default::default() };
            async move { tenant.change_toolset(&actor(), ids.toolset, Some(Generation(1)), patch).await }
        };
        server_names = |tenant, ids| async move { tenant.server_names(&[ids.server]).await };
        delete_toolset = |tenant, ids| async move { tenant.delete_toolset(&actor(), ids.toolset, ids.expected).await };
    };
    ways.extend(ways! { ToItsOwn:
        create_toolset = |tenant, ids| async move { tenant.create_toolset(&actor(), new(&ids, vec![])).await };
        toolsets = |tenant, ids| tenant.toolsets(ToolsetPage { after: Some(ids.toolset), limit: 50, ..Default::default() });
    });
    ways
}
