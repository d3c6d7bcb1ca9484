//! What a stream asked for, and the messages that it gets.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use mcp::{ListKind, sse, write};
use model::ServerId;
use serde::Deserialize;

use crate::fault::Fault;
use crate::hub::Hub;

/// Most resources that one stream subscribes to.
const RESOURCES: usize = 256;

/// The filter of a request.
#[derive(Debug, Deserialize)]
pub(super) struct Filter {
    #[serde(default, rename = "toolsListChanged")]
    tools: bool,
    #[serde(default, rename = "promptsListChanged")]
    prompts: bool,
    #[serde(default, rename = "resourcesListChanged")]
    resource_lists: bool,
    #[serde(default, rename = "resourceSubscriptions")]
    resources: Vec<String>,
}

impl Filter {
    /// Reads the raw object. What it names beside is of extensions that are not spoken here.
    pub(super) fn read(raw: &[u8]) -> Result<Self, Fault> {
        let malformed = Fault::Params("notifications is malformed");
        // An array would be taken for one without names.
        let object = Some(raw).filter(|raw| raw.first() == Some(&b'{'));
        let filter: Option<Self> = object.and_then(|raw| serde_json::from_slice(raw).ok());
        let filter = filter.ok_or(malformed)?;
        if filter.resources.len() > RESOURCES {
            return Err(Fault::Params("one stream subscribes to 256 resources at most"));
        }
        Ok(filter)
    }

    /// The kinds of lists, one bit each.
    pub(super) fn lists(&self) -> u8 {
        let kinds = [
            (self.tools, Hub::bit(ListKind::Tools)),
            (self.prompts, Hub::bit(ListKind::Prompts)),
            (self.resource_lists, Hub::bit(ListKind::Resources) | Hub::bit(ListKind::Templates)),
        ];
        kinds.into_iter().filter(|(wanted, _)| *wanted).fold(0, |all, (_, bits)| all | bits)
    }

    /// The URIs, each once.
    pub(super) fn resources(mut self) -> Vec<String> {
        self.resources.sort_unstable();
        self.resources.dedup();
        self.resources
    }
}

/// A resource that is subscribed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resource {
    /// As the client calls it.
    pub(super) uri: Box<str>,
    /// As its server does.
    pub(super) own: Box<str>,
}

/// What one stream hears of.
pub(crate) struct Wanted {
    /// The id of its request, raw JSON.
    id: Bytes,
    /// Kinds of lists, one bit each.
    lists: u8,
    /// By their servers.
    resources: Mutex<BTreeMap<ServerId, Vec<Resource>>>,
}

impl Wanted {
    pub(super) fn new(id: Bytes, lists: u8) -> Self {
        Self { id, lists, resources: Mutex::default() }
    }

    /// It hears of these resources of a server, and of no others of it.
    pub(super) fn hears_of(&self, server: ServerId, resources: &[Resource]) {
        self.there().insert(server, resources.to_vec());
    }

    /// The events that say that these kinds of lists changed, as far as it wants them.
    pub(crate) fn changed(&self, kinds: u8) -> Vec<Bytes> {
        let methods = Hub::methods(kinds & self.lists);
        methods.into_iter().map(|method| sse::frame(&self.tagged(method, ""))).collect()
    }

