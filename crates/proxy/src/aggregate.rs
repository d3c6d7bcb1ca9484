//! `/mcp`: everything that a caller may use as one server, and the way from its names back to the servers'.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Response;
use mcp::{Era, ListKind, Params, Revision, Span, names, write};
use serde_json::json;

use crate::asked::{Asked, Renamed};
use crate::body::Body;
use crate::built_in;
use crate::exposed::{self, open_task};
use crate::fault::Fault;
use crate::gate::Gate;
use crate::limits::Held;
use crate::lists::listed;
use crate::meta_tools::MetaTool;
use crate::principal::Authenticated;
use crate::respond::{json_response, refused};
use crate::table::{Listed, Mount, Offered};
use crate::upstream::{Connected, Failure};
use crate::upstream_sessions::Shared;
use crate::views::unprefixed;

/// How long the upstreams may take to list their tasks.
const TASKS: Duration = Duration::from_secs(5);
/// What models are told of the names here.
const OWN_INSTRUCTIONS: &str = "Tools and prompts of several servers; each name begins with its server's name and two underscores. \
    If they are too many to read, gatehouse__search_tools finds those that fit a few words.";
/// Longest instructions of all servers together, in bytes; those of further ones are left out.
const INSTRUCTIONS: usize = 16 << 10;
/// How long the upstreams may take to hear of a log level.
const LEVEL: Duration = Duration::from_secs(2);

