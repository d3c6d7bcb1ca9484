//! `server/discover`: what there is at a URL, for clients that begin no session.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use mcp::meta::SERVER_INFO;
use mcp::{Era, Revision, write};
use serde_json::{Value, json};

use super::TASKS;
use crate::aggregate;
use crate::asked::Asked;
use crate::body::Body;
use crate::built_in;
use crate::fault::Fault;
use crate::gate::Gate;
use crate::methods::waiting;
use crate::respond::{json_response, refused};
use crate::session::Scope;
use crate::table::{Mount, Offered};
use crate::toolsets;
use crate::upstream::{Failure, OWN_INFO, Opened};

/// For how long what is said is right, in milliseconds: servers come and go without a notification of it.
const TTL: u64 = 60_000;
/// How long a server may take to say what it has.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is told.
struct Told {
    capabilities: Value,
    instructions: Option<String>,
    server_info: Value,
    ttl: u64,
}

impl Gate {
    /// Says what there is at the URL of a request.
    pub(super) async fn discover(&self, asked: &Asked<'_>) -> Response<Body> {
        let told = match &asked.session.scope {
            Scope::Aggregate => {
                let (offered, instructions) = aggregate::offered(asked.who);
                let known = asked.who.mounts().all(|mount| mount.offers.known().is_some());
                Ok(own("gatehouse", &offered, Some(instructions), if known { TTL } else { 0 }))
            }
            Scope::BuiltIn => {
                // Nothing of it ever changes.
                let told = own(built_in::NAME, &Offered::default(), None, TTL);
                Ok(Told { capabilities: json!({ "tools": {} }), ..told })
            }
            Scope::Toolset(id) => match toolsets::found(asked.who, *id) {
                Some(toolset) => {
                    let (offered, instructions) = toolsets::offered(&toolset);
                    Ok(own(toolset.spec.name.as_str(), &offered, Some(instructions), TTL))
                }
                None => Err((Fault::NotFound, None)),
            },
            Scope::Server { server, .. } => match asked.who.mounts().find(|mount| mount.spec.id == *server).cloned() {
                Some(mount) => match self.opened(asked, &mount).await {
                    Ok(told) => Ok(told),
                    Err(failure) => Err((asked.fault(&failure, false), Some(mount))),
                },
                None => Err((Fault::NotFound, None)),
            },
        };
        match told {
            Ok(told) => json_response(write::result(&asked.id, &told.result())),
            Err((fault, mount)) => refused(self, &fault, Some(&asked.id), mount.as_deref().map(Mount::name)),
        }
    }

    /// What a server says of itself, which is asked if it has not been.
    async fn opened(&self, asked: &Asked<'_>, mount: &std::sync::Arc<Mount>) -> Result<Told, Failure> {
        let behalf = asked.behalf();
        let opening = async {
            let mut bearing = self.credentials().bearing(mount, &behalf).await?;
            self.sessions.shared(mount, &behalf, &mut bearing).await
        };
        match tokio::time::timeout(PATIENCE, opening).await.unwrap_or(Err(Failure::Deadline)) {
            Ok(opened) => said(&opened).ok_or(Failure::BadResponse("what it says of itself is malformed")),
            // Nothing has to be begun anew after the login: each request says everything itself.
            Err(Failure::NoCredential(why)) if why.needs_login => {
                let instructions = Some(waiting(mount, &why));
                Ok(own(mount.name(), &Offered::everything(), instructions, 0))
            }
            Err(failure) => Err(failure),
        }
    }
}

/// What the gateway says in its own name.
fn own(name: &str, offered: &Offered, instructions: Option<String>, ttl: u64) -> Told {
    let mut capabilities = offered.capabilities();
    drop_tasks(&mut capabilities);
    let server_info = match name {
        "gatehouse" => serde_json::from_slice(OWN_INFO).unwrap_or_default(),
        name => json!({ "name": name, "version": env!("CARGO_PKG_VERSION") }),
    };
    Told { capabilities, instructions, server_info, ttl }
}

