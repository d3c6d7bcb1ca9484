//! The same over Redis: one channel for all hints, `SET NX PX` for marks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deadpool_redis::redis::{self, AsyncCommands as _, Client, RedisError};
use deadpool_redis::{Config, Pool, PoolError, Runtime};
use futures::StreamExt as _;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::hints::Board;
use crate::marks::Mark;

/// The channel of all hints; a message is the topic.
const CHANNEL: &str = "gatehouse:hints";
/// What every key begins with.
const PREFIX: &str = "gatehouse:mark:";
/// How long Redis may take before its caller goes on without it.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long it is left alone after a failure.
const COOLING: Duration = Duration::from_secs(5);
/// Pause before the subscription is tried again; doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const CONNECTIONS: usize = 8;

/// Not `redis://…` or `rediss://…`.
#[derive(Debug, thiserror::Error)]
#[error("must be redis://host:port or rediss://host:port")]
pub struct AddressError;

/// Pooled connections for commands, one connection of its own for the subscription.
pub(crate) struct Redis {
    pool: Pool,
    began: Instant,
    /// Milliseconds after `began` until which Redis is left alone.
    cooling_until: AtomicU64,
    degraded: AtomicU64,
    listener: AbortHandle,
}

impl Redis {
    pub(crate) fn new(url: &str, board: Arc<Board>) -> Result<Self, AddressError> {
        // The cause would repeat the address, and with it a password.
        let client = Client::open(url).map_err(|_| AddressError)?;
        let pool = Config::from_url(url)
            .builder()
            .map_err(|_| AddressError)?
            .max_size(CONNECTIONS)
            .wait_timeout(Some(PATIENCE))
            .create_timeout(Some(PATIENCE))
            .recycle_timeout(Some(PATIENCE))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|_| AddressError)?;
        let listener = tokio::spawn(listen(client, board)).abort_handle();
        Ok(Self {
            pool,
            began: Instant::now(),
            cooling_until: AtomicU64::new(0),
            degraded: AtomicU64::new(0),
            listener,
        })
    }

    pub(crate) async fn publish(&self, topic: &str) {
        // A hint that nobody gets is found out by polling.
        _ = self.within_patience(async |mut connection| connection.publish::<_, _, ()>(CHANNEL, topic).await).await;
    }

    pub(crate) async fn mark(&self, name: &str, ttl: Duration) -> Mark {
        let key = format!("{PREFIX}{name}");
        let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
        let set = self
            .within_patience(async |mut connection| {
                let set = redis::cmd("SET").arg(&key).arg(1).arg("NX").arg("PX").arg(millis).to_owned();
                set.query_async::<Option<String>>(&mut connection).await
            })
            .await;
        match set {
            Some(Some(_)) => Mark::Set,
            Some(None) => Mark::Taken,
            None => Mark::Unknown,
        }
    }

    pub(crate) fn degraded(&self) -> u64 {
        self.degraded.load(Ordering::Relaxed)
    }

    /// Asks Redis unless it failed a moment ago; `None` if it can't be used.
    async fn within_patience<T>(
        &self,
        ask: impl AsyncFnOnce(deadpool_redis::Connection) -> Result<T, RedisError>,
    ) -> Option<T> {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        if now < self.cooling_until.load(Ordering::Relaxed) {
            self.degraded.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let asked = async { Ok::<_, Failure>(ask(self.pool.get().await?).await?) };
        let failure = match timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::Slow,
        };
        self.degraded.fetch_add(1, Ordering::Relaxed);
        let until = now + u64::try_from(COOLING.as_millis()).unwrap_or(0);
        self.cooling_until.store(until, Ordering::Relaxed);
        tracing::warn!(error = &failure as &dyn std::error::Error, "Redis can't be used, going on without it");
        None
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

/// Why Redis gave no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no connection to Redis")]
    Connection(#[from] PoolError),
    #[error("Redis refused")]
    Refused(#[from] RedisError),
    #[error("Redis took too long")]
    Slow,
}

/// Hands hints of other replicas to this one, for ever.
async fn listen(client: Client, board: Arc<Board>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let subscribe = async {
            let mut subscription = client.get_async_pubsub().await?;
            subscription.subscribe(CHANNEL).await?;
            Ok::<_, RedisError>(subscription)
        };
        if let Ok(Ok(subscription)) = timeout(LONGEST_PAUSE, subscribe).await {
            pause = FIRST_PAUSE;
            let mut messages = subscription.into_on_message();
            while let Some(message) = messages.next().await {
                // A topic that is no text is none of ours.
                if let Ok(topic) = message.get_payload::<String>() {
                    board.wake(&topic);
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
