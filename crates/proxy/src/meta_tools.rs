//! Tools by which other tools are found, described and called, where there are too many to be listed. They keep nothing:
//! any replica serves them, in both eras.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::Response;
use mcp::{Envelope, Item, List, ListKind, Object, Span, names, write};
use serde_json::{Value, json};

use crate::asked::Asked;
use crate::body::Body;
use crate::built_in;
use crate::client::Client;
use crate::fault::Fault;
use crate::gate::Gate;
use crate::limits::Held;
use crate::respond::json_response;
use crate::search::FOUND;
use crate::shelf::{Offer, Shelf};
use crate::table::Toolset;
use crate::upstream::OWN_INFO;

/// What models are told where only these are listed.
pub(crate) const INSTRUCTIONS: &str = "The tools are not listed here. Find those that fit with gatehouse__search_tools, read \
    how one is called with gatehouse__describe_tool, and call it with gatehouse__call_tool.";
/// Tools that a search gives when nobody says how many.
const USUAL: usize = 10;
/// Characters of a description in what a search gives, of a tool and of a parameter.
const DESCRIPTION: usize = 400;
const OF_PARAMETER: usize = 100;
/// Parameters of a tool that a search tells of.
const PARAMETERS: usize = 24;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetaTool {
    /// Which tools fit.
    Search,
    /// How one is called.
    Describe,
    /// Calls one.
    Call,
}

impl MetaTool {
    const ALL: [Self; 3] = [Self::Search, Self::Describe, Self::Call];

    fn key(self) -> &'static str {
        match self {
            Self::Search => "search_tools",
            Self::Describe => "describe_tool",
            Self::Call => "call_tool",
        }
    }

    /// By its own name.
    pub(crate) fn of_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.key() == key)
    }

    /// By the name that it has among the tools of others.
    pub(crate) fn called(name: &str) -> Option<Self> {
        Self::of_key(name.strip_prefix(built_in::NAME)?.strip_prefix("__")?)
    }

    fn definition(self) -> Value {
        let text = |description: &str| json!({ "type": "string", "description": description });
        match self {
            Self::Search => json!({
                "name": self.key(),
                "title": "Search tools",
                "description": "Finds tools by what they are for. Say in a few words what is to be done; the answer has \
                    the tools that fit best, best first, each with its name, server, description and parameters. \
                    Read the rest of one with describe_tool, call one with call_tool.",
                "inputSchema": {
                    "type": "object",
                    "properties": {
                        "query": text("What is to be done, in a few words."),
                        "limit": {
                            "type": "integer", "minimum": 1, "maximum": FOUND,
                            "description": format!("How many tools at most; {USUAL} when absent."),
                        },
                        "server": text("Only tools of the server of this name."),
                    },
                    "required": ["query"],
                },
                "annotations": { "readOnlyHint": true, "idempotentHint": true, "openWorldHint": false },
            }),
            Self::Describe => json!({
                "name": self.key(),
                "title": "Describe a tool",
                "description": "Tells everything about one tool: its description, the JSON Schema of its arguments, \
                    and of its result if there is one.",
                "inputSchema": {
                    "type": "object",
                    "properties": { "name": text("The tool's name, as search_tools tells it.") },
                    "required": ["name"],
                },
                "annotations": { "readOnlyHint": true, "idempotentHint": true, "openWorldHint": false },
            }),
            Self::Call => json!({
                "name": self.key(),
                "title": "Call a tool",
                "description": "Calls a tool that search_tools has found. The answer is the tool's own.",
                "inputSchema": {
                    "type": "object",
                    "properties": {
                        "name": text("The tool's name, as search_tools tells it."),
                        "arguments": {
                            "type": "object", "additionalProperties": true,
                            "description": "The tool's arguments, as its schema wants them.",
                        },
                    },
                    "required": ["name"],
                },
            }),
        }
    }
}

