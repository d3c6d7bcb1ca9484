//! An answer of another proxy on its way to the client.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use egress::EgressError;
use http_body::{Body as _, Frame, SizeHint};

/// Chunks as they come. If an event stream breaks off between two events, its client is told what that means.
pub(crate) struct Passed {
    body: egress::Body,
    /// What is said then, once.
    broken: Option<Bytes>,
    ends: Ends,
    over: bool,
}

/// Whether what was passed on so far ends where an event does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ends {
    /// Line feeds at the end, up to two; carriage returns don't count.
    feeds: u8,
}

impl Ends {
    /// Nothing came yet.
    const BEGIN: Self = Self { feeds: 2 };

    fn after(self, chunk: &[u8]) -> Self {
        let tail = chunk.iter().rev().filter(|byte| **byte != b'\r').take(2);
        let feeds = tail.take_while(|byte| **byte == b'\n').count();
        let whole = chunk.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        let before = if whole { self.feeds } else { 0 };
        Self { feeds: u8::try_from(feeds).unwrap_or(2).saturating_add(before).min(2) }
    }

    fn between_events(self) -> bool {
        self.feeds == 2
    }
}

impl Passed {
    pub(crate) fn new(body: egress::Body, broken: Option<Bytes>) -> Self {
        Self { body, broken, ends: Ends::BEGIN, over: false }
    }

    pub(crate) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, EgressError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        loop {
            return match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match Frame::into_data(frame) {
                    Ok(data) => {
                        self.ends = self.ends.after(&data);
                        Poll::Ready(Some(Ok(data)))
                    }
                    // Trailers are no part of what clients are told.
                    Err(_) => continue,
                },
                Some(Err(error)) => {
                    self.over = true;
                    match self.broken.take().filter(|_| self.ends.between_events()) {
                        Some(last) => Poll::Ready(Some(Ok(last))),
                        None => Poll::Ready(Some(Err(error))),
                    }
                }
                None => Poll::Ready(None),
            };
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.over || (self.broken.is_none() && self.body.is_end_stream())
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        if self.broken.is_some() { SizeHint::default() } else { self.body.size_hint() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_event_is_seen_however_it_is_cut() {
        for (chunks, between) in [
            (&[][..], true),
            (&["data: x\n\n"], true),
            (&["data: x\n"], false),
            (&["data: x\n", "\n"], true),
            (&["data: x", "\r\n", "\r\n"], true),
            (&["data: x\r\n\r\n", "data: y"], false),
            (&["\n"], true),
            (&["data: x\n\n", ": comment"], false),
        ] {
            let ends = chunks.iter().fold(Ends::BEGIN, |ends, chunk| ends.after(chunk.as_bytes()));
            assert_eq!(ends.between_events(), between, "{chunks:?}");
        }
    }
}
