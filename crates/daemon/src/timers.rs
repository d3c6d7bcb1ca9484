//! Timers that a test can hurry: debug builds divide them by `GATEHOUSE_TIME_SCALE`.

use std::time::Duration;

/// The duration to really wait.
#[cfg(debug_assertions)]
pub fn scaled(duration: Duration) -> Duration {
    use std::sync::OnceLock;
    static SCALE: OnceLock<u32> = OnceLock::new();
    let scale = *SCALE.get_or_init(|| {
        let scale = std::env::var("GATEHOUSE_TIME_SCALE").ok().and_then(|text| text.parse().ok());
        scale.filter(|scale| *scale > 0).unwrap_or(1)
    });
    duration / scale
}

/// The duration to really wait.
#[cfg(not(debug_assertions))]
pub fn scaled(duration: Duration) -> Duration {
    duration
}
