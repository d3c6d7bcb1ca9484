//! The registry as OTLP: read at an interval, sent, and forgotten.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, metric::Data, number_data_point::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prometheus::proto::{self, MetricFamily, MetricType};
use tokio_util::sync::CancellationToken;

use super::sender::Sender;
use super::settings::Target;
use super::{scope, text};
use crate::Metrics;

/// Exports until `stop`, and once more then.
pub(super) async fn run(
    target: Target,
    interval: Duration,
    resource: Resource,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let (mut sender, channel) = Sender::new(target, "metrics");
    let mut client = MetricsServiceClient::new(channel);
    let begun = nanos();
    loop {
        let last = tokio::select! {
            () = tokio::time::sleep(interval) => false,
            () = stop.cancelled() => true,
        };
        let metrics = metrics.gather().iter().map(|family| converted(family, begun, nanos())).collect();
        let scope_metrics = vec![ScopeMetrics { scope: scope(), metrics, ..ScopeMetrics::default() }];
        let resource_metrics =
            vec![ResourceMetrics { resource: Some(resource.clone()), scope_metrics, ..ResourceMetrics::default() }];
        let request = sender.request(ExportMetricsServiceRequest { resource_metrics });
        // What was not taken is not kept: the next reading says more.
        let _taken = sender.sent(client.export(request)).await;
        if last {
            return;
        }
    }
}

/// One family under the name that `/metrics` shows; counters and histograms are sums since `begun`.
fn converted(family: &MetricFamily, begun: u64, now: u64) -> Metric {
    let number = |metric: &proto::Metric, value: f64| NumberDataPoint {
        attributes: attributes(metric),
        start_time_unix_nano: begun,
        time_unix_nano: now,
        value: Some(Value::AsDouble(value)),
        ..NumberDataPoint::default()
    };
    let numbers = |value: fn(&proto::Metric) -> f64| {
        family.get_metric().iter().map(|metric| number(metric, value(metric))).collect()
    };
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    let data = match family.get_field_type() {
        MetricType::COUNTER => Data::Sum(Sum {
            data_points: numbers(|metric| metric.get_counter().get_value()),
            aggregation_temporality,
            is_monotonic: true,
        }),
        MetricType::HISTOGRAM => Data::Histogram(Histogram {
            data_points: family.get_metric().iter().map(|metric| distribution(metric, begun, now)).collect(),
            aggregation_temporality,
        }),
        _ => Data::Gauge(Gauge { data_points: numbers(|metric| metric.get_gauge().get_value()) }),
    };
    let unit = if family.name().ends_with("_seconds") { "s" } else { "" };
    Metric {
        name: family.name().to_owned(),
        description: family.help().to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn distribution(metric: &proto::Metric, begun: u64, now: u64) -> HistogramDataPoint {
    let histogram = metric.get_histogram();
    let mut below = 0;
    let mut bucket_counts = Vec::with_capacity(histogram.get_bucket().len() + 1);
    let mut explicit_bounds = Vec::with_capacity(histogram.get_bucket().len());
    // The registry counts what is below each bound, OTLP what is between two.
    for bucket in histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite()) {
        bucket_counts.push(bucket.cumulative_count().saturating_sub(below));
        explicit_bounds.push(bucket.upper_bound());
        below = bucket.cumulative_count();
    }
    bucket_counts.push(histogram.get_sample_count().saturating_sub(below));
    HistogramDataPoint {
        attributes: attributes(metric),
        start_time_unix_nano: begun,
        time_unix_nano: now,
        count: histogram.get_sample_count(),
        sum: Some(histogram.get_sample_sum()),
        bucket_counts,
        explicit_bounds,
        ..HistogramDataPoint::default()
    }
}

fn attributes(metric: &proto::Metric) -> Vec<KeyValue> {
    metric.get_label().iter().map(|label| text(label.name(), label.value())).collect()
}

fn nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_crosses_with_its_names_labels_and_numbers() {
        let metrics = Metrics::new();
        metrics.counters("calls_total", "Calls.", &["outcome"]).with_label_values(&["ok"]).inc_by(3);
        metrics.gauge("streams", "Open streams.").set(2);
        let latency = metrics.seconds("latency_seconds", "Latency.");
        [0.0002, 0.002, 100.0].into_iter().for_each(|seconds| latency.observe(seconds));
        let sent: Vec<Metric> = metrics.gather().iter().map(|family| converted(family, 1, 2)).collect();
        let named = |name: &str| sent.iter().find(|metric| metric.name == name).and_then(|metric| metric.data.clone());
        let Some(Data::Sum(calls)) = named("calls_total") else { panic!("{sent:?}") };
        assert!(calls.is_monotonic);
        assert_eq!(calls.data_points[0].value, Some(Value::AsDouble(3.0)));
        assert_eq!(calls.data_points[0].attributes, [text("outcome", "ok")]);
        let Some(Data::Gauge(streams)) = named("streams") else { panic!("{sent:?}") };
        assert_eq!(streams.data_points[0].value, Some(Value::AsDouble(2.0)));
        let Some(Data::Histogram(latency)) = named("latency_seconds") else { panic!("{sent:?}") };
        let point = &latency.data_points[0];
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert_eq!((point.count, point.bucket_counts.iter().sum::<u64>()), (3, 3));
        assert_eq!(point.bucket_counts.last(), Some(&1), "what is above every bound");
    }
}
