//! Toolsets, with the names that their servers have now.

use std::collections::HashMap;

use model::{Listing, ServerId, ServerName};
use serde::Serialize;
use store::ToolsetRecord;
use utoipa::ToSchema;

use super::instant;

/// A selection of tools over several servers, with a URL of its own.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Toolset)]
pub(crate) struct ToolsetView {
    /// UUID; never changes.
    #[schema(format = "uuid")]
    id: String,
    /// Stands in its URL.
    name: String,
    title: String,
    /// What clients are told that it is for.
    #[schema(required)]
    description: Option<String>,
    listing: ListingView,
    /// Where proxies serve it, below their address.
    path: String,
    /// What is in it, in the order in which it is listed.
    tools: Vec<ToolsetToolView>,
    /// Who made it.
    #[schema(required)]
    created_by: Option<String>,
    /// Who changed it last.
    #[schema(required)]
    updated_by: Option<String>,
    /// Raised by every change; the ETag.
    generation: i64,
    #[schema(format = "date-time")]
    created_at: String,
    #[schema(format = "date-time")]
    updated_at: String,
}

/// What a toolset shows.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Listing)]
pub(crate) enum ListingView {
    /// Its tools.
    Tools,
    /// Only the tools by which its tools are found, described and called.
    Search,
}

impl From<Listing> for ListingView {
    fn from(listing: Listing) -> Self {
        match listing {
            Listing::Tools => Self::Tools,
            Listing::Search => Self::Search,
        }
    }
}

/// One entry of a toolset.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ToolsetTool)]
struct ToolsetToolView {
    /// The server's name; null for a deleted one, of which nothing is served until it is restored.
    #[schema(required)]
    server: Option<String>,
    /// The server's id.
    #[schema(format = "uuid")]
    server_id: String,
    /// The server's own name of the tool; `*` for all that have no entry of their own.
    tool: String,
    /// What it is called in the toolset; null for `{server}__{tool}`.
    #[schema(required)]
    name: Option<String>,
    /// What is said of it in place of the server's words.
    #[schema(required)]
    description: Option<String>,
}

impl ToolsetView {
    /// `names`: of the live servers. `shown`: of which servers entries are shown. `tenant`: its name if it stands in
    /// the path.
    pub(crate) fn of(
        record: &ToolsetRecord,
        names: &HashMap<ServerId, ServerName>,
        tenant: Option<&str>,
        shown: impl Fn(Option<&ServerName>) -> bool,
    ) -> Self {
        let spec = &record.spec;
        let prefix = tenant.map(|tenant| format!("/t/{tenant}")).unwrap_or_default();
        let entries = spec.tools.iter().filter(|entry| shown(names.get(&entry.server)));
        let tools = entries.map(|entry| ToolsetToolView {
            server: names.get(&entry.server).map(ToString::to_string),
            server_id: entry.server.to_string(),
            tool: entry.tool.clone(),
            name: entry.name.clone(),
            description: entry.description.clone(),
        });
        Self {
            id: spec.id.to_string(),
            name: spec.name.to_string(),
            title: spec.title.clone(),
            description: spec.description.clone(),
            listing: spec.listing.into(),
            path: format!("{prefix}/toolsets/{}/mcp", spec.name),
            tools: tools.collect(),
            created_by: record.created_by.clone(),
            updated_by: record.updated_by.clone(),
            generation: spec.generation.0,
            created_at: instant(record.created_at),
            updated_at: instant(record.updated_at),
        }
    }
}
