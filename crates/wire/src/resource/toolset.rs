//! Toolsets, there and back.

use model::{Generation, Listing, ToolsetId, ToolsetSpec, ToolsetTool};

use crate::Malformed;
use crate::fields::parsed;
use crate::generated;

impl From<&ToolsetSpec> for generated::Toolset {
    fn from(toolset: &ToolsetSpec) -> Self {
        Self {
            tenant: toolset.tenant.to_string(),
            name: toolset.name.to_string(),
            title: toolset.title.clone(),
            description: toolset.description.clone(),
            generation: toolset.generation.0,
            listing: toolset.listing.as_str().to_owned(),
            tools: toolset.tools.iter().map(Into::into).collect(),
        }
    }
}

impl From<&ToolsetTool> for generated::ToolsetTool {
    fn from(entry: &ToolsetTool) -> Self {
        Self {
            server: entry.server.to_string(),
            tool: entry.tool.clone(),
            name: entry.name.clone(),
            description: entry.description.clone(),
        }
    }
}

pub(super) fn toolset(id: ToolsetId, body: generated::Toolset) -> Result<ToolsetSpec, Malformed> {
    let listing = Listing::parse(&body.listing);
    Ok(ToolsetSpec {
        id,
        tenant: parsed("toolset.tenant", &body.tenant)?,
        name: parsed("toolset.name", &body.name)?,
        title: body.title,
        description: body.description,
        generation: Generation(body.generation),
        listing: listing.ok_or_else(|| Malformed::new("toolset.listing", "no such listing"))?,
        tools: body.tools.into_iter().map(entry).collect::<Result<_, _>>()?,
    })
}

fn entry(body: generated::ToolsetTool) -> Result<ToolsetTool, Malformed> {
    Ok(ToolsetTool {
        server: parsed("toolset.tools.server", &body.server)?,
        tool: body.tool,
        name: body.name,
        description: body.description,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use model::{Resource, ServerId, TenantId};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn entry() -> impl Strategy<Value = ToolsetTool> {
        let text = || prop::option::of(".{0,12}");
        (any::<u128>(), ".{0,12}", text(), text()).prop_map(|(server, tool, name, description)| ToolsetTool {
            server: ServerId(Uuid::from_u128(server)),
            tool,
            name,
            description,
        })
    }

    pub(crate) fn toolset() -> impl Strategy<Value = Resource> {
        let listings = prop::sample::select(Listing::ALL.to_vec());
        let texts = ("[a-z][a-z0-9-]{0,8}x", ".{0,12}", prop::option::of(".{0,12}"));
        let rest = (any::<i64>(), listings, prop::collection::vec(entry(), 0..4));
        (any::<[u128; 2]>(), texts, rest).prop_map(
            |([id, tenant], (name, title, description), (generation, listing, tools))| {
                Resource::Toolset(ToolsetSpec {
                    id: ToolsetId(Uuid::from_u128(id)),
                    tenant: TenantId(Uuid::from_u128(tenant)),
                    name: name.parse().unwrap(),
                    title,
                    description,
                    generation: Generation(generation),
                    listing,
                    tools,
                })
            },
        )
    }
}
