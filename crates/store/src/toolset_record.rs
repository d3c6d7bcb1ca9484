//! A toolset as it is stored, created and changed; and its row.

use model::{Generation, Listing, TenantId, ToolsetId, ToolsetName, ToolsetSpec, ToolsetTool};
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};

use crate::entity::toolset;
use crate::{Actor, StoreError, row_text};

/// A toolset of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolsetRecord {
    /// What proxies hold.
    pub spec: ToolsetSpec,
    /// Who made it.
    pub created_by: Option<String>,
    /// Who changed it last.
    pub updated_by: Option<String>,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// Microseconds since 1970.
    pub updated_at: i64,
}

/// A toolset to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToolset {
    /// Unique in the tenant.
    pub name: ToolsetName,
    /// See [`ToolsetSpec::title`].
    pub title: String,
    /// See [`ToolsetSpec::description`].
    pub description: Option<String>,
    /// See [`ToolsetSpec::listing`].
    pub listing: Listing,
    /// See [`ToolsetSpec::tools`]; all of live servers.
    pub tools: Vec<ToolsetTool>,
}

/// What to change of a toolset; `None` leaves a field alone, `Some(None)` clears it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolsetPatch {
    /// See [`NewToolset::name`].
    pub name: Option<ToolsetName>,
    /// See [`ToolsetSpec::title`].
    pub title: Option<String>,
    /// See [`ToolsetSpec::description`].
    pub description: Option<Option<String>>,
    /// See [`ToolsetSpec::listing`].
    pub listing: Option<Listing>,
    /// See [`ToolsetSpec::tools`]: replaces all of them. Servers that were in it before may be deleted.
    pub tools: Option<Vec<ToolsetTool>>,
}

/// Which toolsets to list, in the order of their making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolsetPage {
    /// Only those with this text in name or title, whatever the case (of ASCII letters on SQLite).
    pub search: Option<String>,
    /// Only those after this one.
    pub after: Option<ToolsetId>,
    /// At most this many, 1 to 500.
    pub limit: u32,
}

impl ToolsetRecord {
    pub(crate) fn new(tenant: TenantId, new: NewToolset, actor: &Actor, now: i64) -> Self {
        let NewToolset { name, title, description, listing, tools } = new;
        let (id, generation) = (ToolsetId::fresh(), Generation(1));
        Self {
            spec: ToolsetSpec { id, tenant, name, title, description, generation, listing, tools },
            created_by: Some(actor.id()),
            updated_by: Some(actor.id()),
            created_at: now,
            updated_at: now,
        }
    }

    /// The record with the patch applied; generation, time and author are left alone.
    pub(crate) fn patched(&self, patch: ToolsetPatch) -> Self {
        let mut spec = self.spec.clone();
        spec.name = patch.name.unwrap_or(spec.name);
        spec.title = patch.title.unwrap_or(spec.title);
        spec.description = patch.description.unwrap_or(spec.description);
        spec.listing = patch.listing.unwrap_or(spec.listing);
        spec.tools = patch.tools.unwrap_or(spec.tools);
        Self { spec, ..self.clone() }
    }

    /// How the audit and the book of answers name it.
    pub(crate) fn object(&self) -> String {
        model::ResourceName::Toolset(self.spec.id).to_string()
    }

    /// What the audit row keeps: of the words of entries only whether there are any.
    pub(crate) fn redacted(&self) -> Value {
        let entries = self.spec.tools.iter().map(|entry| {
            let (server, described) = (entry.server.to_string(), entry.description.is_some());
            json!({ "server": server, "tool": entry.tool, "name": entry.name, "described": described })
        });
        json!({
            "name": self.spec.name.as_str(),
            "title": self.spec.title,
            "description": self.spec.description,
            "listing": self.spec.listing.as_str(),
            "tools": entries.collect::<Vec<_>>(),
            "generation": self.spec.generation.0,
        })
    }

    pub(crate) fn into_row(self) -> toolset::ActiveModel {
        let ToolsetSpec { id, tenant, name, title, description, generation, listing, tools } = self.spec;
        toolset::ActiveModel {
            tenant_id: Set(tenant.0),
            id: Set(id.0),
            name: Set(name.to_string()),
            title: Set(title),
            description: Set(description),
            listing: Set(listing.as_str().to_owned()),
            tools: Set(row_text::toolset_tools(&tools)),
            generation: Set(generation.0),
            created_by: Set(self.created_by),
            updated_by: Set(self.updated_by),
            created_at: Set(self.created_at),
            updated_at: Set(self.updated_at),
        }
    }
}

impl TryFrom<toolset::Model> for ToolsetRecord {
    type Error = StoreError;

    fn try_from(row: toolset::Model) -> Result<Self, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        let spec = ToolsetSpec {
            id: ToolsetId(row.id),
            tenant: TenantId(row.tenant_id),
            name: row.name.parse().map_err(|_| corrupt("toolset.name"))?,
            title: row.title,
            description: row.description,
            generation: Generation(row.generation),
            listing: Listing::parse(&row.listing).ok_or(corrupt("toolset.listing"))?,
            tools: row_text::read_toolset_tools(&row.tools).ok_or(corrupt("toolset.tools"))?,
        };
        Ok(Self {
            spec,
            created_by: row.created_by,
            updated_by: row.updated_by,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}
