//! The client, doing everything that the matrix asks of a client.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, ClientRequest,
    CompleteRequestParams, CreateMessageRequestParams, CreateMessageResult, ElicitRequestParams, ElicitResult,
    ElicitationAction, GetPromptRequestParams, ProgressNotificationParam, ProtocolVersion, ReadResourceRequestParams,
    ResourceUpdatedNotificationParam, SamplingMessage, ServerNotification, SubscribeRequestParams, SubscriptionFilter,
    UnsubscribeRequestParams,
};
use rmcp::service::{NotificationContext, PeerRequestOptions, RequestContext, RoleClient, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt as _, ErrorData};
use serde_json::{Value, json};

/// How a session, or none, is begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As `.serve` does it.
    Initialize,
    /// Stateless where the server is.
    Auto,
}

/// Until something that was said to happen must have happened.
const PATIENCE: Duration = Duration::from_secs(5);

/// An open client.
pub struct RustClient {
    service: RunningService<RoleClient, Handler>,
    profile: Value,
}

#[derive(Clone, Default)]
struct Handler {
    updates: Arc<Mutex<BTreeSet<String>>>,
    progress: Arc<Mutex<Vec<f64>>>,
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let capabilities = json!({"elicitation": {"form": {}}, "sampling": {}, "roots": {}});
        let mut config = ClientConfig::default();
        config.capabilities = serde_json::from_value::<ClientCapabilities>(capabilities).expect("capabilities");
        config
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let asked = serde_json::to_value(&request).expect("JSON");
        let mut content = json!({"name": "Ada"});
        for field in asked["requestedSchema"]["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            content[field] = json!("Ada");
        }
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(content))
    }

    async fn create_message(
        &self,
        _: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        Ok(CreateMessageResult::new(SamplingMessage::assistant_text("Sampled."), "none".to_owned()))
    }

    async fn on_progress(&self, params: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.progress.lock().unwrap().push(params.progress);
    }

    async fn on_resource_updated(&self, params: ResourceUpdatedNotificationParam, _: NotificationContext<RoleClient>) {
        self.updates.lock().unwrap().insert(params.uri);
    }
}

fn words(error: impl ToString) -> String {
    error.to_string()
}

impl RustClient {
    /// What the client has at `url`, by operation: what `is`, and what was `said`.
    pub async fn everything(url: &str, profile: &Value, mode: Mode) -> Vec<(String, &'static str, String)> {
        let client = match Self::open(url, profile, mode).await {
            Ok(client) => client,
            Err(error) => return vec![("open".to_owned(), "no", error)],
        };
        let era = if client.stateless() { "stateless" } else { "session" };
        let mut done = vec![("open".to_owned(), "ok", era.to_owned())];
        for op in ["list", "call", "progress", "cancel", "read", "subscribe", "prompt", "complete", "elicit", "sample"]
        {
            let ended = tokio::time::timeout(PATIENCE * 3, client.one(op)).await;
            done.push(match ended.unwrap_or_else(|_| Err("it does not end".to_owned())) {
                Ok(Some(said)) => (op.to_owned(), "ok", said),
                Ok(None) => (op.to_owned(), "-", String::new()),
                Err(error) => (op.to_owned(), "no", error),
            });
        }
        let _ = tokio::time::timeout(PATIENCE, client.service.cancel()).await;
        done
    }

    async fn open(url: &str, profile: &Value, mode: Mode) -> Result<Self, String> {
        let config = StreamableHttpClientTransportConfig::with_uri(url.to_owned());
        let transport = StreamableHttpClientTransport::from_config(config);
        let lifecycle = match mode {
            Mode::Initialize => ClientLifecycleMode::Initialize,
            Mode::Auto => ClientLifecycleMode::Auto {
                preferred_versions: vec![ProtocolVersion::V_2026_07_28],
                legacy_version: None,
            },
        };
        let service = Handler::default().serve_with_lifecycle(transport, lifecycle).await.map_err(words)?;
        Ok(Self { service, profile: profile.clone() })
    }

    fn stateless(&self) -> bool {
        self.service.peer_info().is_some_and(|info| info.protocol_version >= ProtocolVersion::V_2026_07_28)
    }

    /// `None`: there is no such thing here.
    async fn one(&self, op: &str) -> Result<Option<String>, String> {
        match op {
            "list" => self.list().await.map(Some),
            "progress" => self.progress().await.map(Some),
            "cancel" => self.cancel().await.map(Some),
            "read" => self.read().await.map(Some),
            "subscribe" => self.subscribe().await,
            "prompt" => self.prompt().await.map(Some),
            "complete" => self.complete().await,
            _ => self.call(op).await.map(Some),
        }
    }

    fn params(&self, tool: &str) -> CallToolRequestParams {
        let about = &self.profile[tool];
        let mut params = CallToolRequestParams::new(about["name"].as_str().expect("a name").to_owned());
        params.arguments = about["arguments"].as_object().cloned();
        params
    }

