//! A response body that drives its own connection, and gives it back when it has been read to its end.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use crate::EgressError;
use crate::live::Live;
use crate::pool::Pool;

/// The body of a response. Read to its end, its connection goes back to the pool; dropped before, the
/// connection is closed. An end that comes too early is an error, never an end.
pub struct Body {
    // Dropped before `incoming`: a channel whose writer is gone wakes nobody.
    live: Option<Box<Live>>,
    incoming: Incoming,
    pool: Option<Arc<Pool>>,
}

impl Body {
    /// `live` is `None` when the connection has ended, all of the body being read ahead.
    pub(crate) fn new(incoming: Incoming, live: Option<Box<Live>>, pool: Option<Arc<Pool>>) -> Self {
        let mut body = Self { live, incoming, pool };
        if http_body::Body::is_end_stream(&body.incoming) {
            body.give_back();
        }
        body
    }

    fn give_back(&mut self) {
        if let (Some(live), Some(pool)) = (self.live.take(), self.pool.take()) {
            Pool::put(&pool, live);
        }
    }

    fn poll_incoming(&mut self, task: &Waker) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { live, incoming, .. } = self;
        let mut take = || {
            let quiet = &mut Context::from_waker(Waker::noop());
            http_body::Body::poll_frame(Pin::new(&mut *incoming), quiet)
        };
        if let Some(connection) = live {
            let (taken, ended) = connection.poll_work(task, &mut take);
            if ended.is_pending() {
                return taken;
            }
            *live = None;
        }
        // Nobody can add to it any more: what is there is taken, and then its end or its error.
        take()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = EgressError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, EgressError>>> {
        if self.live.is_none() && http_body::Body::is_end_stream(&self.incoming) {
            return Poll::Ready(None);
        }
        match ready!(self.poll_incoming(cx.waker())) {
            Some(Ok(frame)) => {
                if http_body::Body::is_end_stream(&self.incoming) {
                    self.give_back();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                self.live = None;
                Poll::Ready(Some(Err(EgressError::from_body(&error))))
            }
            None => {
                self.give_back();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        http_body::Body::is_end_stream(&self.incoming)
    }

    fn size_hint(&self) -> SizeHint {
        http_body::Body::size_hint(&self.incoming)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if http_body::Body::is_end_stream(&self.incoming) { "Body(at its end)" } else { "Body" })
    }
}
