//! Logs, metrics and spans: one subscriber, one printer for error chains, one small metrics registry, and the
//! way of spans and metrics to an OpenTelemetry collector.

mod chain;
mod logs;
mod metrics;
mod otlp;
pub mod trace;

pub use self::chain::{Chain, chain};
pub use self::logs::{Config, Format, init, init_with};
pub use self::metrics::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Metrics, Readings};
pub use self::otlp::Otlp;
