//! What one tenant may use of this proxy at once and per second.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use model::{Limits, Subject};
use moka::policy::EvictionPolicy;
use tokio::sync::Semaphore;

/// Longest wait for a place at an upstream.
const QUEUE_WAIT: Duration = Duration::from_secs(2);

/// Most subjects of tokens whose rates are counted.
const SUBJECTS: u64 = 100_000;
/// Who has not asked for so long has a full bucket, and needs none that is kept.
const FORGOTTEN: Duration = Duration::from_secs(300);

/// A server's share of a limit: its own, but never more than its tenant's.
pub(crate) fn share(own: Option<u32>, tenant: u32) -> u32 {
    own.map_or(tenant, |own| own.min(tenant))
}

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

/// The rates of those who come with tokens. Keys have theirs in the table.
pub(crate) struct SubjectRates(moka::sync::Cache<Subject, (u32, Arc<Rate>)>);

impl Default for SubjectRates {
    fn default() -> Self {
        let rates = moka::sync::Cache::builder()
            .max_capacity(SUBJECTS)
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(FORGOTTEN)
            .build();
        Self(rates)
    }
}

impl SubjectRates {
    /// The bucket of a subject; a new one where there is none, or the tenant's limit is another now.
    pub(crate) fn of(&self, subject: Subject, per_second: u32) -> Arc<Rate> {
        match self.0.get(&subject) {
            Some((limit, rate)) if limit == per_second => rate,
            Some(_) => {
                let rate = Arc::new(Rate::new(per_second));
                self.0.insert(subject, (per_second, rate.clone()));
                rate
            }
            None => self.0.get_with(subject, || (per_second, Arc::new(Rate::new(per_second)))).1,
        }
    }

    /// Name of the bound, the bound, and what tells how much of it is in use.
    pub(crate) fn fill(&self) -> (&'static str, u64, Box<dyn Fn() -> u64 + Send + Sync>) {
        let rates = self.0.clone();
        ("token_subjects", SUBJECTS, Box::new(move || rates.entry_count()))
    }
}

/// What one tenant has under way, against the limits of one state of the table.
pub(crate) struct TenantUse {
    pub(crate) limits: Limits,
    pub(crate) rate: Arc<Rate>,
    under_way: Arc<UnderWay>,
}

/// The counters of one tenant; they outlive every change of its limits and mounts.
#[derive(Default)]
struct UnderWay {
    calls: AtomicU32,
    streams: AtomicU32,
}

impl TenantUse {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, rate: Arc::new(Rate::new(limits.tenant_rate)), under_way: Arc::default() }
    }

    /// The same use against other limits: what is under way still counts.
    pub(crate) fn limited(&self, limits: Limits) -> Self {
        let same = self.limits.tenant_rate == limits.tenant_rate;
        let rate = if same { self.rate.clone() } else { Arc::new(Rate::new(limits.tenant_rate)) };
        Self { limits, rate, under_way: self.under_way.clone() }
    }

    /// One call under way, until the guard is dropped; `None` at the limit.
    pub(crate) fn call(&self) -> Option<Held> {
        Held::take(&self.under_way, |under_way| &under_way.calls, self.limits.concurrent)
    }

    /// Names of the bounds, how much of each is in use, and the bounds.
    pub(crate) fn fill(&self) -> [(&'static str, u32, u32); 2] {
        let [calls, streams] =
            [&self.under_way.calls, &self.under_way.streams].map(|used| used.load(Ordering::Relaxed));
        [("tenant_calls", calls, self.limits.concurrent), ("tenant_streams", streams, self.limits.streams)]
    }

    /// One open stream, until the guard is dropped; `None` at the limit.
    pub(crate) fn stream(&self) -> Option<Held> {
        Held::take(&self.under_way, |under_way| &under_way.streams, self.limits.streams)
    }
}

/// A place that is given back on drop.
pub(crate) struct Held {
    under_way: Arc<UnderWay>,
    counter: fn(&UnderWay) -> &AtomicU32,
}

impl Held {
    fn take(under_way: &Arc<UnderWay>, counter: fn(&UnderWay) -> &AtomicU32, limit: u32) -> Option<Self> {
        if counter(under_way).fetch_add(1, Ordering::Relaxed) >= limit {
            counter(under_way).fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self { under_way: under_way.clone(), counter })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        (self.counter)(&self.under_way).fetch_sub(1, Ordering::Relaxed);
    }
}

/// The places at one upstream: `limit` under way, as many again in the queue for at most 2 s.
pub(crate) struct Places {
    free: Semaphore,
    queued: AtomicU32,
    limit: AtomicU32,
    /// Places that are taken but no longer allowed: so many are not given back.
    owed: AtomicU32,
}

