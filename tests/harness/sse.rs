//! Reading server-sent events out of a body, frame by frame.

use bytes::BytesMut;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

/// One event: its name (`message` if it has none), id and data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// The `event:` field, or empty.
    pub name: String,
    /// The `id:` field, or empty.
    pub id: String,
    /// The `data:` lines, joined.
    pub data: String,
}

/// A body that is read as events.
pub struct Events {
    body: Incoming,
    buffer: BytesMut,
}

impl Events {
    /// Reads `body` from its beginning.
    pub fn of(body: Incoming) -> Self {
        Self { body, buffer: BytesMut::new() }
    }

    /// The next event that holds data; `None` when the stream ended, whether well or not.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let event = self.next_any().await?;
            if !event.data.is_empty() {
                return Some(event);
            }
        }
    }

    /// The next event that holds data or an id.
    pub async fn next_any(&mut self) -> Option<Event> {
        loop {
            while let Some(event) = self.take() {
                if !event.data.is_empty() || !event.id.is_empty() {
                    return Some(event);
                }
            }
            let frame = self.body.frame().await?.ok()?;
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }

    fn take(&mut self) -> Option<Event> {
        let (end, skip) = blank_line(&self.buffer)?;
        let block = self.buffer.split_to(end + skip);
        let block = String::from_utf8_lossy(&block[..end]).into_owned();
        let mut event = Event::default();
        let mut data = Vec::new();
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => event.name = value.to_owned(),
                "id" => event.id = value.to_owned(),
                "data" => data.push(value.to_owned()),
                _ => (),
            }
        }
        event.data = data.join("\n");
        Some(event)
    }
}

/// Where the first blank line starts, and how many bytes it takes.
fn blank_line(bytes: &[u8]) -> Option<(usize, usize)> {
    let lf = bytes.windows(2).position(|two| two == b"\n\n").map(|at| (at, 2));
    let crlf = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| (at, 4));
    match (lf, crlf) {
        (Some(a), Some(b)) => Some(if a.0 < b.0 { a } else { b }),
        (a, b) => a.or(b),
    }
}
