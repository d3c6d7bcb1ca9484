//! A client that has begun a request must finish its head soon; one that was answered may rest for longer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Nothing of the next request has come.
const RESTING: u8 = 0;
/// Some of a head has come, or the connection is new.
const BEGUN: u8 = 1;
/// A request is being read on or answered.
const SERVED: u8 = 2;

/// Where a connection is, shared by the stream that reads and the service that answers.
#[derive(Clone)]
pub(crate) struct Phase(Arc<AtomicU8>);

/// The answer to a request is under way; dropped, the connection rests.
pub(crate) struct Serving(Phase);

/// A stream whose reads fail with `TimedOut` when a head that was begun does not come to its end.
pub(crate) struct HeadTimeout<S> {
    stream: S,
    phase: Phase,
    patience: Duration,
    /// Made by the first head that comes in pieces, then used again.
    sleep: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Phase {
    /// A head is complete.
    pub(crate) fn serve(&self) -> Serving {
        self.0.store(SERVED, Ordering::Relaxed);
        Serving(self.clone())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.0.store(RESTING, Ordering::Relaxed);
    }
}

impl<S> HeadTimeout<S> {
    pub(crate) fn new(stream: S, patience: Duration) -> (Self, Phase) {
        let phase = Phase(Arc::new(AtomicU8::new(BEGUN)));
        (Self { stream, phase: phase.clone(), patience, sleep: None, waiting: false }, phase)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadTimeout<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let (read, phase) = (Pin::new(&mut this.stream).poll_read(cx, buf), this.phase.0.load(Ordering::Relaxed));
        if phase != BEGUN {
            this.waiting = false;
            if phase == RESTING && read.is_ready() {
                this.phase.0.store(BEGUN, Ordering::Relaxed);
            }
            return read;
        }
        if read.is_ready() {
            return read;
        }
        let until = Instant::now() + this.patience;
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        // Once for each head: what comes in drops doesn't start it again.
        if !std::mem::replace(&mut this.waiting, true) {
            sleep.as_mut().reset(until);
        }
        sleep.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_head_that_comes_in_drops_is_cut_after_its_time() {
        let (mut client, server) = tokio::io::duplex(64);
        let (mut stream, _phase) = HeadTimeout::new(server, PATIENCE);
        let begun = Instant::now();
        let dripping = tokio::spawn(async move {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        });
        let mut read = [0; 1];
        let error = loop {
            if let Err(error) = stream.read(&mut read).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), PATIENCE);
        drop(stream);
        dripping.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_was_answered_may_rest_and_its_next_head_has_the_whole_time() {
        let (mut client, server) = tokio::io::duplex(64);
        let (mut stream, phase) = HeadTimeout::new(server, PATIENCE);
        let mut read = [0; 8];
        client.write_all(b"head").await.unwrap();
        assert_eq!(stream.read(&mut read).await.unwrap(), 4);
        let serving = phase.serve();
        assert!(tokio::time::timeout(PATIENCE * 5, stream.read(&mut read)).await.is_err(), "it waits for its answer");
        drop(serving);
        assert!(tokio::time::timeout(PATIENCE * 5, stream.read(&mut read)).await.is_err(), "it rests");
        client.write_all(b"he").await.unwrap();
        assert_eq!(stream.read(&mut read).await.unwrap(), 2);
        let begun = Instant::now();
        assert_eq!(stream.read(&mut read).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), PATIENCE);
    }
}
