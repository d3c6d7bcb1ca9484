//! OTLP: spans and metrics go to a collector, as the standard `OTEL_*` variables say.
//!
//! Off unless an endpoint is set. A collector that is slow or away costs nothing but what it misses: spans wait
//! in a bounded queue and are dropped beyond it, metrics are read anew each time. The metrics sent are those of
//! the one registry that `/metrics` shows, under the same names; that is why they are written to the wire here
//! instead of being counted a second time in OpenTelemetry's own SDK.

mod metrics;
mod sender;
mod settings;
mod spans;

use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::settings::{Environment, Settings};
use crate::Metrics;

/// Longest wait for the collector when the process ends.
const FLUSH: Duration = Duration::from_secs(3);

/// The exporters of one process.
#[derive(Default)]
pub struct Otlp {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Otlp {
    /// Starts what the environment asks for; what it asks wrongly is told in the log, and never keeps a process
    /// from serving. Call it inside of a runtime.
    pub fn start(service: &'static str, metrics: &Metrics) -> Self {
        let Environment { settings, complaints } = Settings::read(service, |name| std::env::var(name).ok());
        for complaint in complaints {
            tracing::warn!("{complaint}");
        }
        Self::with(&settings, metrics)
    }

    fn with(settings: &Settings, metrics: &Metrics) -> Self {
        let mut otlp = Self::default();
        let resource = resource(settings);
        if let Some(target) = &settings.traces {
            let (tracer, work) = spans::start(target, settings, resource.clone(), metrics, otlp.stop.clone());
            tracer.install();
            otlp.tasks.push(tokio::spawn(work));
            tracing::info!("spans go to a collector");
        }
        if let Some(target) = &settings.metrics {
            let work = metrics::run(target.clone(), settings.interval, resource, metrics.clone(), otlp.stop.clone());
            otlp.tasks.push(tokio::spawn(work));
            tracing::info!("metrics go to a collector");
        }
        otlp
    }

    /// Sends what is left, for 3 s at the most.
    pub async fn finish(self) {
        self.stop.cancel();
        let finished = futures::future::join_all(self.tasks);
        if tokio::time::timeout(FLUSH, finished).await.is_err() {
            tracing::warn!("the collector did not take the last spans and metrics in time");
        }
    }
}

fn resource(settings: &Settings) -> Resource {
    let attributes = settings.resource.iter().map(|(key, value)| text(key, value)).collect();
    Resource { attributes, ..Resource::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn scope() -> Option<InstrumentationScope> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Some(InstrumentationScope { name: "gatehouse".to_owned(), version, ..InstrumentationScope::default() })
}
