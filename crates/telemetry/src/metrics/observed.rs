//! Gauges that are filled when they are asked for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, MetricFamily, MetricType};
use prometheus::{GaugeVec, Opts};

/// Takes what a reading finds.
pub struct Readings<'a>(&'a [GaugeVec]);

impl Readings<'_> {
    /// One value of the `at`-th family, with the values of its labels.
    pub fn put(&self, at: usize, labels: &[&str], value: f64) {
        match self.0.get(at).map(|family| family.get_metric_with_label_values(labels)) {
            Some(Ok(gauge)) => gauge.set(value),
            Some(Err(error)) => tracing::error!(%error, "a reading has other labels than its metric"),
            None => tracing::error!(at, "a reading of a metric that is not there"),
        }
    }
}

/// Families with the same labels, and what reads them.
pub(super) struct Observed {
    families: Vec<GaugeVec>,
    read: Read,
    rising: bool,
    /// Two who ask at once take turns: each reading begins with nothing.
    turn: Mutex<()>,
}

type Read = Box<dyn Fn(&Readings<'_>) + Send + Sync>;

impl Observed {
    pub(super) fn new(families: &[(&str, &str)], labels: &[&str], read: Read) -> Result<Self, prometheus::Error> {
        let families: Result<Vec<GaugeVec>, prometheus::Error> =
            families.iter().map(|(name, help)| GaugeVec::new(Opts::new(*name, *help), labels)).collect();
        Ok(Self { families: families?, read, rising: false, turn: Mutex::new(()) })
    }

    /// The same of values that only rise.
    pub(super) fn rising(self) -> Self {
        Self { rising: true, ..self }
    }
}

impl Collector for Observed {
    fn desc(&self) -> Vec<&Desc> {
        self.families.iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.families.iter().for_each(GaugeVec::reset);
        (self.read)(&Readings(&self.families));
        let mut families: Vec<MetricFamily> = self.families.iter().flat_map(Collector::collect).collect();
        if self.rising {
            families.iter_mut().for_each(counted);
        }
        families
    }
}

/// Gauges as counters.
fn counted(family: &mut MetricFamily) {
    family.set_field_type(MetricType::COUNTER);
    for metric in family.mut_metric() {
        let mut counter = proto::Counter::default();
        counter.set_value(metric.get_gauge().get_value());
        metric.set_counter(counter);
    }
}

/// A distribution that is kept elsewhere.
pub(super) struct Classes {
    desc: Desc,
    bounds: Vec<f64>,
    read: Box<dyn Fn() -> (Vec<u64>, f64) + Send + Sync>,
}

impl Classes {
    pub(super) fn new(
        name: &str,
        help: &str,
        bounds: &[f64],
        read: Box<dyn Fn() -> (Vec<u64>, f64) + Send + Sync>,
    ) -> Result<Self, prometheus::Error> {
        let desc = Desc::new(name.to_owned(), help.to_owned(), Vec::new(), HashMap::new())?;
        Ok(Self { desc, bounds: bounds.to_vec(), read })
    }
}

impl Collector for Classes {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (classes, sum) = (self.read)();
        let mut below = 0;
        let buckets = self.bounds.iter().zip(&classes).map(|(bound, count)| {
            below += count;
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(below);
            bucket
        });
        let mut histogram = proto::Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(classes.iter().sum());
        histogram.set_sample_sum(sum);
        let mut metric = proto::Metric::default();
        metric.set_histogram(histogram);
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(vec![metric]);
        vec![family]
    }
}

/// Every bound that somebody named.
#[derive(Clone, Default)]
pub(super) struct Bounds(Arc<Mutex<Vec<Fill>>>);

type Fill = Box<dyn Fn(&mut dyn FnMut(&'static str, [&str; 2], u64, u64)) + Send + Sync>;

impl Bounds {
    pub(super) fn add(&self, fill: Fill) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(fill);
    }

    pub(super) fn read(&self, readings: &Readings<'_>) {
        let fills = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for fill in fills.iter() {
            fill(&mut |bound, [tenant, server], used, limit| {
                readings.put(0, &[bound, tenant, server], used as f64);
                readings.put(1, &[bound, tenant, server], limit as f64);
            });
        }
    }
}
