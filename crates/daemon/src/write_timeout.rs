//! A peer that does not read must not hold its place for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// A stream whose writes fail with `TimedOut` once the other side has taken nothing for a while.
pub struct WriteTimeout<S> {
    stream: S,
    patience: Duration,
    /// Made by the first write that waits, then used again.
    sleep: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl<S> WriteTimeout<S> {
    /// Gives up a peer that takes nothing for `patience`.
    pub fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, sleep: None, waiting: false }
    }

    /// What is ready passes; the first that is not starts the clock, which runs until one is.
    fn bounded<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.waiting = false;
            return done;
        }
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.patience)));
        if !std::mem::replace(&mut self.waiting, true) {
            sleep.as_mut().reset(Instant::now() + self.patience);
        }
        sleep.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.bounded(cx, done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.bounded(cx, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_flush(cx);
        self.bounded(cx, done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.bounded(cx, done)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_nothing_is_given_up_and_one_that_reads_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(4);
        let mut stream = WriteTimeout::new(ours, Duration::from_secs(30));
        let (mut read, sent) = ([0; 4], [7; 12]);
        let reading = async {
            for _ in 0..2 {
                tokio::time::advance(Duration::from_secs(29)).await;
                theirs.read_exact(&mut read).await.unwrap();
            }
        };
        let (sent, ()) = tokio::join!(stream.write_all(&sent), reading);
        assert!(sent.is_ok(), "slow, but it reads");
        assert_eq!(stream.write_all(b"more").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
