//! The server: what the matrix asks for, with the SDK's own transport.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestParams, CompleteResult, ContentBlock,
    ElicitRequest, ElicitRequestParams, ElicitResult, GetPromptRequestParams, GetPromptResponse, GetPromptResult,
    InputRequest, InputRequests, InputRequiredResult, ListPromptsResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, ProgressNotificationParam, PromptMessage, ProtocolVersion, ReadResourceRequestParams,
    ReadResourceResponse, ReadResourceResult, ResourceContents, ResourceUpdatedNotificationParam, Role,
    ServerCapabilities, ServerConfig, SubscribeRequestParams, SubscriptionFilter, UnsubscribeRequestParams,
};
use rmcp::model::{CreateMessageRequest, CreateMessageRequestParams, CreateMessageResult, SamplingMessage};
use rmcp::service::{Peer, RequestContext, SubscriptionContext};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

const WATCHED: &str = "test://watched-resource";
/// Between steps that are told: a client in between may pass on two messages in the order that it likes.
const STEP: Duration = Duration::from_millis(20);
/// Updates that a slow listener may be behind.
const UPDATES: usize = 64;

/// The running server.
pub struct RustServer {
    url: String,
    task: JoinHandle<()>,
}

impl RustServer {
    /// Starts on a free port of loopback.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/mcp", listener.local_addr().expect("bound"));
        let served = Served::default();
        let service = StreamableHttpService::new(
            move || Ok(served.clone()),
            Arc::new(LocalSessionManager::default()),
            StreamableHttpServerConfig::default(),
        );
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let service = service.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let service = service.clone();
                        async move { Ok::<_, std::convert::Infallible>(service.handle(request).await) }
                    });
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { url, task }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for RustServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Served {
    cancelled: Arc<Mutex<BTreeSet<String>>>,
    watchers: Arc<Mutex<Vec<Peer<RoleServer>>>>,
    updates: broadcast::Sender<()>,
}

impl Default for Served {
    fn default() -> Self {
        Self { cancelled: Arc::default(), watchers: Arc::default(), updates: broadcast::channel(UPDATES).0 }
    }
}

fn of_json<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("it is written as the schema has it")
}

fn said(text: impl Into<String>) -> CallToolResponse {
    CallToolResult::success(vec![ContentBlock::text(text)]).into()
}

fn form(message: &str) -> ElicitRequestParams {
    let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]});
    ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: message.to_owned(),
        requested_schema: of_json(schema),
    }
}

fn prompt_for_model(prompt: &str) -> CreateMessageRequestParams {
    CreateMessageRequestParams::new(vec![SamplingMessage::user_text(prompt)], 100)
}

fn ask(request: InputRequest) -> CallToolResponse {
    InputRequiredResult::new(Some(InputRequests::from([("answer".to_owned(), request)])), None).into()
}

fn told(answer: &ElicitResult) -> CallToolResponse {
    said(format!("It is {}", answer.content.clone().unwrap_or_default()))
}

fn sampled(answer: &CreateMessageResult) -> CallToolResponse {
    said(format!("LLM response: {}", serde_json::to_value(answer).expect("JSON")))
}

fn stateless(context: &RequestContext<RoleServer>) -> bool {
    context.meta.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
}

fn failed(error: impl ToString) -> ErrorData {
    ErrorData::internal_error(error.to_string(), None)
}

impl Served {
    async fn progress(&self, context: &RequestContext<RoleServer>) -> Result<CallToolResponse, ErrorData> {
        for at in [0.0, 50.0, 100.0] {
            if let Some(token) = context.meta.get_progress_token() {
                let progress = ProgressNotificationParam::new(token, at).with_total(100.0);
                context.peer.notify_progress(progress).await.map_err(failed)?;
            }
            tokio::time::sleep(STEP).await;
        }
        Ok(said("Three steps"))
    }

    async fn wait(&self, milliseconds: u64, label: &str, context: &RequestContext<RoleServer>) -> CallToolResponse {
        let mut gone = Gone { cancelled: &self.cancelled, label: Some(label) };
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(milliseconds)) => gone.label = None,
            () = context.ct.cancelled() => {}
        }
        said("Waited")
    }

    async fn touch(&self) -> CallToolResponse {
        let _ = self.updates.send(());
        let watchers = self.watchers.lock().unwrap().clone();
        for peer in watchers {
            let _ = peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(WATCHED)).await;
        }
        said("Touched")
    }
}

