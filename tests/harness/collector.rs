//! An OpenTelemetry collector in this process: keeps what it is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::metadata::MetadataMap;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// A running collector; ends when it is dropped.
pub struct Collector {
    address: SocketAddr,
    scheme: &'static str,
    seen: Arc<Seen>,
    _ends: DropGuard,
}

#[derive(Default)]
struct Seen {
    spans: Mutex<Vec<SeenSpan>>,
    /// Names of metrics by service.
    metrics: Mutex<BTreeMap<String, BTreeSet<String>>>,
    headers: Mutex<Vec<MetadataMap>>,
    refuses: Mutex<bool>,
}

/// A span as it came.
#[derive(Debug, Clone)]
pub struct SeenSpan {
    /// Who sent it.
    pub service: String,
    /// 32 hex digits.
    pub trace: String,
    /// 16 hex digits.
    pub id: String,
    /// 16 hex digits, or nothing.
    pub parent: String,
    /// Its name.
    pub name: String,
    /// 2 is a server's, 3 a client's.
    pub kind: i32,
    /// Whether it failed.
    pub failed: bool,
    /// Texts and numbers as text.
    pub attributes: BTreeMap<String, String>,
}

impl Collector {
    /// Starts on a free port of 127.0.0.1.
    pub async fn start() -> Self {
        Self::serve(Server::builder(), "http").await
    }

    /// The same with this certificate and key (PEM), for 127.0.0.1.
    pub async fn start_with_tls(certificate: &str, key: &str) -> Self {
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
        Self::serve(Server::builder().tls_config(tls).expect("a certificate with its key"), "https").await
    }

    async fn serve(mut server: Server, scheme: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (seen, ends) = (Arc::<Seen>::default(), CancellationToken::new());
        let serving = server
            .add_service(TraceServiceServer::from_arc(seen.clone()))
            .add_service(MetricsServiceServer::from_arc(seen.clone()))
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), ends.clone().cancelled_owned());
        tokio::spawn(serving);
        Self { address, scheme, seen, _ends: ends.drop_guard() }
    }

    /// Where it listens.
    pub fn endpoint(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Every span so far.
    pub fn spans(&self) -> Vec<SeenSpan> {
        self.seen.spans.lock().unwrap().clone()
    }

    /// Waits until a span is there.
    pub async fn span(&self, what: &str, is: impl Fn(&SeenSpan) -> bool) -> SeenSpan {
        crate::eventually(what, || async { self.spans().into_iter().find(&is) }).await
    }

    /// The metrics that a service has sent.
    pub fn metrics(&self, service: &str) -> BTreeSet<String> {
        self.seen.metrics.lock().unwrap().get(service).cloned().unwrap_or_default()
    }

    /// The values of a header in all requests.
    pub fn header(&self, name: &str) -> BTreeSet<String> {
        let headers = self.seen.headers.lock().unwrap();
        let values = headers.iter().map(|headers| headers.get(name).map(|value| value.to_str().unwrap_or_default()));
        values.map(|value| value.unwrap_or_default().to_owned()).collect()
    }

    /// Refuses whatever comes from here on, slowly.
    pub fn refuse(&self) {
        *self.seen.refuses.lock().unwrap() = true;
    }
}

impl Seen {
    async fn take(&self, headers: &MetadataMap) -> Result<(), Status> {
        let refuses = *self.refuses.lock().unwrap();
        if refuses {
            tokio::time::sleep(Duration::from_millis(100)).await;
            return Err(Status::unavailable("not now"));
        }
        self.headers.lock().unwrap().push(headers.clone());
        Ok(())
    }
}

#[tonic::async_trait]
impl TraceService for Seen {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.take(request.metadata()).await?;
        let mut spans = self.spans.lock().unwrap();
        for group in request.into_inner().resource_spans {
            let service = service(group.resource.as_ref());
            let sent = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.extend(sent.map(|span| SeenSpan {
                service: service.clone(),
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name,
                kind: span.kind,
                failed: span.status.is_some_and(|status| status.code == 2),
                attributes: span.attributes.iter().map(pair).collect(),
            }));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Seen {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.take(request.metadata()).await?;
        let mut metrics = self.metrics.lock().unwrap();
        for group in request.into_inner().resource_metrics {
            let names = metrics.entry(service(group.resource.as_ref())).or_default();
            let sent = group.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
            names.extend(sent.map(|metric| metric.name));
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

fn service(resource: Option<&Resource>) -> String {
    let attributes = resource.into_iter().flat_map(|resource| &resource.attributes);
    attributes.map(pair).find(|(key, _)| key == "service.name").map(|(_, value)| value).unwrap_or_default()
}

fn pair(attribute: &KeyValue) -> (String, String) {
    let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
    let text = match value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("an attribute that nobody expects: {other:?}"),
    };
    (attribute.key.clone(), text)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