impl Gate {
    /// Serves a request at `/mcp`.
    pub(crate) async fn on_aggregate(&self, asked: &Asked<'_>, call: Held) -> Result<Response<Body>, Fault> {
        let method = asked.method();
        if let Some(kind) = ListKind::of_method(method) {
            let client = asked.session.client();
            let view = Box::pin(self.views.merged(&self.sessions, asked.who, asked.shown, client, kind)).await;
            let cursor = asked.params().and_then(|params| params.cursor);
            let cursor = cursor.map(|span| Params::text(Some(span), asked.message).unwrap_or_default());
            let page = view.page(&self.sealer, kind, cursor.as_deref());
            let page = page.ok_or(Fault::Params("the cursor is not of this list"))?;
            return Ok(json_response(page.answer(&asked.id, client)));
        }
        match method {
            "tools/call" => self.named(asked, ListKind::Tools, call).await,
            "prompts/get" => self.named(asked, ListKind::Prompts, call).await,
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
                let params = asked.params();
                let (span, uri) = params
                    .and_then(|params| Some((params.uri?, Params::text(params.uri, asked.message)?)))
                    .ok_or(Fault::Params("uri is missing"))?;
                let (mount, original) =
                    Box::pin(self.owner(asked, &uri)).await.ok_or_else(|| Fault::unknown_resource(&uri))?;
                if !self.subscribes_or_not(asked, &mount, &original, &uri)? {
                    return Ok(json_response(write::result(&asked.id, b"{}")));
                }
                Ok(self.relay(asked, &mount, renamed(span, &uri, &original), Some(call)).await)
            }
            "completion/complete" => {
                let params = asked.params();
                let (span, reference) = params
                    .and_then(|params| Some((params.reference?, Params::text(params.reference, asked.message)?)))
                    .ok_or(Fault::Params("ref is missing"))?;
                if let Some((mount, original)) = Box::pin(self.find(asked, ListKind::Prompts, &reference)).await {
                    return Ok(self.relay(asked, &mount, renamed(span, &reference, &original), Some(call)).await);
                }
                let (mount, original) = Box::pin(self.owner(asked, &reference))
                    .await
                    .ok_or(Fault::Unknown { reason: "unknown_reference" })?;
                Ok(self.relay(asked, &mount, renamed(span, &reference, &original), Some(call)).await)
            }
            "tasks/list" => Ok(json_response(Box::pin(self.tasks(asked)).await)),
            method if method.starts_with("tasks/") => self.task(asked, call).await,
            "logging/setLevel" => {
                Box::pin(self.set_level(asked)).await;
                Ok(json_response(write::result(&asked.id, b"{}")))
            }
            _ => Err(Fault::MethodUnknown),
        }
    }

    /// A tool or prompt by its exposed name.
    async fn named(&self, asked: &Asked<'_>, kind: ListKind, call: Held) -> Result<Response<Body>, Fault> {
        let name = asked.name().ok_or(Fault::Params("name is missing"))?;
        let span = asked.params().and_then(|params| params.name).unwrap_or_default();
        let unknown =
            Fault::Unknown { reason: if kind == ListKind::Tools { "unknown_tool" } else { "unknown_prompt" } };
        if kind == ListKind::Tools && names::server(&name) == Some(built_in::NAME) {
            if let Some(tool) = MetaTool::called(&name) {
                return Box::pin(self.meta_tool(asked, tool, None, call)).await;
            }
            let tool = built_in::tools()
                .iter()
                .find(|tool| names::exposed(built_in::NAME, &tool.key) == name)
                .ok_or(unknown)?;
            let mut message = Vec::with_capacity(asked.message.len());
            let mut with = Vec::new();
            write::string(&mut with, &tool.key);
            write::patched(
                &mut message,
                asked.message,
                Span::whole(asked.message),
                &[write::Patch { span, with: &with }],
            );
            return Ok(Box::pin(self.by_built_in(asked, message.into())).await);
        }
        let slug = names::server(&name).ok_or(unknown.clone())?;
        let mount = asked.who.mount(slug).cloned().ok_or(unknown.clone())?;
        if kind == ListKind::Tools && mount.disabled.iter().any(|tool| names::exposed(slug, tool) == name) {
            return Ok(refused(self, &Fault::ToolDisabled, Some(&asked.id), Some(slug)));
        }
        let listed = match self.holding(asked, &mount, kind, &name).await {
            Ok(listed) => listed,
            Err(failure) => {
                return Ok(refused(self, &asked.fault(&failure, false), Some(&asked.id), Some(slug)));
            }
        };
        let item = listed.find(&name).ok_or(unknown)?;
        let renamed = renamed(span, &name, &item.key);
        Ok(self.relay(asked, &mount, renamed, Some(call)).await)
    }

    /// A mount's list, asked for anew if it does not have this exposed name: it may be new over there.
    pub(crate) async fn holding(
        &self,
        asked: &Asked<'_>,
        mount: &Arc<Mount>,
        kind: ListKind,
        name: &str,
    ) -> Result<Arc<Listed>, Failure> {
        match asked.who.known(mount, asked.session.client(), kind) {
            Some(listed) if listed.find(name).is_some() => Ok(listed),
            known => {
                if known.is_some_and(|known| known.may_be_asked_again())
                    && let Ok(served) = asked.who.served(mount)
                {
                    mount.invalidate(served.part, kind);
                }
                Box::pin(listed(&self.sessions, &asked.behalf(), mount, kind)).await
            }
        }
    }

    /// A request about one task, at the server whose it is.
    async fn task(&self, asked: &Asked<'_>, call: Held) -> Result<Response<Body>, Fault> {
        let params = asked.params();
        let (span, id) = params
            .and_then(|params| Some((params.task_id?, Params::text(params.task_id, asked.message)?)))
            .ok_or(Fault::Params("taskId is missing"))?;
        let unknown = Fault::Unknown { reason: "unknown_task" };
        let (server, original) = open_task(&self.sealer, asked.who.tenant.spec.id, &id).ok_or(unknown.clone())?;
        let mount = asked.who.mounts().find(|mount| mount.spec.id == server).cloned().ok_or(unknown)?;
        Ok(self.relay(asked, &mount, renamed(span, &id, &original), Some(call)).await)
    }

    /// The tasks of every upstream that is known to keep any, as far as each tells on its first page: a cursor of one
    /// would lead to no other.
    async fn tasks(&self, asked: &Asked<'_>) -> Bytes {
        let keepers = asked.who.mounts().filter(|mount| mount.offers.known().is_some_and(|offered| offered.tasks));
        let told = keepers.map(async |mount| {
            let bearing = self.credentials().bearing(mount, &asked.behalf()).await.ok()?;
            let opened = self.sessions.known(mount, &asked.behalf(), bearing.part).await?;
            let connected = opened.connected.bearing(bearing.lines.as_ref());
            let asking = crate::upstream::ask(mount, &connected, "tasks/list", b"{}");
            let result = tokio::time::timeout(TASKS, asking).await.ok()?.ok()?.ok()?;
            let exposed = asked.exposed(&self.sealer, mount, false);
            let result = exposed.rewritten(&result).map_or(result, Bytes::from);
            let tasks = mcp::member(&result, "tasks")?;
            // What stands between the brackets.
            let inner = result.slice(tasks.start()..tasks.end());
            let inner = inner.strip_prefix(b"[")?.strip_suffix(b"]")?.trim_ascii().to_vec();
            Some(inner).filter(|inner| !inner.is_empty())
        });
        let told: Vec<Vec<u8>> = futures::future::join_all(told).await.into_iter().flatten().collect();
        let mut result = br#"{"tasks":["#.to_vec();
        result.extend_from_slice(&told.join(&b","[..]));
        result.extend_from_slice(b"]}");
        write::result(&asked.id, &result)
    }

    /// The mount and the original name behind an exposed one, if it is known.
    async fn find(&self, asked: &Asked<'_>, kind: ListKind, name: &str) -> Option<(Arc<Mount>, String)> {
        let mount = asked.who.mount(names::server(name)?)?.clone();
        let listed = listed(&self.sessions, &asked.behalf(), &mount, kind).await.ok()?;
        let original = listed.find(name)?.key.to_string();
        Some((mount, original))
    }

    /// The mount that a URI belongs to: by its prefix, by the lists, by the templates. Upstreams are
    /// asked only if none of what is known fits.
    pub(crate) async fn owner(&self, asked: &Asked<'_>, uri: &str) -> Option<(Arc<Mount>, String)> {
        if let Some((slug, original)) = unprefixed(uri) {
            return Some((asked.who.mount(slug)?.clone(), original.to_owned()));
        }
        let client = asked.session.client();
        let missing = |kind| asked.who.mounts().any(move |mount| asked.who.known(mount, client, kind).is_none());
        // A template fits much: as long as a list is unknown, the URI may stand in it.
        if (exposed::listed_owner(asked.who, client, uri).is_none() && missing(ListKind::Resources))
            || missing(ListKind::Resources)
            || missing(ListKind::Templates)
        {
            let merged = |kind| self.views.merged(&self.sessions, asked.who, asked.shown, client, kind);
            tokio::join!(merged(ListKind::Resources), merged(ListKind::Templates));
        }
        Some((exposed::owner(asked.who, client, uri)?, uri.to_owned()))
    }

    /// Tells every upstream that the principal has a session with, all at once, and waits a moment.
    async fn set_level(&self, asked: &Asked<'_>) {
        self.remember_level(asked);
        let told = asked.who.mounts().map(async |mount| {
            let Ok(bearing) = self.credentials().bearing(mount, &asked.behalf()).await else { return };
            let Some(opened) = self.sessions.known(mount, &asked.behalf(), bearing.part).await else { return };
            if mount.cooldown.remaining(Instant::now()).is_none() {
                self.tell_level(asked, mount, &opened, &opened.connected.bearing(bearing.lines.as_ref())).await;
            }
        });
        futures::future::join_all(told).await;
    }

    /// From which level on a client with a session wants to be told what servers log.
    pub(crate) fn remember_level(&self, asked: &Asked<'_>) {
        if let Some(level) = asked.params().and_then(|params| params.level) {
            self.client_sessions.set_level(asked.session, level.of(asked.message));
        }
    }

    /// Tells an upstream the level that the client wants, if it has said one. Sessions that share the upstream's share
    /// the level: the last word counts.
    pub(crate) async fn tell_level(
        &self,
        asked: &Asked<'_>,
        mount: &Arc<Mount>,
        shared: &Shared,
        connected: &Connected,
    ) {
        let logs = connected.era() == Era::Session && mount.offers.known().is_some_and(|offered| offered.logging);
        let Some(level) = self.client_sessions.level(asked.session).filter(|_| logs) else { return };
        shared.level_told.store(true, Ordering::Release);
        let params = [&b"{\"level\":"[..], &level, b"}"].concat();
        let asking = crate::upstream::ask(mount, connected, "logging/setLevel", &params);
        let told = tokio::time::timeout(LEVEL, asking).await.unwrap_or(Err(Failure::Deadline));
        if let Err(failure) = told {
            tracing::debug!(server = mount.name(), class = failure.class(), "a log level could not be passed on");
        }
    }
}

