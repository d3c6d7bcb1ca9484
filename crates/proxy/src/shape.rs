//! What becomes of an upstream's answer on its way to the client (protocol.md 3): nothing where both are of one era and
//! know the same; members put behind the result's own while it streams by; or, held back as a whole, another message.
//!
//! A shape is made for each call and costs nothing to make; one that changes nothing costs nothing either.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use mcp::result::{InputRequired, may_need_repair, plain, repaired};
use mcp::{Additions, Envelope, Era, Object, Revision, meta, write};
use serde_json::json;

use crate::client::Client;
use crate::exposed::Exposed;
use crate::questions::{Answer, words};
use crate::upstream::OWN_INFO;
use crate::upstream::stateless::code;

/// Which of the four pairs of eras: client's, then upstream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell {
    /// Both have sessions.
    LL,
    /// Neither has.
    MM,
    /// Only the client's.
    LM,
    /// Only the upstream's.
    ML,
}

/// What was asked, as far as it matters for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    Tool,
    Prompt,
    Resource,
    Other,
}

impl Asks {
    fn of(method: &str) -> Self {
        match method {
            "tools/call" => Self::Tool,
            "prompts/get" => Self::Prompt,
            "resources/read" => Self::Resource,
            _ => Self::Other,
        }
    }

    /// Whether an answer may ask back (protocol.md 1.3).
    pub(crate) fn may_ask_back(self) -> bool {
        self != Self::Other
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    cell: Cell,
    asks: Asks,
    client: Client,
    /// From which level on log messages are wanted, by a client that says so with each request.
    level: Option<Level>,
    /// How what the upstream names looks where several servers stand behind one URL.
    exposed: Option<Arc<Exposed>>,
}

/// An answer as the client may have it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Shaped {
    /// The whole message.
    Answer(Bytes),
    /// It asks something first; a client with a session is asked by requests.
    AsksBack(InputRequired),
}

/// What was held back for a client with a session and can't be passed on.
const UNREADABLE: &str = "the server's answer has no form in a session";

static COMPLETE: LazyLock<Arc<Additions>> = LazyLock::new(|| {
    let additions = Additions::of(&[("resultType", "\"complete\"")]);
    Arc::new(additions.with_meta(meta::SERVER_INFO, Bytes::from_static(OWN_INFO)))
});

/// What may be kept of a resource that a session read is unknown.
static READ: LazyLock<Arc<Additions>> = LazyLock::new(|| {
    let hints = [("resultType", "\"complete\""), ("ttlMs", "0"), ("cacheScope", "\"private\"")];
    Arc::new(Additions::of(&hints).with_meta(meta::SERVER_INFO, Bytes::from_static(OWN_INFO)))
});

impl Shape {
    /// For the answer to this method of an upstream that is spoken with in this era.
    pub(crate) fn of(client: Client, upstream: Era, method: &str) -> Self {
        let cell = match (client.era(), upstream) {
            (Era::Session, Era::Session) => Cell::LL,
            (Era::Stateless, Era::Stateless) => Cell::MM,
            (Era::Session, Era::Stateless) => Cell::LM,
            (Era::Stateless, Era::Session) => Cell::ML,
        };
        Self { cell, asks: Asks::of(method), client, level: None, exposed: None }
    }

    /// The same, for a client that asked for log messages from this level on, given as raw JSON.
    pub(crate) fn telling(self, level: Option<&[u8]>) -> Self {
        Self { level: level.and_then(Level::read), ..self }
    }

    /// The same, for an answer at a URL of several servers.
    pub(crate) fn exposing(self, exposed: Option<Exposed>) -> Self {
        Self { exposed: exposed.map(Arc::new), ..self }
    }

    /// How what the upstream names looks to the client, if it does not look as it is.
    pub(crate) fn exposed(&self) -> Option<&Exposed> {
        self.exposed.as_deref()
    }

    pub(crate) fn cell(&self) -> Cell {
        self.cell
    }

    /// The era of the upstream.
    pub(crate) fn upstream(&self) -> Era {
        match self.cell {
            Cell::LL | Cell::ML => Era::Session,
            Cell::MM | Cell::LM => Era::Stateless,
        }
    }

    pub(crate) fn asks(&self) -> Asks {
        self.asks
    }

    /// What the result gets while it streams by.
    pub(crate) fn additions(&self) -> Option<Arc<Additions>> {
        match (self.cell, self.asks) {
            (Cell::ML, Asks::Resource) => Some(READ.clone()),
            (Cell::ML, _) => Some(COMPLETE.clone()),
            _ => None,
        }
    }

