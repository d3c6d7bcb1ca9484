//! The built-in service, made with rmcp: always there, whatever is mounted or fails.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::Full;
use mcp::write::Patch;
use mcp::{Envelope, Item, List, ListKind, Span, Splicer};
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResult, ContentBlock, Implementation, ServerCapabilities, ServerConfig};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, ServerHandler, tool, tool_handler, tool_router};

use crate::asked::Asked;
use crate::body::{self, Body};
use crate::credentials::login_url;
use crate::fault::Fault;
use crate::gate::Gate;
use crate::limits::Held;
use crate::meta_tools::{self, MetaTool};
use crate::principal::Authenticated;
use crate::respond::json_response;
use crate::table::Table;
use crate::views::Page;

/// Its name, which no server can take.
pub(crate) const NAME: &str = model::BUILT_IN;

/// For how long its list is promised to be right: it is another one with another version of this program.
const SAME: Duration = Duration::from_secs(3600);
/// The id of every request to it.
const OWN_ID: &str = "1";

/// The service, ready to be called.
pub(crate) struct BuiltIn {
    service: StreamableHttpService<Service, NeverSessionManager>,
}

/// What rmcp serves.
#[derive(Clone)]
struct Service;

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Echo {
    /// The text to send back.
    message: String,
}

#[tool_router]
impl Service {
    #[tool(description = "Sends the message back: shows that the gateway answers.")]
    async fn echo(&self, Parameters(Echo { message }): Parameters<Echo>) -> Result<CallToolResult, ErrorData> {
        Ok(CallToolResult::success(vec![ContentBlock::text(message)]))
    }

    #[tool(
        description = "Lists the servers that you can use here, which of them you are connected to or where you can connect, which are left alone for a while, and who you are."
    )]
    async fn servers(&self, context: RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
        let parts = context.extensions.get::<Parts>();
        let who = parts.and_then(|parts| parts.extensions.get::<Authenticated>());
        let table = parts.and_then(|parts| parts.extensions.get::<Arc<Table>>());
        let servers: Vec<serde_json::Value> = who
            .into_iter()
            .flat_map(Authenticated::mounts)
            .map(|mount| {
                let cooling = mount.cooldown.remaining(std::time::Instant::now());
                // Null where no credential is taken.
                let bound = mount.spec.binding.is_some();
                let connected = who.filter(|_| bound).map(|who| who.served(mount).is_ok());
                serde_json::json!({
                    "name": mount.name(),
                    "title": mount.spec.title,
                    "cooling_ms": cooling.map(|left| left.as_millis() as u64),
                    "connected": connected,
                    "login_url": table.and_then(|table| login_url(table, mount)),
                })
            })
            .collect();
        let you = who.map(|who| {
            serde_json::json!({
                "tenant": who.tenant.spec.name.as_str(),
                "user": who.user().map(|user| user.to_string()),
                "login": who.login(),
                "departments": who.departments(),
                "role": who.role().as_str(),
            })
        });
        let text = serde_json::json!({ "servers": servers, "you": you }).to_string();
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]))
    }
}

#[tool_handler(router = Self::tool_router())]
impl ServerHandler for Service {
    fn get_info(&self) -> ServerConfig {
        let mut config = ServerConfig::new(ServerCapabilities::builder().enable_tools().build());
        config.server_info = Implementation::new(NAME, env!("CARGO_PKG_VERSION"));
        config
    }
}

impl Default for BuiltIn {
    fn default() -> Self {
        let config = StreamableHttpServerConfig::default().with_legacy_session_mode(false).with_json_response(true);
        let service = StreamableHttpService::new(
            || Ok::<_, std::io::Error>(Service),
            Arc::new(NeverSessionManager::default()),
            config,
        );
        Self { service }
    }
}

impl BuiltIn {
    /// Serves one complete request for a caller; the answer is a whole JSON-RPC response.
    ///
    /// rmcp knows ids up to 64 bits only: it gets one of ours, the answer the client's.
    pub(crate) async fn serve(&self, gate: &Gate, who: &Authenticated, message: Bytes) -> Bytes {
        let Some(id) = Envelope::scan(&message).ok().and_then(|envelope| envelope.id) else {
            return Fault::Internal.body(None, None);
        };
        let client = message.slice(id.start()..id.end());
        let mut own = Vec::with_capacity(message.len());
        let patch = Patch { span: id, with: OWN_ID.as_bytes() };
        mcp::write::patched(&mut own, &message, Span::whole(&message), &[patch]);
        let answer = self.answer(gate, who, own.into()).await;
        let mut splicer = Splicer::new(OWN_ID.into(), client.clone());
        let mut pieces = Vec::with_capacity(3);
        match splicer.push(&answer, &mut pieces).and_then(|()| splicer.finish()) {
            Ok(_) => pieces.concat().into(),
            Err(error) => {
                tracing::warn!(%error, "the built-in service did not answer");
                Fault::Internal.body(Some(&client), None)
            }
        }
    }

    async fn answer(&self, gate: &Gate, who: &Authenticated, message: Bytes) -> Bytes {
        let mut request = Request::new(Full::<Bytes>::new(message));
        *request.method_mut() = Method::POST;
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request.headers_mut().insert("host", HeaderValue::from_static("localhost"));
        request.extensions_mut().insert(who.clone());
        request.extensions_mut().insert(gate.tables.load_full());
        let response: http::Response<http_body_util::combinators::BoxBody<Bytes, Infallible>> =
            self.service.handle(request).await;
        body::collect(response.into_body()).await
    }
}

/// Its tools, as raw items like any other server's.
pub(crate) fn tools() -> &'static [Item] {
    static TOOLS: OnceLock<Vec<Item>> = OnceLock::new();
    TOOLS.get_or_init(|| {
        let result = serde_json::json!({ "tools": Service::tool_router().list_all() }).to_string();
        let own = List::parse(ListKind::Tools, &Bytes::from(result), 64).map(|list| list.items).unwrap_or_default();
        own.into_iter().chain(meta_tools::items().iter().cloned()).collect()
    })
}

/// The result of their list at the service's own URL.
fn listed() -> &'static Bytes {
    static LISTED: OnceLock<Bytes> = OnceLock::new();
    LISTED.get_or_init(|| {
        let raw: Vec<&[u8]> = tools().iter().map(|tool| &*tool.raw).collect();
        [&b"{\"tools\":["[..], &raw.join(&b','), b"]}"].concat().into()
    })
}

impl Gate {
    /// Serves a request at the service's own URL.
    pub(crate) async fn on_built_in(&self, asked: &Asked<'_>, call: Held) -> Result<Response<Body>, Fault> {
        let tool = || asked.name().and_then(|name| MetaTool::of_key(&name));
        match asked.method() {
            "tools/list" if asked.params().is_some_and(|params| params.cursor.is_some()) => {
                Err(Fault::Params("this list has one page"))
            }
            "tools/list" => Ok(json_response(Page::whole(listed(), SAME).answer(&asked.id, asked.session.client()))),
            "tools/call" if let Some(tool) = tool() => self.meta_tool(asked, tool, None, call).await,
            _ => Ok(self.by_built_in(asked, asked.message.clone()).await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tools_are_listed() {
        let names: Vec<&str> = tools().iter().map(|tool| &*tool.key).collect();
        assert_eq!(names, ["echo", "servers", "search_tools", "describe_tool", "call_tool"]);
        let list = List::parse(ListKind::Tools, listed(), 9).unwrap();
        assert_eq!(list.items.iter().map(|tool| &*tool.key).collect::<Vec<_>>(), names);
    }
}