/// Their definitions under their own names.
pub(crate) fn items() -> &'static [Item] {
    static ITEMS: OnceLock<Vec<Item>> = OnceLock::new();
    ITEMS.get_or_init(|| {
        let tools: Vec<Value> = MetaTool::ALL.into_iter().map(MetaTool::definition).collect();
        let result = Bytes::from(json!({ "tools": tools }).to_string());
        List::parse(ListKind::Tools, &result, tools.len()).map(|list| list.items).unwrap_or_default()
    })
}

/// The result of a list that has nothing else, under the names that they have among the tools of others.
pub(crate) fn listed() -> &'static Bytes {
    static LISTED: OnceLock<Bytes> = OnceLock::new();
    LISTED.get_or_init(|| {
        let mut out = b"{\"tools\":[".to_vec();
        for (at, item) in items().iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            item.renamed(&names::exposed(built_in::NAME, &item.key), &mut out);
        }
        out.extend_from_slice(b"]}");
        out.into()
    })
}

impl Gate {
    /// Serves a call of one of them, for the tools of a toolset or for all that the caller may use.
    pub(crate) async fn meta_tool(
        &self,
        asked: &Asked<'_>,
        tool: MetaTool,
        toolset: Option<&Arc<Toolset>>,
        call: Held,
    ) -> Result<Response<Body>, Fault> {
        let client = asked.session.client();
        let refused = |why: String| json_response(write::result(&asked.id, &failed(client, &why)));
        let raw = asked.params().and_then(|params| params.arguments).map_or(&b"{}"[..], |span| span.of(asked.message));
        let Some(arguments) = Arguments::read(raw) else {
            return Ok(refused("the arguments must be an object in which nothing stands twice".to_owned()));
        };
        if tool == MetaTool::Call {
            let wanted = match arguments.wanted() {
                Ok(wanted) => wanted,
                Err(why) => return Ok(refused(why)),
            };
            return Box::pin(self.call_wanted(asked, &wanted, toolset, call)).await;
        }
        let shelf = self.shelves.of(&self.sessions, asked.who, asked.shown, client, toolset).await;
        let answer = match tool {
            MetaTool::Search => found(&shelf, &arguments).await,
            MetaTool::Describe | MetaTool::Call => described(&shelf, &arguments),
        };
        Ok(match answer {
            Ok(structured) => json_response(write::result(&asked.id, &answered(client, &structured))),
            Err(why) => refused(why),
        })
    }

    /// The same request for the tool that is wanted: from here on nothing tells it from one that the client itself sent.
    async fn call_wanted(
        &self,
        asked: &Asked<'_>,
        wanted: &Wanted<'_>,
        toolset: Option<&Arc<Toolset>>,
        call: Held,
    ) -> Result<Response<Body>, Fault> {
        let message = wanted.message(asked.message, asked.envelope).ok_or(Fault::Internal)?;
        let envelope = Envelope::scan(&message).map_err(|_| Fault::Internal)?;
        let asked = Asked { message: &message, envelope: &envelope, id: asked.id.clone(), ..*asked };
        match toolset {
            Some(toolset) => self.in_toolset(&asked, toolset, call).await,
            None => self.on_aggregate(&asked, call).await,
        }
    }
}

/// The arguments of a call.
struct Arguments<'a>(Object<'a>);

