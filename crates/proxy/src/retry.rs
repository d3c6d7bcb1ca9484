//! Trying again what failed on the way: as often as the server's record says, with its pause in between.
//!
//! A request that may have been acted on is tried again only where that does no harm; one that never
//! left is tried again whatever it asks. The series ends early when its time is up or the upstream has
//! begun to cool, and counts as one failure, not as many.

use std::time::Duration;

use tokio::time::Instant;

use crate::table::Mount;
use crate::timers::scaled;
use crate::upstream::Failure;

/// The tries that are left for one request to one mount.
pub(crate) struct Tries<'a> {
    mount: &'a Mount,
    left: u32,
    pause: Duration,
    deadline: Instant,
}

impl<'a> Tries<'a> {
    /// Those that the mount's record allows, none of them begun after `deadline`.
    pub(crate) fn of(mount: &'a Mount, deadline: Instant) -> Self {
        Self { mount, left: mount.spec.retry_count, pause: scaled(mount.spec.retry_delay), deadline }
    }

    /// Waits for the next try after `failure`; gives it back where there is none. `safe`: doing the
    /// request twice does no harm.
    pub(crate) async fn next(&mut self, failure: Failure, safe: bool) -> Result<(), Failure> {
        let at = Instant::now() + self.pause;
        if self.left == 0 || !failure.may_be_tried_again(safe) || at >= self.deadline {
            return Err(failure);
        }
        self.left -= 1;
        tracing::debug!(server = self.mount.name(), class = failure.class(), left = self.left, "tried again");
        tokio::time::sleep_until(at).await;
        // Somebody else's series ended meanwhile: from here on the upstream is left alone.
        if self.mount.cooldown.remaining(std::time::Instant::now()).is_some() { Err(failure) } else { Ok(()) }
    }
}
