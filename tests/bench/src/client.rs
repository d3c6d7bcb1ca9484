//! The cheapest HTTP/1.1 client that still checks what it gets: one connection, one request at a time.

use std::net::SocketAddr;

use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Why an exchange failed. Any of these ends the bench: a wrong answer has no speed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[from] std::io::Error),
    /// The other side closed in the middle of an answer.
    #[error("the connection was closed in the middle of an answer")]
    Closed,
    /// Not HTTP/1.1 as far as it is read here.
    #[error("not an HTTP/1.1 answer: {0}")]
    Malformed(&'static str),
    /// Another status than asked for.
    #[error("{what}: status {status}, body {body}")]
    Status {
        /// What was asked.
        what: &'static str,
        /// What came.
        status: u16,
        /// The begin of the body.
        body: String,
    },
    /// An answer with other content than asked for.
    #[error("{what}: wrong answer: {body}")]
    Wrong {
        /// What was asked.
        what: &'static str,
        /// The begin of the body.
        body: String,
    },
}

/// The head of an answer.
#[derive(Debug, Default)]
pub(crate) struct Head {
    /// The status code.
    pub(crate) status: u16,
    /// `Mcp-Session-Id`, if there was one.
    pub(crate) session: Option<String>,
    /// Whether the body is an event stream.
    pub(crate) events: bool,
}

/// How much of the body is still to come.
enum Left {
    Bytes(usize),
    ChunkHead,
    Chunk(usize),
    Trailer,
    Nothing,
}

/// A kept-alive connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Where the unread part of `buffer` begins.
    at: usize,
    left: Left,
}

/// Bytes asked from the socket at once.
const READ: usize = 64 << 10;

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, ClientError> {
        #[allow(clippy::disallowed_methods, reason = "the load generator is a client of this machine's own ports")]
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(4096), at: 0, left: Left::Nothing })
    }

    /// Sends one request and reads the whole answer; its body replaces what is in `body`.
    pub(crate) async fn exchange(&mut self, request: &[u8], body: &mut Vec<u8>) -> Result<Head, ClientError> {
        body.clear();
        let head = self.begin(request).await?;
        while self.piece(body).await? {}
        Ok(head)
    }

    /// Sends one request and reads the head of its answer.
    pub(crate) async fn begin(&mut self, request: &[u8]) -> Result<Head, ClientError> {
        self.stream.write_all(request).await?;
        let end = loop {
            if let Some(end) = memmem::find(self.unread(), b"\r\n\r\n") {
                break end;
            }
            self.fill().await?;
        };
        let (head, left) = read_head(self.unread().get(..end).unwrap_or_default())?;
        self.at += end + 4;
        self.left = left;
        Ok(head)
    }

    /// Appends what comes next of the body; false when there is no more.
    pub(crate) async fn piece(&mut self, body: &mut Vec<u8>) -> Result<bool, ClientError> {
        loop {
            match self.left {
                Left::Nothing | Left::Bytes(0) => return Ok(false),
                Left::Bytes(left) => {
                    let taken = self.take(left, body).await?;
                    self.left = Left::Bytes(left - taken);
                    return Ok(true);
                }
                Left::ChunkHead => {
                    let line = self.line().await?;
                    let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
                    let size =
                        std::str::from_utf8(size).ok().and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
                    self.left = match size {
                        Some(0) => Left::Trailer,
                        Some(size) => Left::Chunk(size),
                        None => return Err(ClientError::Malformed("a chunk without size")),
                    };
                }
                Left::Chunk(0) => {
                    self.line().await?;
                    self.left = Left::ChunkHead;
                }
                Left::Chunk(left) => {
                    let taken = self.take(left, body).await?;
                    self.left = Left::Chunk(left - taken);
                    return Ok(true);
                }
                Left::Trailer => {
                    if self.line().await?.is_empty() {
                        self.left = Left::Nothing;
                    }
                }
            }
        }
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    /// Moves at most `most` bytes of the body, waiting for the first.
    async fn take(&mut self, most: usize, body: &mut Vec<u8>) -> Result<usize, ClientError> {
        if self.unread().is_empty() {
            self.fill().await?;
        }
        let ready = self.unread();
        let part = ready.get(..most.min(ready.len())).unwrap_or_default();
        body.extend_from_slice(part);
        let taken = part.len();
        self.at += taken;
        Ok(taken)
    }

    async fn line(&mut self) -> Result<Vec<u8>, ClientError> {
        loop {
            if let Some(end) = memmem::find(self.unread(), b"\r\n") {
                let line = self.unread().get(..end).unwrap_or_default().to_vec();
                self.at += end + 2;
                return Ok(line);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), ClientError> {
        if self.at == self.buffer.len() {
            self.buffer.clear();
        } else {
            self.buffer.drain(..self.at);
        }
        self.at = 0;
        self.buffer.reserve(READ);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(ClientError::Closed),
            _ => Ok(()),
        }
    }
}

fn read_head(head: &[u8]) -> Result<(Head, Left), ClientError> {
    let head = std::str::from_utf8(head).map_err(|_| ClientError::Malformed("a head that is not text"))?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or(ClientError::Malformed("no status line"))?;
    let mut read = Head { status, ..Head::default() };
    let mut left = Left::Nothing;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            left = Left::Bytes(value.parse().map_err(|_| ClientError::Malformed("content-length"))?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            left = Left::ChunkHead;
        } else if name.eq_ignore_ascii_case("mcp-session-id") {
            read.session = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("content-type") {
            read.events = value.starts_with("text/event-stream");
        }
    }
    Ok((read, left))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn answered(answer: &'static [&'static str]) -> Result<(Head, String), ClientError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            for part in answer {
                stream.write_all(part.as_bytes()).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let client = async {
            let mut body = Vec::new();
            let head = Connection::open(address).await?.exchange(b"GET / HTTP/1.1\r\n\r\n", &mut body).await?;
            Ok((head, String::from_utf8(body).unwrap()))
        };
        tokio::join!(server, client).1
    }

    #[tokio::test]
    async fn a_body_with_a_length_is_read_to_its_end() {
        let (head, body) =
            answered(&["HTTP/1.1 200 OK\r\nContent-Length: 5\r\nMcp-Session-Id: s1\r\n\r\nhe", "llo"]).await.unwrap();
        assert_eq!((head.status, head.session.as_deref(), body.as_str()), (200, Some("s1"), "hello"));
    }

    #[tokio::test]
    async fn chunks_are_put_together_wherever_they_are_cut() {
        let (head, body) = answered(&[
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/event-stream\r\n\r\n3\r",
            "\nabc\r\n1",
            "0;x=y\r\n0123456789abcdef\r",
            "\n0\r\n\r\n",
        ])
        .await
        .unwrap();
        assert!(head.events);
        assert_eq!(body, "abc0123456789abcdef");
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_off_is_an_error() {
        let cut = answered(&["HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe"]).await;
        assert!(matches!(cut, Err(ClientError::Closed | ClientError::Io(_))));
    }
}