impl<'a> Arguments<'a> {
    fn read(raw: &'a [u8]) -> Option<Self> {
        let object = Object::read(raw)?;
        let mut names: Vec<&str> = object.members().map(|(name, _)| name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        (names.len() == all).then_some(Self(object))
    }

    fn text(&self, name: &str) -> Result<Option<String>, String> {
        match self.0.get(name) {
            None | Some(b"null") => Ok(None),
            Some(_) => match self.0.text(name) {
                Some(text) => Ok(Some(text.into_owned())),
                None => Err(format!("`{name}` must be a text")),
            },
        }
    }

    fn words(&self, name: &str) -> Result<String, String> {
        let text = self.text(name)?.filter(|text| !text.trim().is_empty());
        text.ok_or_else(|| format!("`{name}` is missing"))
    }

    fn limit(&self) -> Result<usize, String> {
        match self.0.get("limit") {
            None | Some(b"null") => Ok(USUAL),
            Some(raw) => {
                let number = std::str::from_utf8(raw).ok().and_then(|text| text.parse::<f64>().ok());
                let whole = number.filter(|number| number.fract() == 0.0 && *number >= 1.0);
                whole
                    .map(|number| FOUND.min(number as usize))
                    .ok_or_else(|| "`limit` must be a whole number from 1 on".to_owned())
            }
        }
    }

    /// Which tool is to be called with what.
    fn wanted(&self) -> Result<Wanted<'a>, String> {
        let name = self.words("name")?;
        if MetaTool::called(&name).is_some() {
            return Err(format!("{name} is not called through another tool: call it itself"));
        }
        let arguments = match self.0.get("arguments") {
            None | Some(b"null") => &b"{}"[..],
            Some(raw) if raw.starts_with(b"{") => raw,
            Some(_) => return Err("`arguments` must be an object".to_owned()),
        };
        Ok(Wanted { name, arguments })
    }
}

/// A call of another tool.
struct Wanted<'a> {
    name: String,
    /// A raw object.
    arguments: &'a [u8],
}

impl Wanted<'_> {
    /// The message with this tool in place of the one that was called; everything else stays as it is.
    fn message(&self, message: &Bytes, envelope: &Envelope) -> Option<Bytes> {
        let params = envelope.params.as_ref()?;
        let mut name = Vec::with_capacity(self.name.len() + 2);
        write::string(&mut name, &self.name);
        let mut patches = [
            write::Patch { span: params.name?, with: &name },
            write::Patch { span: params.arguments?, with: self.arguments },
        ];
        patches.sort_unstable_by_key(|patch| patch.span.start());
        let mut out = Vec::with_capacity(message.len());
        write::patched(&mut out, message, Span::whole(message), &patches);
        Some(out.into())
    }
}

async fn found(shelf: &Arc<Shelf>, arguments: &Arguments<'_>) -> Result<Vec<u8>, String> {
    let query = arguments.words("query")?;
    let (limit, server) = (arguments.limit()?, arguments.text("server")?);
    let found = shelf.search(&query, limit, server.as_deref()).await;
    let tools: Vec<Value> = found.into_iter().filter_map(|at| shelf.offers.get(at)).map(summary).collect();
    Ok(json!({ "tools": tools }).to_string().into_bytes())
}

fn described(shelf: &Shelf, arguments: &Arguments<'_>) -> Result<Vec<u8>, String> {
    let name = arguments.words("name")?;
    let Some(offer) = shelf.find(&name) else {
        let shown: String = name.chars().take(100).collect();
        return Err(format!("there is no tool {shown} here: gatehouse__search_tools finds those that there are"));
    };
    let mut out = b"{\"server\":".to_vec();
    write::string(&mut out, &offer.server);
    out.extend_from_slice(b",\"tool\":");
    out.extend_from_slice(&offer.definition());
    out.push(b'}');
    Ok(out)
}

/// What a search tells of a tool.
fn summary(offer: &Offer) -> Value {
    let tool: Value = serde_json::from_slice(&offer.item.raw).unwrap_or_default();
    let annotated = tool.get("annotations").and_then(|annotations| annotations.get("title"));
    let title = tool.get("title").or(annotated).and_then(Value::as_str);
    let description = tool.get("description").and_then(Value::as_str).unwrap_or_default();
    let mut told = json!({
        "name": offer.name,
        "server": offer.server,
        "description": cut(description, DESCRIPTION),
        "parameters": parameters(&tool),
    });
    if let (Some(title), Some(members)) = (title, told.as_object_mut()) {
        members.insert("title".to_owned(), cut(title, OF_PARAMETER).into());
    }
    told
}