    /// Whether the answer has to be there as a whole before anything of it can be passed on.
    pub(crate) fn holds_back(&self) -> bool {
        match self.cell {
            Cell::LM => true,
            Cell::LL => self.repairs(),
            Cell::MM | Cell::ML => false,
        }
    }

    /// Whether an error becomes another one.
    pub(crate) fn rewrites_errors(&self) -> bool {
        matches!(self.cell, Cell::ML | Cell::LM) || (self.cell == Cell::LL && self.exposed.is_some())
    }

    fn repairs(&self) -> bool {
        matches!(self.asks, Asks::Tool | Asks::Prompt) && may_need_repair(self.client.revision)
    }

    /// A whole response as the client may have it, under the client's id.
    pub(crate) fn whole(&self, message: &Bytes, envelope: &Envelope, id: &[u8]) -> Shaped {
        match (envelope.result, envelope.error) {
            (Some(result), _) => self.result(result.of(message), id),
            (None, Some(error)) => Shaped::Answer(self.error(error.of(message), id)),
            (None, None) => Shaped::Answer(message.clone()),
        }
    }

    fn result(&self, result: &[u8], id: &[u8]) -> Shaped {
        let shaped = match self.cell {
            Cell::MM => None,
            Cell::LL => self.repairs().then(|| repaired(result, self.client.revision)).flatten(),
            Cell::ML => self.additions().and_then(|additions| additions.to(result)),
            Cell::LM => match result_type(result) {
                Type::Complete => {
                    let plain = plain(result);
                    let repaired = match self.asks {
                        Asks::Tool | Asks::Prompt => repaired(plain.as_deref().unwrap_or(result), self.client.revision),
                        Asks::Resource | Asks::Other => None,
                    };
                    repaired.or(plain)
                }
                Type::InputRequired if self.asks.may_ask_back() => match InputRequired::read(result) {
                    Some(asked) => return Shaped::AsksBack(asked),
                    None => return Shaped::Answer(write::error(Some(id), -32603, UNREADABLE, None)),
                },
                // Tasks were not declared; of others nobody knows what they mean.
                Type::InputRequired | Type::Unknown => {
                    return Shaped::Answer(write::error(Some(id), -32603, UNREADABLE, None));
                }
            },
        };
        let result = shaped.as_deref().unwrap_or(result);
        let exposed = self.exposed().and_then(|exposed| exposed.rewritten(result));
        Shaped::Answer(write::result(id, exposed.as_deref().unwrap_or(result)))
    }

    /// The response to a request that ended with this raw error, under the client's id.
    pub(crate) fn error(&self, error: &[u8], id: &[u8]) -> Bytes {
        if !self.rewrites_errors() {
            return write::raw_error(id, error);
        }
        match (self.cell, code(error)) {
            (Cell::ML, Some(-32002)) => {
                // Which resource it was is worth telling.
                let error = Object::read(error);
                let message = error.as_ref().and_then(|error| error.text("message"));
                let data = error.as_ref().and_then(|error| error.get("data"));
                write::error(Some(id), -32602, message.as_deref().unwrap_or("resource not found"), data)
            }
            (Cell::ML, Some(-32042)) => self.opening(error, id),
            (Cell::LL, Some(-32042)) => {
                let named = self.exposed().and_then(|exposed| words::elicited(error, exposed.mount.name()));
                write::raw_error(id, named.as_deref().unwrap_or(error))
            }
            (Cell::LM, Some(-32602)) if self.asks == Asks::Resource && names_uri(error) => {
                let error = Object::read(error);
                let message = error.as_ref().and_then(|error| error.text("message"));
                let data = error.as_ref().and_then(|error| error.get("data"));
                write::error(Some(id), -32002, message.as_deref().unwrap_or("resource not found"), data)
            }
            (Cell::LM, Some(-32021)) => {
                let needed = Object::read(error)
                    .and_then(|error| Object::read(error.get("data")?))
                    .and_then(|data| Some(String::from_utf8_lossy(data.get("requiredCapabilities")?).into_owned()));
                said(id, &self.cannot(&missing(needed.as_deref())))
            }
            (Cell::LM, Some(code @ (-32020 | -32022))) => {
                let said = Object::read(error).and_then(|error| Some(error.text("message")?.into_owned()));
                let said = said.unwrap_or_default();
                write::error(Some(id), -32603, &format!("the server refused how it was asked ({code}): {said}"), None)
            }
            _ => write::raw_error(id, error),
        }
    }