    /// The event that says that a resource of a server changed, if it wants it.
    pub(crate) fn updated(&self, server: ServerId, own: &str) -> Option<Bytes> {
        let resources = self.there();
        let resource = resources.get(&server)?.iter().find(|resource| &*resource.own == own)?;
        let member = format!(r#""uri":{},"#, quoted(&resource.uri));
        Some(sse::frame(&self.tagged("notifications/resources/updated", &member)))
    }

    /// What is said first: what of that which was asked for is done.
    pub(super) fn acknowledged(&self) -> Bytes {
        let mut done = Vec::new();
        for (kind, name) in [
            (ListKind::Tools, "toolsListChanged"),
            (ListKind::Prompts, "promptsListChanged"),
            (ListKind::Resources, "resourcesListChanged"),
        ] {
            if self.lists & Hub::bit(kind) != 0 {
                done.push(format!("\"{name}\":true"));
            }
        }
        let resources = self.there();
        let uris: Vec<String> = resources.values().flatten().map(|resource| quoted(&resource.uri)).collect();
        if !uris.is_empty() {
            done.push(format!("\"resourceSubscriptions\":[{}]", uris.join(",")));
        }
        let member = format!(r#""notifications":{{{}}},"#, done.join(","));
        self.tagged("notifications/subscriptions/acknowledged", &member)
    }

    /// What is said last.
    pub(super) fn ended(&self) -> Bytes {
        let mut result = br#"{"resultType":"complete","#.to_vec();
        self.tag(&mut result);
        result.push(b'}');
        write::result(&self.id, &result)
    }

    /// A notification of this stream; `member` is of its params, with a comma behind it.
    fn tagged(&self, method: &str, member: &str) -> Bytes {
        let mut out = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{{{member}"#).into_bytes();
        self.tag(&mut out);
        out.extend_from_slice(b"}}");
        out.into()
    }

    fn tag(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#""_meta":{"io.modelcontextprotocol/subscriptionId":"#);
        out.extend_from_slice(&self.id);
        out.push(b'}');
    }

    fn there(&self) -> MutexGuard<'_, BTreeMap<ServerId, Vec<Resource>>> {
        self.resources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn quoted(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    write::string(&mut out, text);
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(message: &[u8]) -> Value {
        let message = message.strip_prefix(b"event: message\ndata: ").unwrap_or(message).trim_ascii_end();
        let message = message.strip_prefix(b"data: ").unwrap_or(message);
        serde_json::from_slice(message).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(message)))
    }

    #[test]
    fn a_filter_is_read_or_refused() {
        for (raw, lists, uris) in [
            ("{}", 0, vec![]),
            (r#"{"toolsListChanged":true,"promptsListChanged":false}"#, Hub::bit(ListKind::Tools), vec![]),
            (r#"{"resourcesListChanged":true,"taskIds":["7"]}"#, 0b1100, vec![]),
            (r#"{"resourceSubscriptions":["b","a","b"]}"#, 0, vec!["a", "b"]),
        ] {
            let filter = Filter::read(raw.as_bytes()).unwrap();
            assert_eq!((filter.lists(), filter.resources()), (lists, uris.into_iter().map(str::to_owned).collect()));
        }
        let many = json!({"resourceSubscriptions": vec!["x"; RESOURCES + 1]}).to_string();
        for raw in ["[]", "7", r#"{"toolsListChanged":"yes"}"#, r#"{"resourceSubscriptions":[7]}"#, &many] {
            assert!(matches!(Filter::read(raw.as_bytes()), Err(Fault::Params(_))), "{raw}");
        }
    }

    #[test]
    fn everything_bears_the_id_of_the_request_as_it_came() {
        for (id, value) in
            [("7", json!(7)), ("\"7\"", json!("7")), ("12345678901234567890", json!(12345678901234567890u64))]
        {
            let wanted = Wanted::new(id.into(), 0b1111);
            let server = ServerId::fresh();
            wanted.hears_of(server, &[Resource { uri: "gw+a:x".into(), own: "x".into() }]);
            let acknowledged = read(&wanted.acknowledged());
            assert_eq!(
                acknowledged["params"]["notifications"],
                json!({"toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true,
                    "resourceSubscriptions": ["gw+a:x"]})
            );
            let updated = read(&wanted.updated(server, "x").unwrap());
            assert_eq!(updated["params"]["uri"], "gw+a:x");
            let mut tagged = vec![acknowledged, updated];
            tagged.extend(wanted.changed(0b1111).iter().map(|event| read(event)));
            assert_eq!(tagged.len(), 5);
            for message in tagged {
                assert_eq!(message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], value, "{message}");
            }
            let ended = read(&wanted.ended());
            assert_eq!((&ended["id"], &ended["result"]["resultType"]), (&value, &json!("complete")));
            assert_eq!(ended["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"], value);
        }
    }

    #[test]
    fn nothing_comes_that_was_not_asked_for() {
        let wanted = Wanted::new("1".into(), Hub::bit(ListKind::Prompts));
        assert!(wanted.changed(Hub::bit(ListKind::Tools) | Hub::bit(ListKind::Resources)).is_empty());
        assert_eq!(wanted.changed(Hub::ALL_LISTS).len(), 1);
        let (server, other) = (ServerId::fresh(), ServerId::fresh());
        wanted.hears_of(server, &[Resource { uri: "x".into(), own: "x".into() }]);
        assert!(wanted.updated(other, "x").is_none() && wanted.updated(server, "y").is_none());
        wanted.hears_of(server, &[]);
        assert!(wanted.updated(server, "x").is_none(), "it came to nothing");
        assert_eq!(read(&wanted.acknowledged())["params"]["notifications"], json!({"promptsListChanged": true}));
    }
}