    fn said(&self, tool: &str, result: &CallToolResult) -> Result<String, String> {
        let said = serde_json::to_value(&result.content).expect("JSON");
        let text: Vec<&str> = said.as_array().into_iter().flatten().filter_map(|part| part["text"].as_str()).collect();
        let text = text.join(" ");
        let wanted = self.profile[tool]["says"].as_str().unwrap_or_default();
        if result.is_error == Some(true) || !text.contains(wanted) { Err(text) } else { Ok(text) }
    }

    async fn call(&self, tool: &str) -> Result<String, String> {
        let result = self.service.call_tool(self.params(tool)).await.map_err(words)?;
        self.said(tool, &result)
    }

    async fn list(&self) -> Result<String, String> {
        let tools = self.service.list_all_tools().await.map_err(words)?;
        let resources = self.service.list_all_resources().await.map_err(words)?;
        let prompts = self.service.list_all_prompts().await.map_err(words)?;
        let wanted = self.profile["call"]["name"].as_str().expect("a name");
        let figures = format!("{} tools, {} resources, {} prompts", tools.len(), resources.len(), prompts.len());
        if tools.iter().any(|tool| tool.name == wanted) { Ok(figures) } else { Err(figures) }
    }

    async fn progress(&self) -> Result<String, String> {
        let seen = self.service.service().progress.clone();
        seen.lock().unwrap().clear();
        self.call("progress").await?;
        let seen = seen.lock().unwrap().clone();
        if seen.len() < 2 { Err(format!("progress: {seen:?}")) } else { Ok(format!("{seen:?}")) }
    }

    async fn cancel(&self) -> Result<String, String> {
        let label = uuid::Uuid::new_v4().to_string();
        let asks = self.profile["was_cancelled"].is_object();
        let mut params = self.params("wait");
        if asks && let Some(arguments) = &mut params.arguments {
            arguments.insert("label".to_owned(), json!(label));
        }
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let handle =
            self.service.send_cancellable_request(request, PeerRequestOptions::no_options()).await.map_err(words)?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        handle.cancel(Some("enough".to_owned())).await.map_err(words)?;
        if !asks {
            return self.call("call").await;
        }
        let end = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < end {
            let mut params = self.params("was_cancelled");
            params.arguments = json!({"label": label}).as_object().cloned();
            let result = self.service.call_tool(params).await.map_err(words)?;
            if self.said("was_cancelled", &result)? == "yes" {
                return Ok("the server heard of it".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err("never: the server hears of it".to_owned())
    }

    async fn read(&self) -> Result<String, String> {
        let uri = self.profile["resource"].as_str().expect("a URI");
        let read = self.service.read_resource(ReadResourceRequestParams::new(uri)).await.map_err(words)?;
        Ok(format!("{} contents", read.contents.len()))
    }

    async fn subscribe(&self) -> Result<Option<String>, String> {
        let offered = self.service.peer_info().and_then(|info| info.capabilities.resources.clone());
        if offered.and_then(|resources| resources.subscribe) != Some(true) {
            return Ok(None);
        }
        let uri = self.profile["watched"].as_str().expect("a URI").to_owned();
        if self.stateless() {
            let filter = SubscriptionFilter::builder().resource_subscription(&uri).build();
            let mut stream = self.service.listen(filter).await.map_err(words)?;
            self.call("touch").await?;
            let told = tokio::time::timeout(PATIENCE, stream.next()).await.map_err(words)?.map_err(words)?;
            stream.cancel().await.map_err(words)?;
            return match told {
                Some(ServerNotification::ResourceUpdatedNotification(update)) => Ok(Some(update.params.uri)),
                other => Err(format!("told: {other:?}")),
            };
        }
        self.service.subscribe(SubscribeRequestParams::new(&uri)).await.map_err(words)?;
        self.call("touch").await?;
        let updates = self.service.service().updates.clone();
        let told = async {
            while !updates.lock().unwrap().contains(&uri) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, told).await.map_err(|_| "never: the update is told".to_owned())?;
        let params: UnsubscribeRequestParams = serde_json::from_value(json!({"uri": uri})).expect("params");
        self.service.unsubscribe(params).await.map_err(words)?;
        Ok(Some(uri))
    }

    async fn prompt(&self) -> Result<String, String> {
        let about = &self.profile["prompt"];
        let mut params = GetPromptRequestParams::new(about["name"].as_str().expect("a name"));
        params.arguments = about["arguments"].as_object().cloned();
        let got = self.service.get_prompt(params).await.map_err(words)?;
        let said = serde_json::to_string(&got.messages).expect("JSON");
        if said.contains(about["says"].as_str().expect("words")) { Ok(said) } else { Err(said) }
    }

    async fn complete(&self) -> Result<Option<String>, String> {
        if self.service.peer_info().is_none_or(|info| info.capabilities.completions.is_none()) {
            return Ok(None);
        }
        let about = &self.profile["completion"];
        let params = json!({"ref": {"type": "ref/prompt", "name": about["prompt"]},
            "argument": {"name": about["argument"], "value": about["value"]}});
        let params: CompleteRequestParams = serde_json::from_value(params).expect("params");
        let values = self.service.complete(params).await.map_err(words)?.completion.values;
        if values.is_empty() { Err("no values".to_owned()) } else { Ok(Some(values.join(" "))) }
    }
}
