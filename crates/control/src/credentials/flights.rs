//! One does it, everybody who wants it meanwhile waits for that one.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use model::TenantId;

type Flight<V> = Shared<BoxFuture<'static, Option<V>>>;
/// Flights by what they are about, each with the tenant that it is for.
type UnderWay<K, V> = HashMap<K, (TenantId, Flight<V>)>;

/// What is under way, by what it is about.
pub(super) struct Flights<K, V: Clone> {
    under_way: Arc<Mutex<UnderWay<K, V>>>,
    waiters: AtomicU64,
}

impl<K, V> Flights<K, V>
where
    K: Eq + Hash + Clone + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// The most that are under way at once.
    pub(super) const MOST: usize = 4_096;
    /// The same of one tenant: token endpoints that never answer are to hold up nobody else.
    pub(super) const OF_ONE_TENANT: usize = Self::MOST / 4;

    pub(super) fn new() -> Self {
        Self { under_way: Arc::default(), waiters: AtomicU64::new(0) }
    }

    /// Starts `work` unless it is under way, and waits for it. It goes on when nobody waits any more: what it has begun
    /// outside must be written down. `None` if there is too much under way, or it broke.
    pub(super) async fn join(
        &self,
        tenant: TenantId,
        key: K,
        work: impl FnOnce() -> BoxFuture<'static, V>,
    ) -> Option<V> {
        let flight = self.start(tenant, key, work)?;
        self.waiters.fetch_add(1, Ordering::Relaxed);
        let _waiting = Leaves(&self.waiters);
        flight.await
    }

    /// The same for who does not wait.
    pub(super) fn start(
        &self,
        tenant: TenantId,
        key: K,
        work: impl FnOnce() -> BoxFuture<'static, V>,
    ) -> Option<Flight<V>> {
        let mut all = lock(&self.under_way);
        if let Some((_, flight)) = all.get(&key) {
            return Some(flight.clone());
        }
        // Only where many are under way it matters whose they are.
        let crowded = || all.values().filter(|(whose, _)| *whose == tenant).count() >= Self::OF_ONE_TENANT;
        if all.len() >= Self::MOST || (all.len() >= Self::OF_ONE_TENANT && crowded()) {
            return None;
        }
        let task = tokio::spawn({
            let lands = Lands { all: self.under_way.clone(), key: key.clone() };
            let work = work();
            async move {
                let _lands = lands;
                work.await
            }
        });
        let flight = async move { task.await.ok() }.boxed().shared();
        all.insert(key, (tenant, flight.clone()));
        Some(flight)
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        lock(&self.under_way).len()
    }

    /// How many wait.
    pub(super) fn waiters(&self) -> u64 {
        self.waiters.load(Ordering::Relaxed)
    }
}

fn lock<K, V: Clone>(all: &Mutex<UnderWay<K, V>>) -> MutexGuard<'_, UnderWay<K, V>> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a flight out when it ends, however that is.
struct Lands<K: Eq + Hash, V: Clone> {
    all: Arc<Mutex<UnderWay<K, V>>>,
    key: K,
}

impl<K: Eq + Hash, V: Clone> Drop for Lands<K, V> {
    fn drop(&mut self) {
        lock(&self.all).remove(&self.key);
    }
}

struct Leaves<'a>(&'a AtomicU64);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn r52_any_number_of_callers_start_one_flight_and_it_goes_on_without_them() {
        let (flights, gate) = (Arc::new(Flights::<u8, u64>::new()), Arc::new(Semaphore::new(0)));
        let started = Arc::new(AtomicU64::new(0));
        let join = || {
            let (flights, gate, started) = (flights.clone(), gate.clone(), started.clone());
            tokio::spawn(async move {
                let work = || {
                    async move {
                        started.fetch_add(1, Ordering::SeqCst);
                        gate.acquire().await.unwrap().forget();
                        7
                    }
                    .boxed()
                };
                flights.join(tenant(1), 1, work).await
            })
        };
        let waiting: Vec<_> = (0..100).map(|_| join()).collect();
        while flights.waiters() < 100 {
            tokio::task::yield_now().await;
        }
        waiting[0].abort();
        gate.add_permits(1);
        for (at, waiter) in waiting.into_iter().enumerate() {
            match waiter.await {
                Ok(got) => assert_eq!(got, Some(7)),
                Err(error) => assert!(at == 0 && error.is_cancelled()),
            }
        }
        assert_eq!((started.load(Ordering::SeqCst), flights.len(), flights.waiters()), (1, 0, 0));
    }

    #[tokio::test]
    async fn a_flight_that_breaks_is_none_and_the_next_one_flies() {
        let flights = Flights::<u8, u8>::new();
        assert_eq!(flights.join(tenant(1), 1, || async { panic!("seeded") }.boxed()).await, None);
        assert_eq!(flights.join(tenant(1), 1, || async { 3 }.boxed()).await, Some(3));
    }

    fn tenant(number: u128) -> TenantId {
        TenantId(uuid::Uuid::from_u128(number))
    }

    #[tokio::test]
    async fn a_tenant_whose_flights_never_land_leaves_room_for_others() {
        let flights = Flights::<usize, u8>::new();
        let never = || std::future::pending().boxed();
        let started = |of, from| {
            let keys = from..from + Flights::<usize, u8>::MOST;
            keys.filter(|key| flights.start(tenant(of), *key, never).is_some()).count()
        };
        assert_eq!(started(1, 0), Flights::<usize, u8>::OF_ONE_TENANT);
        assert_eq!(started(1, 0), Flights::<usize, u8>::OF_ONE_TENANT, "those that are under way are joined");
        assert_eq!(flights.join(tenant(2), usize::MAX, || async { 3 }.boxed()).await, Some(3));
        let all: usize = (2..10).map(|of| started(of, of as usize * 10_000)).sum();
        assert_eq!(all + Flights::<usize, u8>::OF_ONE_TENANT, Flights::<usize, u8>::MOST);
    }
}
