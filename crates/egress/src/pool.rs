//! The idle connections of one upstream: last in, first out, bounded in number and in time, and by the
//! policy under which they were made.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::live::Live;

/// How often connections that rested too long are closed, while there are any.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The idle connections of one upstream.
pub(crate) struct Pool {
    idle: Mutex<Vec<Idle>>,
    limit: usize,
    sweeper: Arc<Sweeper>,
    /// Whether the sweeper knows of it.
    listed: AtomicBool,
}

struct Idle {
    live: Box<Live>,
    until: Instant,
}

/// Closes connections that rested too long in pools that nobody asks. One task for all pools, which
/// ends when all are empty.
#[derive(Default)]
pub(crate) struct Sweeper {
    listed: Mutex<Listed>,
    /// The revision of the policy in force.
    revision: AtomicU64,
}

#[derive(Default)]
struct Listed {
    pools: Vec<Weak<Pool>>,
    running: bool,
}

impl Pool {
    pub(crate) fn new(limit: usize, sweeper: Arc<Sweeper>) -> Arc<Self> {
        Arc::new(Self { idle: Mutex::default(), limit, sweeper, listed: AtomicBool::new(false) })
    }

    /// The connection used last, if one is usable under this revision of the policy.
    pub(crate) fn take(&self, revision: u64) -> Option<Box<Live>> {
        let mut now = None;
        loop {
            // One at a time, so that closing happens outside the lock.
            let Idle { live, until } = lock(&self.idle).pop()?;
            let now = *now.get_or_insert_with(Instant::now);
            // Not asked here whether the other end has closed it: the connection looks before it writes,
            // and gives the request back.
            if live.revision == revision && now < until {
                return Some(live);
            }
        }
    }

    /// Keeps a connection for the next request, or closes it if it can't be used again.
    pub(crate) fn put(self: &Arc<Self>, mut live: Box<Live>) {
        if live.idle_limit.is_zero() || !live.is_reusable() {
            return;
        }
        let idle = Idle { until: Instant::now() + live.idle_limit, live };
        {
            let mut kept = lock(&self.idle);
            if kept.len() >= self.limit {
                drop(kept);
                drop(idle);
                return;
            }
            kept.push(idle);
        }
        if !self.listed.swap(true, Ordering::SeqCst) {
            self.sweeper.list(self);
        }
    }

    /// How many connections rest.
    pub(crate) fn len(&self) -> usize {
        lock(&self.idle).len()
    }

    /// Closes what rested too long or was made under another revision of the policy. Whether anything is left.
    fn sweep(&self, now: Instant, revision: u64) -> bool {
        let over = |idle: &Idle| idle.until <= now || idle.live.revision != revision;
        let mut expired = Vec::new();
        let mut kept = lock(&self.idle);
        if kept.iter().any(over) {
            let (over, rest) = std::mem::take(&mut *kept).into_iter().partition(over);
            (expired, *kept) = (over, rest);
        }
        let left = !kept.is_empty();
        // Under the lock, so that no connection can come in between and stay unlisted.
        self.listed.store(left, Ordering::SeqCst);
        drop(kept);
        drop(expired);
        left
    }
}

impl Sweeper {
    /// Connections of other revisions than this are closed from now on.
    pub(crate) fn retire(&self, revision: u64) {
        self.revision.store(revision, Ordering::SeqCst);
    }

    fn list(self: &Arc<Self>, pool: &Arc<Pool>) {
        let mut listed = lock(&self.listed);
        listed.pools.push(Arc::downgrade(pool));
        if !listed.running
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            listed.running = true;
            runtime.spawn(Arc::clone(self).run());
        }
    }

    async fn run(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            let (now, revision) = (Instant::now(), self.revision.load(Ordering::SeqCst));
            let mut pools = std::mem::take(&mut lock(&self.listed).pools);
            pools.retain(|pool| pool.upgrade().is_some_and(|pool| pool.sweep(now, revision)));
            let mut listed = lock(&self.listed);
            listed.pools.append(&mut pools);
            if listed.pools.is_empty() {
                listed.running = false;
                return;
            }
        }
    }
}

/// A panic elsewhere leaves a list of connections that is still a list of connections.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