impl Places {
    pub(crate) fn new(limit: u32) -> Arc<Self> {
        Arc::new(Self {
            free: Semaphore::new(limit as usize),
            queued: AtomicU32::new(0),
            limit: AtomicU32::new(limit),
            owed: AtomicU32::new(0),
        })
    }

    /// A place, waited for if need be; `None` if the queue is full or the wait too long.
    pub(crate) async fn take(self: &Arc<Self>) -> Option<Place> {
        if let Ok(permit) = self.free.try_acquire() {
            permit.forget();
            return Some(Place(self.clone()));
        }
        if self.queued.fetch_add(1, Ordering::Relaxed) >= self.limit.load(Ordering::Relaxed) {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let _queued = Queued(&self.queued);
        tokio::time::timeout(QUEUE_WAIT, self.free.acquire()).await.ok()?.ok()?.forget();
        Some(Place(self.clone()))
    }

    /// Names of the bounds, how much of each is in use, and the bounds.
    pub(crate) fn fill(&self) -> [(&'static str, u64, u64); 2] {
        let limit = u64::from(self.limit.load(Ordering::Relaxed));
        let owed = u64::from(self.owed.load(Ordering::Relaxed));
        let taken = (limit + owed).saturating_sub(self.free.available_permits() as u64);
        let queued = u64::from(self.queued.load(Ordering::Relaxed));
        [("upstream_places", taken, limit), ("upstream_queue", queued, limit)]
    }

    /// Another limit from now on. Whoever has a place keeps it; with fewer places than are taken,
    /// nobody gets one until enough have come back. Called by the table's one writer.
    pub(crate) fn resize(&self, limit: u32) {
        let before = self.limit.swap(limit, Ordering::Relaxed);
        if limit >= before {
            let more = limit - before;
            let pays = |owed: u32| Some(owed.saturating_sub(more));
            let owed = self.owed.fetch_update(Ordering::AcqRel, Ordering::Acquire, pays).unwrap_or_default();
            self.free.add_permits(more.saturating_sub(owed) as usize);
        } else {
            let less = before - limit;
            let gone = self.free.forget_permits(less as usize) as u32;
            self.owed.fetch_add(less - gone, Ordering::AcqRel);
        }
    }
}

/// A place at one upstream, given back on drop.
pub(crate) struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        let pays = |owed: u32| owed.checked_sub(1);
        if self.0.owed.fetch_update(Ordering::AcqRel, Ordering::Acquire, pays).is_err() {
            self.0.free.add_permits(1);
        }
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
    fn each_subject_has_a_bucket_that_follows_the_limit() {
        let rates = SubjectRates::default();
        let [ann, bob] = [1, 2].map(|id| Subject::of_user(model::UserId(uuid::Uuid::from_u128(id))));
        let passed = |subject, per_second| (0..20).filter(|_| rates.of(subject, per_second).take().is_ok()).count();
        assert_eq!((passed(ann, 2), passed(ann, 2), passed(bob, 2)), (4, 0, 4));
        assert_eq!(passed(ann, 3), 6, "another limit, another bucket");
    }

    #[test]
    fn places_come_back_on_drop() {
        let usage = TenantUse::new(Limits { concurrent: 2, ..Limits::default() });
        let first = usage.call();
        let second = usage.call();
        assert!(first.is_some() && second.is_some() && usage.call().is_none());
        drop(first);
        assert!(usage.call().is_some());
    }

    #[test]
    fn other_limits_count_what_is_under_way() {
        let usage = TenantUse::new(Limits { concurrent: 2, ..Limits::default() });
        let held = usage.call();
        let fewer = usage.limited(Limits { concurrent: 1, ..Limits::default() });
        assert!(held.is_some() && fewer.call().is_none());
        drop(held);
        assert!(fewer.call().is_some());
    }

    #[test]
    fn the_share_of_a_server_is_never_more_than_its_tenants() {
        for (own, share_of_10) in [(None, 10), (Some(3), 3), (Some(10), 10), (Some(99), 10)] {
            assert_eq!(share(own, 10), share_of_10);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_limit_drops_nobody_and_holds_for_everybody_after() {
        let places = Places::new(3);
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(places.take().await.unwrap());
        }
        places.resize(1);
        for left in [2, 1] {
            held.pop();
            assert!(places.take().await.is_none(), "{left} are still under way");
        }
        held.pop();
        held.push(places.take().await.unwrap());
        assert!(places.take().await.is_none());
        places.resize(2);
        held.push(places.take().await.unwrap());
        assert!(places.take().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_goes_down_and_up_again_ends_where_it_began() {
        let places = Places::new(4);
        let held = [places.take().await.unwrap(), places.take().await.unwrap(), places.take().await.unwrap()];
        for limit in [1, 3, 2, 4] {
            places.resize(limit);
        }
        assert_eq!(places.free.available_permits(), 1);
        drop(held);
        assert_eq!(places.free.available_permits(), 4);
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
