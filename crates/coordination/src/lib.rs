//! Hints and expiring marks between replicas: in one process, or over Redis.
//!
//! Nothing is correct only because of this crate. A hint says "look again, now": who waits also looks
//! from time to time without one. A mark spares work that would be harmless twice. So nothing here
//! fails: without Redis a hint reaches this process only, and a mark is [`Mark::Unknown`].

mod hints;
mod marks;
mod redis;

use std::sync::Arc;
use std::time::Duration;

pub use self::hints::Hints;
pub use self::marks::Mark;
pub use self::redis::AddressError;

use self::hints::Board;
use self::marks::Marks;
use self::redis::Redis;

/// The way to the other replicas. Cloning gives another handle to the same.
#[derive(Clone)]
pub struct Coordination {
    board: Arc<Board>,
    way: Way,
}

#[derive(Clone)]
enum Way {
    InProcess(Arc<Marks>),
    Redis(Arc<Redis>),
}

impl Coordination {
    /// For the only replica: hints and marks stay in this process.
    pub fn in_process() -> Self {
        Self { board: Arc::default(), way: Way::InProcess(Arc::default()) }
    }

    /// Over Redis, `redis://` or `rediss://`. Connects when it is used first, and again whenever it was
    /// lost; must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// The address is none of Redis. An address where nobody answers is no error.
    pub fn over_redis(url: &str) -> Result<Self, AddressError> {
        let board = Arc::<Board>::default();
        let redis = Redis::new(url, board.clone())?;
        Ok(Self { board, way: Way::Redis(Arc::new(redis)) })
    }

    /// Wakes everybody who waits for `topic`, here and on other replicas. Takes at most 100 ms.
    pub async fn hint(&self, topic: &str) {
        self.board.wake(topic);
        if let Way::Redis(redis) = &self.way {
            redis.publish(topic).await;
        }
    }

    /// The hints on `topic` from now on.
    pub fn hints(&self, topic: &str) -> Hints {
        self.board.hints(topic)
    }

    /// Sets the mark `name` for `ttl` (1 ms to a day) unless somebody has. Takes at most 100 ms.
    pub async fn mark(&self, name: &str, ttl: Duration) -> Mark {
        match &self.way {
            Way::InProcess(marks) => marks.set(name, ttl),
            Way::Redis(redis) => redis.mark(name, ttl).await,
        }
    }

    /// How often Redis was needed and could not be used since the start.
    pub fn degraded(&self) -> u64 {
        match &self.way {
            Way::InProcess(_) => 0,
            Way::Redis(redis) => redis.degraded(),
        }
    }
}

impl std::fmt::Debug for Coordination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.way {
            Way::InProcess(_) => "Coordination(in process)",
            Way::Redis(_) => "Coordination(Redis)",
        })
    }
}