/// The parameters of a tool: what must be given first.
fn parameters(tool: &Value) -> Vec<Value> {
    let schema = tool.get("inputSchema");
    let required: Vec<&str> = schema
        .and_then(|schema| schema.get("required")?.as_array())
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let properties = schema.and_then(|schema| schema.get("properties")?.as_object());
    let mut parameters: Vec<(&String, &Value)> = properties.into_iter().flatten().collect();
    parameters.sort_by_key(|(name, _)| !required.contains(&name.as_str()));
    let told = parameters.into_iter().take(PARAMETERS).map(|(name, schema)| {
        let kind = match schema.get("type") {
            Some(Value::String(kind)) => kind.clone(),
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
            _ => "any".to_owned(),
        };
        let mut told = json!({ "name": name, "type": kind, "required": required.contains(&name.as_str()) });
        if let (Some(text), Some(members)) = (schema.get("description").and_then(Value::as_str), told.as_object_mut()) {
            members.insert("description".to_owned(), cut(text, OF_PARAMETER).into());
        }
        told
    });
    told.collect()
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// The result of a call that went well: the same twice, for programs and for models that read text.
fn answered(client: Client, structured: &[u8]) -> Vec<u8> {
    let mut out = begun(client);
    out.extend_from_slice(b"\"content\":[{\"type\":\"text\",\"text\":");
    write::string(&mut out, &String::from_utf8_lossy(structured));
    out.extend_from_slice(b"}],\"structuredContent\":");
    out.extend_from_slice(structured);
    out.extend_from_slice(b",\"isError\":false}");
    out
}

/// The result of one that did not, so that models read why.
fn failed(client: Client, why: &str) -> Vec<u8> {
    let mut out = begun(client);
    out.extend_from_slice(b"\"content\":[{\"type\":\"text\",\"text\":");
    write::string(&mut out, why);
    out.extend_from_slice(b"}],\"isError\":true}");
    out
}

fn begun(client: Client) -> Vec<u8> {
    let mut out = b"{".to_vec();
    if client.is_stateless() {
        out.extend_from_slice(br#""resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":"#);
        out.extend_from_slice(OWN_INFO);
        out.extend_from_slice(b"},");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_listed_under_names_that_lead_back_to_them() {
        let listed = List::parse(ListKind::Tools, listed(), 9).unwrap();
        let names: Vec<&str> = listed.items.iter().map(|item| &*item.key).collect();
        assert_eq!(names, ["gatehouse__search_tools", "gatehouse__describe_tool", "gatehouse__call_tool"]);
        for (name, tool) in names.into_iter().zip(MetaTool::ALL) {
            assert_eq!(MetaTool::called(name), Some(tool));
            assert_eq!(MetaTool::of_key(tool.key()), Some(tool));
        }
        for other in ["search_tools", "gatehouse_search_tools", "gatehouse__echo", "notes__search_tools"] {
            assert_eq!(MetaTool::called(other), None, "{other}");
        }
    }

    fn wanted(arguments: &str) -> Result<(String, String), String> {
        let wanted = Arguments::read(arguments.as_bytes()).ok_or("no object".to_owned())?.wanted()?;
        Ok((wanted.name, String::from_utf8(wanted.arguments.to_vec()).unwrap()))
    }

    #[test]
    fn what_is_to_be_called_is_read_strictly() {
        for (arguments, expected) in [
            (r#"{"name":"notes__a","arguments":{"x": 1e2}}"#, Ok(("notes__a", r#"{"x": 1e2}"#))),
            (r#"{"name":"n\u006ftes__a"}"#, Ok(("notes__a", "{}"))),
            (r#"{"name":"notes__a","arguments":null}"#, Ok(("notes__a", "{}"))),
            (r#"{"name":"notes__a","arguments":[]}"#, Err("`arguments` must be an object")),
            (r#"{"name":"notes__a","arguments":"{}"}"#, Err("`arguments` must be an object")),
            (r#"{"name":7}"#, Err("`name` must be a text")),
            (r#"{"name":" "}"#, Err("`name` is missing")),
            (r#"{"arguments":{}}"#, Err("`name` is missing")),
            (r#"{"name":"a__b","n\u0061me":"c__d"}"#, Err("no object")),
            ("[]", Err("no object")),
        ] {
            let expected = expected.map(|(name, arguments)| (name.to_owned(), arguments.to_owned()));
            assert_eq!(wanted(arguments), expected.map_err(str::to_owned), "{arguments}");
        }
        for name in ["gatehouse__call_tool", "gatehouse__search_tools", "gatehouse__describe_tool"] {
            assert!(wanted(&format!(r#"{{"name":"{name}"}}"#)).unwrap_err().contains("call it itself"), "{name}");
        }
    }

    #[test]
    fn a_call_of_another_tool_is_the_same_message_with_that_tool() {
        for (message, expected) in [
            (
                r#"{"jsonrpc":"2.0","id":"7","method":"tools/call","params":{"name":"gatehouse__call_tool","arguments":{"name":"a\"b","arguments":{"x":[1]}},"_meta":{"progressToken":1},"requestState":"s"}}"#,
                r#"{"jsonrpc":"2.0","id":"7","method":"tools/call","params":{"name":"a\"b","arguments":{"x":[1]},"_meta":{"progressToken":1},"requestState":"s"}}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"arguments":{"name":"b"},"name":"gatehouse__call_tool"}}"#,
                r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"arguments":{},"name":"b"}}"#,
            ),
        ] {
            let message = Bytes::from(message);
            let envelope = Envelope::scan(&message).unwrap();
            let raw = envelope.params.as_ref().unwrap().arguments.unwrap().of(&message);
            let wanted = Arguments::read(raw).unwrap().wanted().unwrap();
            assert_eq!(wanted.message(&message, &envelope).unwrap(), expected);
        }
    }

    #[test]
    fn a_limit_is_a_number_within_bounds() {
        for (raw, expected) in [
            ("{}", Some(10)),
            (r#"{"limit":3}"#, Some(3)),
            (r#"{"limit":3.0}"#, Some(3)),
            (r#"{"limit":1e9}"#, Some(FOUND)),
        ] {
            assert_eq!(Arguments::read(raw.as_bytes()).unwrap().limit().ok(), expected, "{raw}");
        }
        for raw in [r#"{"limit":0}"#, r#"{"limit":-1}"#, r#"{"limit":1.5}"#, r#"{"limit":"3"}"#] {
            assert!(Arguments::read(raw.as_bytes()).unwrap().limit().is_err(), "{raw}");
        }
    }

    #[test]
    fn a_tool_is_told_with_its_parameters_the_required_ones_first() {
        let raw = br#"{"tools":[{"name":"find","title":"Find","description":"Finds.","inputSchema":{"type":"object",
            "properties":{"a":{"type":["string","null"]},"b":{"type":"integer","description":"How many"},"c":true},"required":["b"]}}]}"#;
        let list = List::parse(ListKind::Tools, &Bytes::from_static(raw), 1).unwrap();
        let item = list.items.into_iter().next().unwrap();
        let told = summary(&Offer { name: "notes__find".into(), server: "notes".into(), item });
        let expected = json!({"name": "notes__find", "server": "notes", "title": "Find", "description": "Finds.", "parameters": [
            {"name": "b", "type": "integer", "required": true, "description": "How many"},
            {"name": "a", "type": "string or null", "required": false},
            {"name": "c", "type": "any", "required": false}]});
        assert_eq!(told, expected);
        assert_eq!((cut("abc", 3), cut("abcd", 3)), ("abc".to_owned(), "ab…".to_owned()));
    }
}
