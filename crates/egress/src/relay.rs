//! The waker of a connection: hands wakes on to the task that polls it at the moment, except those
//! that the task causes itself while it polls.
//!
//! hyper expects a task per connection and wakes it from the task that reads the body, and the other
//! way round. Here both are one task, which would be scheduled a second time for each response just to
//! find nothing. Wakes that arrive while the task is inside are kept, and handed on only if it then
//! has to wait: a task that gets something ready polls again before it waits, and sees what the wake
//! was about.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Wake, Waker};

use futures::task::AtomicWaker;

const OUTSIDE: u8 = 0;
const INSIDE: u8 = 1;
const WOKEN: u8 = 2;

/// See the module.
#[derive(Default)]
pub(crate) struct Relay {
    task: AtomicWaker,
    state: AtomicU8,
}

impl Relay {
    /// The task begins to poll.
    pub(crate) fn enter(&self, task: &Waker) {
        self.task.register(task);
        self.state.store(INSIDE, Ordering::SeqCst);
    }

    /// The task got something and goes on.
    pub(crate) fn leave(&self) {
        self.state.store(OUTSIDE, Ordering::SeqCst);
    }

    /// The task has to wait: what woke it meanwhile wakes it now.
    pub(crate) fn wait(&self) {
        if self.state.swap(OUTSIDE, Ordering::SeqCst) & WOKEN != 0 {
            self.task.wake();
        }
    }

    /// Nobody polls for now: forgets the task, and with it the memory that its waker holds.
    pub(crate) fn rest(&self) {
        self.leave();
        drop(self.task.take());
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.fetch_or(WOKEN, Ordering::SeqCst) & INSIDE == 0 {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn relay() -> (Arc<Relay>, Waker, Arc<Count>, Waker) {
        let (relay, count) = (Arc::new(Relay::default()), Arc::new(Count::default()));
        (Arc::clone(&relay), Waker::from(relay), Arc::clone(&count), Waker::from(count))
    }

    #[test]
    fn a_wake_from_outside_reaches_the_task() {
        let (relay, waker, count, task) = relay();
        relay.enter(&task);
        relay.wait();
        waker.wake_by_ref();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_wake_from_inside_reaches_the_task_only_if_it_has_to_wait() {
        let (relay, waker, count, task) = relay();
        relay.enter(&task);
        waker.wake_by_ref();
        relay.leave();
        assert_eq!(count.0.load(Ordering::SeqCst), 0, "it goes on anyway");
        relay.enter(&task);
        waker.wake_by_ref();
        relay.wait();
        assert_eq!(count.0.load(Ordering::SeqCst), 1, "it must not sleep over it");
    }

    #[test]
    fn a_resting_connection_wakes_nobody() {
        let (relay, waker, count, task) = relay();
        relay.enter(&task);
        relay.rest();
        waker.wake_by_ref();
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        assert_eq!(Arc::strong_count(&count), 2, "the task's waker is held by nobody but the test");
    }
}
