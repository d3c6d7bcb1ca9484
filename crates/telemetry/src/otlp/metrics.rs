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

/// Most points of one message, each of half a kilobyte at the most: collectors take 4 MiB unless told otherwise.
const POINTS: usize = 2_000;

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
        for metrics in batches(&metrics.gather(), begun, nanos()) {
            let scope_metrics = vec![ScopeMetrics { scope: scope(), metrics, ..ScopeMetrics::default() }];
            let resource_metrics =
                vec![ResourceMetrics { resource: Some(resource.clone()), scope_metrics, ..ResourceMetrics::default() }];
            let request = sender.request(ExportMetricsServiceRequest { resource_metrics });
            // What was not taken is not kept: the next reading says more.
            if !sender.sent(client.export(request)).await {
                break;
            }
        }
        if last {
            return;
        }
    }
}

/// Everything, in messages that a collector takes: the families of thousands of servers are divided.
fn batches(families: &[MetricFamily], begun: u64, now: u64) -> Vec<Vec<Metric>> {
    let (mut batches, mut batch, mut left) = (vec![], vec![], POINTS);
    for family in families {
        let mut rest = family.get_metric();
        while !rest.is_empty() {
            let (taken, later) = rest.split_at(rest.len().min(left));
            batch.push(converted(family, taken, begun, now));
            left -= taken.len();
            rest = later;
            if left == 0 {
                batches.push(std::mem::take(&mut batch));
                left = POINTS;
            }
        }
    }
    batches.push(batch);
    batches.retain(|batch| !batch.is_empty());
    batches
}

/// Metrics of one family under the name that `/metrics` shows; counters and histograms are sums since `begun`.
fn converted(family: &MetricFamily, metrics: &[proto::Metric], begun: u64, now: u64) -> Metric {
    let number = |metric: &proto::Metric, value: f64| NumberDataPoint {
        attributes: attributes(metric),
        start_time_unix_nano: begun,
        time_unix_nano: now,
        value: Some(Value::AsDouble(value)),
        ..NumberDataPoint::default()
    };
    let numbers =
        |value: fn(&proto::Metric) -> f64| metrics.iter().map(|metric| number(metric, value(metric))).collect();
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    let data = match family.get_field_type() {
        MetricType::COUNTER => Data::Sum(Sum {
            data_points: numbers(|metric| metric.get_counter().get_value()),
            aggregation_temporality,
            is_monotonic: true,
        }),
        MetricType::HISTOGRAM => Data::Histogram(Histogram {
            data_points: metrics.iter().map(|metric| distribution(metric, begun, now)).collect(),
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
        let sent: Vec<Metric> = batches(&metrics.gather(), 1, 2).concat();
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

    #[test]
    fn what_is_too_much_for_one_message_goes_in_several() {
        let metrics = Metrics::new();
        let latency = metrics.seconds_by("latency_seconds", "Latency.", &["tenant", "server"]);
        let tenant = "01890000-0000-7000-8000-000000000000";
        (0..5_000).for_each(|at| latency.with_label_values(&[tenant, &format!("{at:064}")]).observe(0.1));
        let sent = batches(&metrics.gather(), 1, 2);
        let points = |batch: &Vec<Metric>| -> usize {
            let data = batch.iter().filter_map(|metric| metric.data.as_ref());
            data.map(|data| match data {
                Data::Histogram(histogram) => histogram.data_points.len(),
                Data::Gauge(gauge) => gauge.data_points.len(),
                _ => 0,
            })
            .sum()
        };
        let counts: Vec<usize> = sent.iter().map(points).collect();
        assert_eq!(counts.iter().sum::<usize>(), 5_001, "{counts:?}");
        assert!(counts.iter().all(|count| *count <= POINTS), "{counts:?}");
        let longest = sent.iter().map(|batch| batch.iter().map(prost::Message::encoded_len).sum::<usize>()).max();
        assert!(longest.is_some_and(|bytes| bytes < 2 << 20), "{longest:?}");
    }
}
