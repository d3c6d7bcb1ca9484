//! What one tenant may use of this proxy at once and per second.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use model::Limits;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Longest wait for a place at an upstream.
const QUEUE_WAIT: Duration = Duration::from_secs(2);

/// A bucket that refills at `per_second` and holds twice as much.
pub(crate) struct Rate(DefaultDirectRateLimiter);

impl Rate {
    pub(crate) fn new(per_second: u32) -> Self {
        let rate = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
        let burst = NonZeroU32::new(per_second.saturating_mul(2)).unwrap_or(NonZeroU32::MIN);
        Self(RateLimiter::direct(Quota::per_second(rate).allow_burst(burst)))
    }

    /// Takes one; if there is none: how long until there is.
    pub(crate) fn take(&self) -> Result<(), Duration> {
        self.0.check().map_err(|until| until.wait_time_from(DefaultClock::default().now()))
    }
}

/// The counters of one tenant; they outlive changes of its mounts.
pub(crate) struct TenantUse {
    pub(crate) limits: Limits,
    pub(crate) rate: Rate,
    calls: AtomicU32,
    streams: AtomicU32,
}

impl TenantUse {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, rate: Rate::new(limits.tenant_rate), calls: AtomicU32::new(0), streams: AtomicU32::new(0) }
    }

    /// One call under way, until the guard is dropped; `None` at the limit.
    pub(crate) fn call(self: &Arc<Self>) -> Option<Held> {
        Held::take(self, |usage| &usage.calls, self.limits.concurrent)
    }

    /// One open stream, until the guard is dropped; `None` at the limit.
    pub(crate) fn stream(self: &Arc<Self>) -> Option<Held> {
        Held::take(self, |usage| &usage.streams, self.limits.streams)
    }
}

/// A place that is given back on drop.
pub(crate) struct Held {
    usage: Arc<TenantUse>,
    counter: fn(&TenantUse) -> &AtomicU32,
}

impl Held {
    fn take(usage: &Arc<TenantUse>, counter: fn(&TenantUse) -> &AtomicU32, limit: u32) -> Option<Self> {
        if counter(usage).fetch_add(1, Ordering::Relaxed) >= limit {
            counter(usage).fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self { usage: usage.clone(), counter })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        (self.counter)(&self.usage).fetch_sub(1, Ordering::Relaxed);
    }
}

/// The places at one upstream: `limit` under way, as many again in the queue for at most 2 s.
pub(crate) struct Places {
    places: Arc<Semaphore>,
    queued: AtomicU32,
    limit: u32,
}

impl Places {
    pub(crate) fn new(limit: u32) -> Self {
        Self { places: Arc::new(Semaphore::new(limit as usize)), queued: AtomicU32::new(0), limit }
    }

    /// A place, waited for if need be; `None` if the queue is full or the wait too long.
    pub(crate) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = self.places.clone().try_acquire_owned() {
            return Some(permit);
        }
        if self.queued.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let _queued = Queued(&self.queued);
        tokio::time::timeout(QUEUE_WAIT, self.places.clone().acquire_owned()).await.ok()?.ok()
    }
}

struct Queued<'a>(&'a AtomicU32);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_twice_the_rate_passes_and_no_more() {
        let rate = Rate::new(5);
        let passed = (0..20).filter(|_| rate.take().is_ok()).count();
        assert_eq!(passed, 10);
        assert!(rate.take().unwrap_err() <= Duration::from_millis(200));
    }

    #[test]
    fn places_come_back_on_drop() {
        let usage = Arc::new(TenantUse::new(Limits { concurrent: 2, ..Limits::default() }));
        let first = usage.call();
        let second = usage.call();
        assert!(first.is_some() && second.is_some() && usage.call().is_none());
        drop(first);
        assert!(usage.call().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_upstream_is_waited_for_but_not_for_ever() {
        let places = Places::new(1);
        let held = places.take().await;
        assert!(held.is_some());
        assert!(places.take().await.is_none(), "2 s of the paused clock pass");
        drop(held);
        assert!(places.take().await.is_some());
    }
}