pub(crate) fn renamed(span: Span, name: &str, original: &str) -> Renamed {
    (name != original).then(|| {
        let mut with = Vec::with_capacity(original.len() + 2);
        write::string(&mut with, original);
        (span, with)
    })
}

/// What a client is told that begins a session here.
pub(crate) fn initialized(who: &Authenticated, revision: Revision) -> Bytes {
    let (offered, instructions) = offered(who);
    let result = json!({
        "protocolVersion": revision.as_str(),
        "capabilities": offered.capabilities(),
        "serverInfo": { "name": "gatehouse", "version": env!("CARGO_PKG_VERSION") },
        "instructions": instructions,
    });
    result.to_string().into()
}

/// What the servers that somebody may use have among them, and how they are to be used, by what they said last. As long
/// as one of them has said nothing it may have everything.
pub(crate) fn offered(who: &Authenticated) -> (Offered, String) {
    let mut instructions = OWN_INSTRUCTIONS.to_owned();
    // The built-in service has tools.
    let mut all = Offered { tools: true, ..Offered::default() };
    for mount in who.mounts() {
        let Some(offered) = mount.offers.known() else {
            all = all.or(&Offered::everything());
            continue;
        };
        all = all.or(&offered);
        if !offered.instructions.is_empty() && instructions.len() + offered.instructions.len() < INSTRUCTIONS {
            instructions.extend(["\n\n# ", mount.name(), "\n\n", &offered.instructions]);
        }
    }
    (all, instructions)
}
