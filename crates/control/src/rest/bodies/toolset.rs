//! Toolsets: create and change. Servers are named by id or name, and looked up by the handler.

use model::{Listing, MAX_TOOLSET_DESCRIPTION, MAX_TOOLSET_TOOLS, ServerId, ToolsetError, ToolsetName};
use serde_json::Value;
use utoipa::ToSchema;

use super::MAX_TITLE;
use crate::rest::code::Code;
use crate::rest::fields::{Fields, Wrong, prose, slug, text, words};
use crate::rest::views::ListingView;

/// Characters of a name or id of a server.
const MAX_SERVER: usize = 64;
/// Characters of a tool's own name.
const MAX_TOOL: usize = 256;

/// A new toolset.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = ToolsetCreate)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolsetCreate {
    /// Stands in its URL; unique in the tenant.
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{0,31}$")]
    name: String,
    /// Free text; the name when absent.
    #[schema(max_length = 200)]
    title: Option<String>,
    /// What clients are told that it is for.
    #[schema(max_length = 4096)]
    description: Option<String>,
    /// `tools` when absent.
    listing: Option<ListingView>,
    /// What is in it; nothing when absent.
    #[schema(max_items = 500)]
    tools: Option<Vec<ToolsetToolBody>>,
}

/// What to change of a toolset; absent members stay.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = ToolsetChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolsetChange {
    /// Stands in its URL; unique in the tenant.
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{0,31}$", nullable = false)]
    name: Option<String>,
    /// Free text.
    #[schema(max_length = 200, nullable = false)]
    title: Option<String>,
    /// What clients are told that it is for; null for nothing.
    #[schema(max_length = 4096)]
    description: Option<String>,
    /// Null is `tools`.
    listing: Option<ListingView>,
    /// Replaces all that is in it; null for nothing.
    #[schema(max_items = 500)]
    tools: Option<Vec<ToolsetToolBody>>,
}

/// One entry of a toolset. Entries that were read may be sent back.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = ToolsetToolChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolsetToolBody {
    /// Name or id of the server; may be absent where `server_id` stands.
    #[schema(min_length = 1, max_length = 64)]
    server: Option<String>,
    /// Id of the server: decides if both are there.
    #[schema(format = "uuid")]
    server_id: Option<String>,
    /// The server's own name of the tool; `*` for all that have no entry of their own.
    #[schema(min_length = 1, max_length = 256)]
    tool: String,
    /// What it is called in the toolset; `{server}__{tool}` when absent.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    name: Option<String>,
    /// What is said of it in place of the server's words.
    #[schema(max_length = 4096)]
    description: Option<String>,
}

/// A create as it was read.
#[derive(Debug)]
pub(crate) struct Create {
    pub(crate) name: ToolsetName,
    pub(crate) title: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) listing: Listing,
    pub(crate) tools: Vec<Entry>,
}

/// A PATCH as it was read.
#[derive(Debug, Default)]
pub(crate) struct Patch {
    pub(crate) name: Option<ToolsetName>,
    pub(crate) title: Option<String>,
    pub(crate) description: Option<Option<String>>,
    pub(crate) listing: Option<Listing>,
    pub(crate) tools: Option<Vec<Entry>>,
}

/// An entry whose server is not looked up yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) server: Named,
    pub(crate) tool: String,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
}

/// How an entry says whose tool it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Named {
    /// By `server_id`.
    Id(ServerId),
    /// By `server`: an id or a name.
    Word(String),
}

/// Reads a create; `None` when something is wrong, which `fields` then knows.
pub(crate) fn create(fields: &mut Fields) -> Option<Create> {
    fields.given_by_us();
    fields.immutable(&["created_by", "updated_by"]);
    let name = fields.required("name", slug);
    let title = fields.optional("title", text(MAX_TITLE));
    let description = fields.optional("description", description);
    let listing = fields.optional("listing", listing).unwrap_or_default();
    let tools = tools(fields).unwrap_or_default();
    Some(Create { name: name?, title, description, listing, tools })
}

/// Reads a PATCH.
pub(crate) fn change(fields: &mut Fields) -> Patch {
    fields.given_by_us();
    fields.immutable(&["created_by", "updated_by"]);
    Patch {
        name: fields.replace("name", slug),
        title: fields.replace("title", text(MAX_TITLE)),
        description: fields.change("description", description).nullable(),
        listing: fields.change("listing", listing).or_default(Listing::default),
        tools: tools(fields),
    }
}

