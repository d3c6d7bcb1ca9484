//! Finished spans on their way to the collector: a bounded queue, sent in batches.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::scope;
use super::sender::Sender;
use super::settings::{Settings, Target};
use crate::trace::Tracer;
use crate::{IntCounter, Metrics};

/// A tracer, and the work that sends what it records.
pub(super) fn start(
    target: &Target,
    settings: &Settings,
    resource: Resource,
    metrics: &Metrics,
    stop: CancellationToken,
) -> (Tracer, impl Future<Output = ()> + use<>) {
    let counted = metrics.counters("gatehouse_spans_total", "Recorded spans, by what became of them.", &["outcome"]);
    let [sent, failed, dropped] = ["sent", "failed", "dropped"].map(|outcome| counted.with_label_values(&[outcome]));
    let (queue, waiting) = mpsc::channel::<Span>(settings.queue);
    let fill = queue.downgrade();
    metrics.bound("span_queue", settings.queue as u64, move || {
        fill.upgrade().map_or(0, |queue| (queue.max_capacity() - queue.capacity()) as u64)
    });
    let tracer = Tracer::new(
        settings.sampler,
        Box::new(move |finished| {
            // Full, or at its end: the request that made the span must not wait for it.
            if queue.try_send(finished.span).is_err() {
                dropped.inc();
            }
        }),
    );
    let (sender, channel) = Sender::new(target.clone(), "traces");
    let batches = Batches { sender, client: TraceServiceClient::new(channel), resource, sent, failed };
    (tracer, batches.run(waiting, settings.batch, settings.delay, stop))
}

struct Batches {
    sender: Sender,
    client: TraceServiceClient<Channel>,
    resource: Resource,
    sent: IntCounter,
    failed: IntCounter,
}

impl Batches {
    async fn run(
        mut self,
        mut waiting: mpsc::Receiver<Span>,
        most: usize,
        delay: std::time::Duration,
        stop: CancellationToken,
    ) {
        loop {
            let mut batch = Vec::with_capacity(most.min(64));
            let stopped = tokio::select! {
                biased;
                taken = waiting.recv_many(&mut batch, most) => taken == 0,
                () = stop.cancelled() => break,
            };
            if stopped {
                return;
            }
            let until = Instant::now() + delay;
            while batch.len() < most {
                let left = most - batch.len();
                tokio::select! {
                    biased;
                    taken = waiting.recv_many(&mut batch, left) => if taken == 0 { break },
                    () = tokio::time::sleep_until(until) => break,
                    () = stop.cancelled() => break,
                }
            }
            self.send(batch).await;
        }
        // What is in the queue now is sent; what comes later is too late.
        waiting.close();
        loop {
            let mut batch = Vec::new();
            if waiting.recv_many(&mut batch, most).await == 0 {
                return;
            }
            self.send(batch).await;
        }
    }

    async fn send(&mut self, spans: Vec<Span>) {
        let count = spans.len() as u64;
        let scope_spans = vec![ScopeSpans { scope: scope(), spans, ..ScopeSpans::default() }];
        let resource_spans =
            vec![ResourceSpans { resource: Some(self.resource.clone()), scope_spans, ..ResourceSpans::default() }];
        let request = self.sender.request(ExportTraceServiceRequest { resource_spans });
        let taken = self.sender.sent(self.client.export(request)).await;
        if taken { &self.sent } else { &self.failed }.inc_by(count);
    }
}
