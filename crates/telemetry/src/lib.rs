//! Logs and metrics: one subscriber, one printer for error chains, one small metrics registry.

mod chain;
mod logs;
mod metrics;

pub use self::chain::{Chain, chain};
pub use self::logs::{Config, Format, init, init_with};
pub use self::metrics::{Histogram, IntCounter, IntCounterVec, IntGauge, Metrics};