    /// URLs that must be opened first, as a round.
    fn opening(&self, error: &[u8], id: &[u8]) -> Bytes {
        let elicitations = Object::read(error)
            .and_then(|error| Object::read(error.get("data")?))
            .and_then(|data| mcp::elements(data.get("elicitations")?))
            .unwrap_or_default();
        let asked = elicitations.iter().take(mcp::result::MAX_QUESTIONS).filter_map(|asked| {
            let asked = Object::read(asked)?;
            Some(json!({ "mode": "url", "url": asked.text("url")?, "message": asked.text("message").unwrap_or_default() }))
        });
        let asked: serde_json::Map<String, serde_json::Value> = asked
            .enumerate()
            .map(|(at, params)| (format!("url-{at}"), json!({ "method": "elicitation/create", "params": params })))
            .collect();
        if asked.is_empty() || !self.asks.may_ask_back() {
            return write::error(Some(id), -32603, "the server wants a URL to be opened and does not say which", None);
        }
        if !self.client.capabilities.opens_urls() {
            let data = json!({ "requiredCapabilities": { "elicitation": { "url": {} } } });
            let message = "the server wants a URL to be opened, and the client does not declare that it opens any";
            return write::error(Some(id), -32021, message, Some(data.to_string().as_bytes()));
        }
        let result = json!({ "resultType": "input_required", "inputRequests": asked });
        write::result(id, result.to_string().as_bytes())
    }

    /// What a client with a session hears of something that it can't be asked: its model of a tool, else an error.
    pub(crate) fn cannot(&self, message: &str) -> Answer {
        if self.asks == Asks::Tool {
            let result = json!({ "content": [{ "type": "text", "text": message }], "isError": true });
            return Ok(result.to_string().into());
        }
        Err(json!({ "code": -32603, "message": message }).to_string().into())
    }

    /// The same of a URL that its user would have to open.
    pub(crate) fn cannot_open(&self, url: &str, message: &str) -> Answer {
        if self.client.revision != Revision::V2025_11_25 {
            return self.cannot(&format!("{message} Open {url} first; the call can be made again afterwards."));
        }
        let elicitation = uuid::Uuid::new_v4().to_string();
        let asked = json!({ "mode": "url", "elicitationId": elicitation, "url": url, "message": message });
        let data = json!({ "elicitations": [asked] });
        Err(json!({ "code": -32042, "message": "a URL must be opened first", "data": data }).to_string().into())
    }

    /// Whether a notification of the upstream reaches the client: without a session nobody hears log messages that it
    /// did not ask for.
    pub(crate) fn passes(&self, message: &[u8], envelope: &Envelope) -> bool {
        if self.cell != Cell::ML || envelope.method(message) != "notifications/message" {
            return self.cell != Cell::ML || envelope.method(message) != "notifications/elicitation/complete";
        }
        let level = envelope.params.as_ref().and_then(|params| Level::read(params.level?.of(message)));
        matches!((self.level, level), (Some(wanted), Some(level)) if level >= wanted)
    }
}

/// An answer as a message with this id.
fn said(id: &[u8], answer: &Answer) -> Bytes {
    match answer {
        Ok(result) => write::result(id, result),
        Err(error) => write::raw_error(id, error),
    }
}

/// What a client hears that would have to be asked for more than it declares; `needed`: a raw object, if it is known.
pub(crate) fn missing(needed: Option<&str>) -> String {
    match needed {
        Some(needed) => format!("The server needs a capability that the client does not declare: {needed}"),
        None => "The server needs a capability that the client does not declare.".to_owned(),
    }
}

/// Whether an error says which resource it is about.
fn names_uri(error: &[u8]) -> bool {
    Object::read(error).and_then(|error| Object::read(error.get("data")?)?.get("uri").map(drop)).is_some()
}

enum Type {
    Complete,
    InputRequired,
    Unknown,
}

fn result_type(result: &[u8]) -> Type {
    match mcp::member(result, "resultType").map(|span| span.of(result)) {
        None | Some(b"\"complete\"") => Type::Complete,
        Some(b"\"input_required\"") => Type::InputRequired,
        Some(_) => Type::Unknown,
    }
}

/// A level of log messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Level(u8);

impl Level {
    /// Of RFC 5424, the least grave first.
    const NAMES: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

    /// Reads a raw JSON string.
    fn read(raw: &[u8]) -> Option<Self> {
        let text = mcp::unescape(raw)?;
        Self::NAMES.iter().position(|name| *name == text).map(|at| Self(at as u8))
    }
}

#[cfg(test)]
mod tests;