/// Notes a call that ended before its time, be it told or dropped.
struct Gone<'a> {
    cancelled: &'a Mutex<BTreeSet<String>>,
    label: Option<&'a str>,
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        if let Some(label) = self.label {
            self.cancelled.lock().unwrap().insert(label.to_owned());
        }
    }
}

impl ServerHandler for Served {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_prompts()
            .enable_completions()
            .enable_resources()
            .enable_resources_subscribe()
            .build();
        ServerConfig::new(capabilities)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tool = |name: &str, properties: Value| {
            let required: Vec<&String> = properties.as_object().into_iter().flat_map(|all| all.keys()).collect();
            let schema = json!({"type": "object", "properties": properties, "required": required});
            json!({"name": name, "description": name, "inputSchema": schema})
        };
        let (string, integer) = (json!({"type": "string"}), json!({"type": "integer"}));
        Ok(of_json(json!({"resultType": "complete", "tools": [
            tool("echo", json!({"message": string})),
            tool("test_tool_with_progress", json!({})),
            tool("wait", json!({"milliseconds": integer, "label": string})),
            tool("was_cancelled", json!({"label": string})),
            tool("touch_watched", json!({})),
            tool("test_elicitation", json!({"message": string})),
            tool("test_sampling", json!({"prompt": string})),
        ]})))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let text = |name: &str| arguments[name].as_str().unwrap_or_default();
        let answer = request.input_responses.and_then(|mut responses| responses.remove("answer"));
        match request.name.as_ref() {
            "echo" => Ok(said(format!("Echo: {}", text("message")))),
            "test_tool_with_progress" => self.progress(&context).await,
            "wait" => {
                let milliseconds = arguments["milliseconds"].as_u64().unwrap_or_default();
                Ok(self.wait(milliseconds, text("label"), &context).await)
            }
            "was_cancelled" => {
                let was = self.cancelled.lock().unwrap().contains(text("label"));
                Ok(said(if was { "yes" } else { "no" }))
            }
            "touch_watched" => Ok(self.touch().await),
            "test_elicitation" => match answer {
                Some(answer) => Ok(told(&of_json(answer))),
                None if stateless(&context) => {
                    Ok(ask(InputRequest::Elicitation(ElicitRequest::new(form(text("message"))))))
                }
                None => Ok(told(&context.peer.create_elicitation(form(text("message"))).await.map_err(failed)?)),
            },
            "test_sampling" => match answer {
                Some(answer) => Ok(sampled(&of_json(answer))),
                None if stateless(&context) => {
                    let request = CreateMessageRequest::new(prompt_for_model(text("prompt")));
                    Ok(ask(InputRequest::CreateMessage(request)))
                }
                None => {
                    let asked = prompt_for_model(text("prompt"));
                    Ok(sampled(&context.peer.create_message(asked).await.map_err(failed)?))
                }
            },
            other => Err(ErrorData::invalid_params(format!("no tool {other}"), None)),
        }
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let resource = |uri: &str| json!({"uri": uri, "name": uri});
        let resources = [resource("test://static-text"), resource(WATCHED)];
        Ok(of_json(json!({"resultType": "complete", "resources": resources})))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        Ok(ReadResourceResult::new(vec![ResourceContents::text("What it says.", request.uri)]).into())
    }

    async fn subscribe(&self, _: SubscribeRequestParams, context: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        self.watchers.lock().unwrap().push(context.peer);
        Ok(())
    }

    async fn unsubscribe(&self, _: UnsubscribeRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let mut updates = self.updates.subscribe();
        loop {
            tokio::select! {
                () = context.cancelled() => return Ok(()),
                update = updates.recv() => {
                    if update.is_err() {
                        return Ok(());
                    }
                    let sink = context.sink();
                    sink.notify_resource_updated(WATCHED).await.map_err(failed)?;
                }
            }
        }
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let argument = |name: &str| json!({"name": name, "required": true});
        let prompt = json!({"name": "test_prompt_with_arguments", "arguments": [argument("arg1"), argument("arg2")]});
        Ok(of_json(json!({"resultType": "complete", "prompts": [prompt]})))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let text = format!(
            "arg1='{}', arg2='{}'",
            arguments["arg1"].as_str().unwrap_or_default(),
            arguments["arg2"].as_str().unwrap_or_default()
        );
        Ok(GetPromptResult::new(vec![PromptMessage::new_text(Role::User, text)]).into())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let values = [format!("{}…", request.argument.value), format!("{}!", request.argument.value)];
        Ok(of_json(json!({"resultType": "complete", "completion": {"values": values}})))
    }
}
