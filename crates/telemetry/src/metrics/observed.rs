//! Gauges that are filled when they are asked for.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
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
    /// Two who ask at once take turns: each reading begins with nothing.
    turn: Mutex<()>,
}

type Read = Box<dyn Fn(&Readings<'_>) + Send + Sync>;

impl Observed {
    pub(super) fn new(families: &[(&str, &str)], labels: &[&str], read: Read) -> Result<Self, prometheus::Error> {
        let families: Result<Vec<GaugeVec>, prometheus::Error> =
            families.iter().map(|(name, help)| GaugeVec::new(Opts::new(*name, *help), labels)).collect();
        Ok(Self { families: families?, read, turn: Mutex::new(()) })
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
        self.families.iter().flat_map(Collector::collect).collect()
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
