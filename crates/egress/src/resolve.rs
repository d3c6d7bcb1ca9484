//! From a host name to addresses; every one of them is judged by the caller.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};
use tokio::sync::Semaphore;

/// Longest wait for a resolver.
pub(crate) const RESOLVE_LIMIT: Duration = Duration::from_secs(5);

/// Look-ups under way at once. A look-up holds a blocking thread until the system answers, even when
/// nobody waits for it any more.
const LOOKUPS: usize = 64;

/// Gives every address of a name.
pub trait Resolver: Send + Sync + 'static {
    /// All addresses of `host` with `port`. May take as long as it likes: the caller has a limit.
    fn resolve(&self, host: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

    /// Look-ups under way and how many there may be at once, where that is bounded.
    fn fill(&self) -> Option<(u64, u64)> {
        None
    }
}

/// The resolver of the operating system.
#[derive(Clone)]
pub struct SystemResolver {
    lookups: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self { lookups: Arc::new(Semaphore::new(LOOKUPS)) }
    }
}

impl Resolver for SystemResolver {
    fn resolve(&self, host: String, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let lookups = Arc::clone(&self.lookups);
        async move {
            let permit = lookups.acquire_owned().await.map_err(io::Error::other)?;
            let lookup = tokio::task::spawn_blocking(move || {
                let _held_until_the_system_answers = permit;
                std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), port)).map(Iterator::collect)
            });
            lookup.await.map_err(io::Error::other)?
        }
        .boxed()
    }

    fn fill(&self) -> Option<(u64, u64)> {
        Some(((LOOKUPS - self.lookups.available_permits()) as u64, LOOKUPS as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_says_how_many_lookups_are_under_way() {
        let resolver = SystemResolver::default();
        assert_eq!(resolver.fill(), Some((0, 64)));
        let _held = resolver.lookups.clone().acquire_owned().await.unwrap();
        assert_eq!(resolver.fill(), Some((1, 64)));
    }
}
