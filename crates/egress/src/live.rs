//! One HTTP/1.1 connection, polled by whoever waits for its answer.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Sleep};

use crate::relay::Relay;
use crate::{EgressError, Sent, Socket};

/// Bound for the head of a response, and for what is read ahead of a body that nobody takes.
const MAX_BUFFER: usize = 256 * 1024;

/// Node and uvicorn close an idle connection after 5 s.
const DEFAULT_IDLE: Duration = Duration::from_secs(4);

/// Longest time a connection is kept idle, whatever the upstream offers.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// A connection: both ends of hyper's client, kept together.
pub(crate) struct Live {
    sender: SendRequest<Full<Bytes>>,
    connection: Connection<TokioIo<Socket>, Full<Bytes>>,
    relay: Arc<Relay>,
    waker: Waker,
    /// One timer for all requests of the connection: moving a deadline further away is cheaper than a new timer.
    deadline: Pin<Box<Sleep>>,
    /// How long it may rest in a pool.
    pub(crate) idle_limit: Duration,
    /// The policy's revision when it was made.
    pub(crate) revision: u64,
}

/// What became of a request.
pub(crate) enum Exchange {
    /// A head came back; the connection is there unless it has ended.
    Answered(Response<Incoming>, Option<Box<Live>>),
    /// Not a byte was written: the request as it was.
    Unsent(Request<Full<Bytes>>),
    /// It may have been sent.
    Failed(EgressError),
}

impl Live {
    /// Sets up HTTP/1.1 on a connected socket.
    pub(crate) async fn start(socket: Socket, revision: u64) -> Result<Box<Self>, EgressError> {
        let (sender, connection) = Builder::new()
            .max_buf_size(MAX_BUFFER)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(|_| EgressError::Closed(Sent::No))?;
        let relay = Arc::new(Relay::default());
        Ok(Box::new(Self {
            sender,
            connection,
            waker: Waker::from(Arc::clone(&relay)),
            relay,
            deadline: Box::pin(tokio::time::sleep(Duration::ZERO)),
            idle_limit: DEFAULT_IDLE,
            revision,
        }))
    }

    /// Sends one request and waits for the head of its response.
    ///
    /// The response's channel is polled with a waker that wakes nobody: only the connection, polled
    /// right before, can fill it. For the same reason it takes no part in tokio's cooperative budget,
    /// whose yield would be lost.
    pub(crate) async fn exchange(mut self: Box<Self>, request: Request<Full<Bytes>>, limit: Duration) -> Exchange {
        let mut response = pin!(tokio::task::unconstrained(self.sender.try_send_request(request)));
        self.deadline.as_mut().reset(Instant::now() + limit);
        let mut live = Some(self);
        let answer = poll_fn(|cx| {
            let mut quiet = Context::from_waker(Waker::noop());
            let Some(this) = live.as_mut() else { return Poll::Ready(None) };
            this.relay.enter(cx.waker());
            if this.poll_connection().is_ready() {
                // Gone: what is still queued in it comes back as an error, or as a response that it had read.
                live = None;
                return match response.as_mut().poll(&mut quiet) {
                    Poll::Ready(answer) => Poll::Ready(Some(answer)),
                    Poll::Pending => Poll::Ready(None),
                };
            }
            if let Poll::Ready(answer) = response.as_mut().poll(&mut quiet) {
                this.relay.leave();
                return Poll::Ready(Some(answer));
            }
            let Self { deadline, waker, relay, .. } = &mut **this;
            if deadline.as_mut().poll(&mut Context::from_waker(waker)).is_ready() {
                return Poll::Ready(None);
            }
            relay.wait();
            Poll::Pending
        })
        .await;
        match answer {
            Some(Ok(response)) => {
                if let Some(live) = &mut live {
                    live.heed_keep_alive(response.headers());
                }
                Exchange::Answered(response, live)
            }
            Some(Err(mut failed)) => match failed.take_message() {
                Some(request) => Exchange::Unsent(request),
                None => Exchange::Failed(EgressError::from_head(&failed.into_error())),
            },
            None if live.is_some() => Exchange::Failed(EgressError::FirstByteTimeout),
            None => Exchange::Failed(EgressError::Closed(Sent::Maybe)),
        }
    }

    /// Lets the connection work for a body that is being read; wakes `task` when there is more to do.
    pub(crate) fn poll_work<T>(&mut self, task: &Waker, mut take: impl FnMut() -> Poll<T>) -> (Poll<T>, Poll<()>) {
        self.relay.enter(task);
        let mut taken = take();
        if taken.is_ready() {
            self.relay.leave();
            return (taken, Poll::Pending);
        }
        let ended = self.poll_connection();
        if ended.is_pending() {
            taken = take();
            if taken.is_ready() { self.relay.leave() } else { self.relay.wait() }
        }
        (taken, ended)
    }

    /// Whether the next request could be sent on it. Polls once if the end of the last message is still
    /// to be noticed, and forgets the task that polled so far.
    pub(crate) fn is_reusable(&mut self) -> bool {
        if !self.sender.is_ready() && self.poll_connection().is_ready() {
            return false;
        }
        self.relay.rest();
        self.sender.is_ready()
    }

    fn poll_connection(&mut self) -> Poll<()> {
        let Self { connection, waker, .. } = self;
        // An error has already gone to whoever waits for the response or the body.
        Pin::new(connection).poll(&mut Context::from_waker(waker)).map(drop)
    }

    /// `Keep-Alive: timeout=5` means that the other end closes after 5 s; one second is for the way.
    fn heed_keep_alive(&mut self, headers: &HeaderMap) {
        if let Some(offered) = headers.get("keep-alive").and_then(|value| value.to_str().ok()) {
            self.idle_limit = idle_limit(offered);
        }
    }
}

/// How long a connection may rest, given the value of a `Keep-Alive` header.
fn idle_limit(offered: &str) -> Duration {
    let timeout = offered.split(',').find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("timeout").then(|| value.trim().parse::<u64>().ok())?
    });
    match timeout {
        Some(seconds) => Duration::from_secs(seconds.saturating_sub(1)).min(MAX_IDLE),
        None => DEFAULT_IDLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keep_alive_header_sets_the_idle_limit_less_one_second() {
        for (offered, seconds) in [
            ("timeout=5", 4),
            ("timeout=5, max=100", 4),
            ("max=100, Timeout = 30", 29),
            ("timeout=1", 0),
            ("timeout=0", 0),
            ("timeout=86400", 60),
            ("timeout=99999999999999999999", 4),
            ("timeout=-5", 4),
            ("max=3", 4),
            ("", 4),
        ] {
            assert_eq!(idle_limit(offered), Duration::from_secs(seconds), "{offered}");
        }
    }
}