/// Code and sentence for an entry that can't be served.
pub(crate) fn wrong(error: ToolsetError) -> (&'static str, Wrong) {
    let (member, code) = match error {
        ToolsetError::Many => ("", Code::TooMany),
        ToolsetError::Tool => ("tool", Code::ToolName),
        ToolsetError::Name | ToolsetError::Reserved | ToolsetError::Every => ("name", Code::ToolName),
        ToolsetError::Description => ("description", Code::TooLong),
        ToolsetError::Twice => ("name", Code::Duplicate),
    };
    (member, (code, error.to_string()))
}

fn listing(value: Value) -> Result<Listing, Wrong> {
    Listing::parse(&text(32)(value)?).ok_or_else(|| (Code::Listing, "must be tools or search".to_owned()))
}

/// Bounded in bytes, as proxies are told it.
fn description(value: Value) -> Result<String, Wrong> {
    let text = prose(MAX_TOOLSET_DESCRIPTION)(value)?;
    if text.len() <= MAX_TOOLSET_DESCRIPTION { Ok(text) } else { Err(wrong(ToolsetError::Description).1) }
}

fn tools(fields: &mut Fields) -> Option<Vec<Entry>> {
    let items = fields.change("tools", |value| match value {
        Value::Array(items) if items.len() <= MAX_TOOLSET_TOOLS => Ok(items),
        Value::Array(_) => Err(wrong(ToolsetError::Many).1),
        _ => Err((Code::Type, "must be a list of objects".to_owned())),
    });
    let items = items.or_default(Vec::new)?;
    let mut entries = Vec::with_capacity(items.len());
    for (at, item) in items.into_iter().enumerate() {
        let place = format!("tools[{at}]");
        let mut inner = match Fields::of(item) {
            Ok(inner) => inner,
            Err(_) => {
                fields.wrong(place, (Code::Type, "must be an object".to_owned()));
                continue;
            }
        };
        entries.extend(entry(&mut inner));
        for wrong in inner.finish().err().unwrap_or_default() {
            fields.wrong(format!("{place}.{}", wrong.field), (wrong.code, wrong.detail));
        }
    }
    Some(entries)
}

fn entry(fields: &mut Fields) -> Option<Entry> {
    let word = fields.optional("server", words(MAX_SERVER));
    let id = fields.optional("server_id", |value| {
        text(MAX_SERVER)(value)?.parse::<ServerId>().map_err(|error| (Code::Server, error.to_string()))
    });
    let server = id.map(Named::Id).or(word.map(Named::Word));
    let tool = fields.required("tool", words(MAX_TOOL));
    let name = fields.optional("name", text(MAX_TOOL));
    let description = fields.optional("description", description);
    if server.is_none() {
        fields.wrong("server", (Code::Required, "is required".to_owned()));
    }
    Some(Entry { server: server?, tool: tool?, name, description })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::agree;
    use super::*;

    #[test]
    fn the_document_and_the_parser_know_the_same_members() {
        agree::<ToolsetCreate, _>(create);
        agree::<ToolsetChange, _>(change);
        agree::<ToolsetToolBody, _>(entry);
    }

    #[test]
    fn mistakes_in_entries_are_told_with_their_places() {
        for (tools, field, code) in [
            (json!(1), "tools", Code::Type),
            (json!([1]), "tools[0]", Code::Type),
            (json!([{"server": "a", "tool": "x"}, {"tool": "x"}]), "tools[1].server", Code::Required),
            (json!([{"server": "a"}]), "tools[0].tool", Code::Required),
            (json!([{"server_id": "a", "tool": "x"}]), "tools[0].server_id", Code::Server),
            (json!([{"server": "a", "tool": "x", "colour": 1}]), "tools[0].colour", Code::UnknownField),
            (
                json!([{"server": "a", "tool": "x", "description": "ä".repeat(3000)}]),
                "tools[0].description",
                Code::TooLong,
            ),
            (json!(vec![json!({}); 501]), "tools", Code::TooMany),
        ] {
            let mut fields = Fields::of(json!({"name": "a", "tools": tools})).unwrap();
            create(&mut fields);
            let wrong = fields.finish().unwrap_err();
            assert_eq!((wrong[0].field.as_str(), wrong[0].code), (field, code));
        }
        let mut fields = Fields::of(json!({"listing": "all"})).unwrap();
        change(&mut fields);
        assert_eq!(fields.finish().unwrap_err()[0].code, Code::Listing);
    }

    #[test]
    fn an_entry_that_was_read_may_be_sent_back() {
        let id = ServerId::fresh();
        let tools =
            json!([{"server": null, "server_id": id.to_string(), "tool": "x", "name": null, "description": null}]);
        let mut fields = Fields::of(json!({"tools": tools})).unwrap();
        let entries = change(&mut fields).tools.unwrap();
        assert_eq!(fields.finish(), Ok(()));
        assert_eq!(entries.into_iter().map(|entry| entry.server).collect::<Vec<_>>(), [Named::Id(id)]);
    }
}