/// What a server said, when its session began or when it was asked.
fn said(opened: &Opened) -> Option<Told> {
    read(&opened.result, opened.revision.era())
}

fn read(result: &[u8], era: Era) -> Option<Told> {
    let mut said: Value = serde_json::from_slice(result).ok()?;
    let mut capabilities = said.get_mut("capabilities")?.take();
    capabilities.as_object()?;
    drop_tasks(&mut capabilities);
    if era == Era::Session
        && let Some(extensions) = capabilities.get_mut("extensions").and_then(Value::as_object_mut)
    {
        extensions.remove(TASKS);
    }
    let info = said.get("_meta").and_then(|meta| meta.get(SERVER_INFO)).or_else(|| said.get("serverInfo"));
    let server_info = info.cloned().unwrap_or_default();
    let instructions = said.get("instructions").and_then(Value::as_str).map(str::to_owned);
    let ttl = match era {
        Era::Session => TTL,
        Era::Stateless => said.get("ttlMs").and_then(Value::as_u64).unwrap_or_default().min(TTL),
    };
    Some(Told { capabilities, instructions, server_info, ttl })
}

/// Tasks of 2025-11-25 are methods that this era does not have.
fn drop_tasks(capabilities: &mut Value) {
    if let Some(capabilities) = capabilities.as_object_mut() {
        capabilities.remove("tasks");
    }
}

impl Told {
    /// The raw result. What there is depends on who asks: no cache may show it to anybody else.
    fn result(self) -> Bytes {
        let mut result = json!({
            "resultType": "complete",
            "supportedVersions": Revision::ALL.map(Revision::as_str),
            "capabilities": self.capabilities,
            "ttlMs": self.ttl,
            "cacheScope": "private",
        });
        if let Some(result) = result.as_object_mut() {
            if let Some(instructions) = self.instructions {
                result.insert("instructions".to_owned(), instructions.into());
            }
            if !self.server_info.is_null() {
                result.insert("_meta".to_owned(), json!({ SERVER_INFO: self.server_info }));
            }
        }
        result.to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(result: &str, era: Era) -> Value {
        serde_json::from_slice(&read(result.as_bytes(), era).unwrap().result()).unwrap()
    }

    #[test]
    fn what_a_session_began_with_is_told_to_those_who_have_none() {
        let told = told(
            r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true},"tasks":{},"vendor":{"x":1},
            "extensions":{"io.modelcontextprotocol/tasks":{},"a/b":{}}},
            "serverInfo":{"name":"notes","version":"7"},"instructions":"Ask."}"#,
            Era::Session,
        );
        assert_eq!(
            told,
            json!({
                "resultType": "complete", "ttlMs": 60_000, "cacheScope": "private", "instructions": "Ask.",
                "supportedVersions": ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"],
                "capabilities": { "tools": { "listChanged": true }, "vendor": { "x": 1 }, "extensions": { "a/b": {} } },
                "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "notes", "version": "7" } },
            })
        );
    }

    #[test]
    fn what_was_discovered_is_promised_for_no_longer_than_it_was_to_us() {
        for (ttl, told_ttl) in [("0", 0), ("500", 500), ("86400000", 60_000), ("-1", 0)] {
            let said = format!(
                r#"{{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":
                {{"extensions":{{"io.modelcontextprotocol/tasks":{{}}}}}},"ttlMs":{ttl},"cacheScope":"public",
                "_meta":{{"io.modelcontextprotocol/serverInfo":{{"name":"notes","version":"7"}}}}}}"#
            );
            let told = told(&said, Era::Stateless);
            assert_eq!((&told["ttlMs"], &told["cacheScope"]), (&told_ttl.into(), &"private".into()));
            assert_eq!(told["_meta"][SERVER_INFO]["name"], "notes");
            assert!(told["capabilities"]["extensions"][TASKS].is_object());
            assert!(told.get("instructions").is_none());
        }
        assert!(read(b"{}", Era::Session).is_none() && read(b"[]", Era::Session).is_none());
    }
}
