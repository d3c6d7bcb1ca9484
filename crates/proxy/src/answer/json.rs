//! A JSON answer with its id put back: looked at as a whole, or as it streams by.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use egress::EgressError;
use http_body::Body as _;
use http_body_util::BodyExt;
use mcp::Splicer;
use mcp::references::may_hold_in;
use tokio::time::{Instant, Sleep};

use super::Call;
use crate::account::{Account, Ended};
use crate::table::Mount;
use crate::timers::scaled;
use crate::upstream::Failure;
use crate::upstream::http::{LEAST, PACE};
use crate::upstream_sessions::settle;

/// So much of a JSON answer is looked at before the first byte goes out: an answer that fits is
/// known to be whole and valid. Of a larger one the rest streams by, and if it turns out to be
/// broken the client's connection is cut: never a false success.
const WINDOW: usize = 128 << 10;

/// A JSON answer.
pub(crate) enum Json {
    /// Looked at as a whole.
    Whole(Vec<Bytes>, Ended<'static>),
    /// The window was too small for it.
    Streamed(Box<StreamedAnswer>),
}

/// A large JSON answer that streams by.
pub(crate) struct StreamedAnswer {
    ready: VecDeque<Bytes>,
    splicer: Splicer,
    body: Option<egress::Body>,
    left: usize,
    counted: usize,
    pace: Pin<Box<Sleep>>,
    deadline: Instant,
    mount: Arc<Mount>,
    account: Option<Account>,
}

/// Reads an answer as far as the window goes.
pub(crate) async fn json(mut body: egress::Body, mut splicer: Splicer, call: &Call) -> Result<Json, Failure> {
    let limit = call.largest;
    let mut pieces = Vec::with_capacity(4);
    let (mut seen, mut counted, mut since) = (0usize, 0usize, Instant::now());
    if body.size_hint().exact().is_some_and(|size| size > limit as u64) {
        return Err(Failure::TooLarge);
    }
    while seen <= WINDOW {
        let frame = match poll_once(&mut body).await {
            Some(frame) => frame,
            None => tokio::time::timeout_at(since + scaled(PACE), body.frame())
                .await
                .map_err(|_| EgressError::FirstByteTimeout)?,
        };
        let Some(frame) = frame else {
            let rejected = splicer.finish().map_err(|error| broken(&error))?;
            return Ok(Json::Whole(pieces, Ended::answered(rejected, splicer.is_tool_error())));
        };
        let Ok(data) = frame?.into_data() else { continue };
        seen += data.len();
        counted += data.len();
        if counted >= LEAST {
            (counted, since) = (0, Instant::now());
        }
        if seen > limit {
            return Err(Failure::TooLarge);
        }
        splicer.push(&data, &mut pieces).map_err(|error| broken(&error))?;
    }
    let pace = Box::pin(tokio::time::sleep(scaled(PACE)));
    Ok(Json::Streamed(Box::new(StreamedAnswer {
        ready: pieces.into(),
        splicer,
        body: Some(body),
        left: limit - seen,
        counted: 0,
        pace,
        deadline: call.deadline,
        mount: call.mount.clone(),
        account: None,
    })))
}

/// A frame that is there already costs no timer.
async fn poll_once(body: &mut egress::Body) -> Option<Option<Result<http_body::Frame<Bytes>, EgressError>>> {
    std::future::poll_fn(|cx| match Pin::new(&mut *body).poll_frame(cx) {
        Poll::Ready(frame) => Poll::Ready(Some(frame)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn broken(error: &mcp::SpliceError) -> Failure {
    Failure::BadResponse(match error {
        mcp::SpliceError::Truncated => "it ends too early",
        mcp::SpliceError::WrongId => "it carries another id",
        mcp::SpliceError::TooDeep => "it is nested too deep",
        mcp::SpliceError::Syntax | mcp::SpliceError::Shape => "it is not a JSON-RPC message",
    })
}

impl StreamedAnswer {
    /// Who is told of the outcome.
    pub(crate) fn told_to(&mut self, account: Account) {
        self.account = Some(account);
    }

    /// Whether something of the upstream's may be named in it, as far as it is there.
    pub(crate) fn may_name_something(&self) -> bool {
        may_hold_in(self.ready.iter().map(|piece| &piece[..]))
    }

    /// All of it, once it is there.
    pub(crate) async fn whole(mut self: Box<Self>) -> Result<Vec<Bytes>, Failure> {
        let mut pieces = Vec::new();
        while let Some(piece) = std::future::poll_fn(|cx| self.poll_chunk(cx)).await {
            pieces.push(piece.map_err(|CutShort| Failure::Egress(Arc::new(EgressError::Truncated)))?);
        }
        Ok(pieces)
    }

    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CutShort>>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(piece)));
            }
            let Some(body) = &mut self.body else { return Poll::Ready(None) };
            let frame = match Pin::new(body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    ready!(self.pace.as_mut().poll(cx));
                    if self.counted < LEAST || Instant::now() >= self.deadline {
                        return self.cut(EgressError::FirstByteTimeout);
                    }
                    self.counted = 0;
                    self.pace.as_mut().reset(Instant::now() + scaled(PACE));
                    continue;
                }
            };
            match frame {
                None => {
                    self.body = None;
                    return match self.splicer.finish() {
                        Ok(rejected) => {
                            self.mount.cooldown.succeeded();
                            if let Some(account) = self.account.take() {
                                account.end(Ended::answered(rejected, self.splicer.is_tool_error()));
                            }
                            Poll::Ready(None)
                        }
                        Err(_) => self.cut(EgressError::Truncated),
                    };
                }
                Some(Err(error)) => return self.cut(error),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    self.counted += data.len();
                    let Some(left) = self.left.checked_sub(data.len()) else { return self.cut(EgressError::TooLarge) };
                    self.left = left;
                    let mut pieces = Vec::with_capacity(3);
                    if self.splicer.push(&data, &mut pieces).is_err() {
                        return self.cut(EgressError::Http);
                    }
                    self.ready.extend(pieces);
                }
            }
        }
    }

    /// Part of the answer is out: all that is left is to make sure that it is not taken for whole.
    fn cut(&mut self, error: EgressError) -> Poll<Option<Result<Bytes, CutShort>>> {
        self.body = None;
        self.ready.clear();
        let failure = Failure::Egress(Arc::new(error));
        settle::<()>(&self.mount, &Err(failure.clone()));
        if let Some(account) = self.account.take() {
            account.end(Ended::Failed(&failure));
        }
        Poll::Ready(Some(Err(CutShort)))
    }
}

/// The connection is cut: what was sent of an answer is not all of it.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
pub(crate) struct CutShort;
