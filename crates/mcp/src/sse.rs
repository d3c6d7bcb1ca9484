//! Server-sent events: unframing what upstreams send, framing what clients get.

use bytes::{Bytes, BytesMut};

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// The `event` field, if it is not `message`.
    pub name: Option<Bytes>,
    /// The `id` field.
    pub id: Option<Bytes>,
    /// The data; several lines are joined by a newline.
    pub data: Bytes,
    /// The `retry` field, in milliseconds.
    pub retry: Option<u64>,
}

/// The event was longer than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {limit} bytes")]
pub struct TooLarge {
    /// The limit in bytes.
    pub limit: usize,
}

/// Cuts a byte stream into events, whatever the chunks. Memory is bounded by `limit`, a part of an
/// event at the end of the stream is dropped, as the standard says.
#[derive(Debug)]
pub struct Decoder {
    /// The line under way, when it began in an earlier chunk.
    line: BytesMut,
    /// The last byte of the chunk before was a CR: an LF that follows belongs to it.
    after_cr: bool,
    first_line: bool,
    name: Option<Bytes>,
    id: Option<Bytes>,
    retry: Option<u64>,
    data: Option<Bytes>,
    size: usize,
    limit: usize,
}

impl Decoder {
    /// `limit` is the largest event in bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            line: BytesMut::new(),
            after_cr: false,
            first_line: true,
            name: None,
            id: None,
            retry: None,
            data: None,
            size: 0,
            limit,
        }
    }

    /// Whether an event is under way: the stream must not end here. A comment is no event.
    pub fn pending(&self) -> bool {
        self.data.is_some()
            || self.name.is_some()
            || self.id.is_some()
            || self.retry.is_some()
            || self.line.first().is_some_and(|first| *first != b':')
    }

    /// Takes a chunk and appends the events that it completes to `out`. An event without data is
    /// given only if it has an id or a retry time (the primer of 2025-11-25).
    pub fn push(&mut self, chunk: &Bytes, out: &mut Vec<Event>) -> Result<(), TooLarge> {
        // An empty one may stand between a CR and its LF.
        let Some(first) = chunk.first() else { return Ok(()) };
        let mut at = usize::from(std::mem::take(&mut self.after_cr) && *first == b'\n');
        loop {
            let rest = chunk.get(at..).unwrap_or_default();
            let Some(stop) = memchr::memchr2(b'\n', b'\r', rest) else {
                self.size += rest.len();
                self.bound()?;
                self.line.extend_from_slice(rest);
                return Ok(());
            };
            self.size += stop;
            self.bound()?;
            let (line, pinned) = if self.line.is_empty() {
                (chunk.slice(at..at + stop), chunk.len())
            } else {
                self.line.extend_from_slice(rest.get(..stop).unwrap_or_default());
                (self.line.split().freeze(), stop)
            };
            at += stop + 1;
            if rest.get(stop) == Some(&b'\r') {
                match chunk.get(at) {
                    Some(b'\n') => at += 1,
                    Some(_) => (),
                    None => self.after_cr = true,
                }
            }
            self.line_done(line, pinned, out);
        }
    }

    fn bound(&self) -> Result<(), TooLarge> {
        if self.size > self.limit { Err(TooLarge { limit: self.limit }) } else { Ok(()) }
    }

    /// `pinned`: how many bytes stay in memory for as long as a slice of the line does.
    fn line_done(&mut self, mut line: Bytes, pinned: usize, out: &mut Vec<Event>) {
        if std::mem::take(&mut self.first_line) && line.starts_with(b"\xef\xbb\xbf") {
            line = line.slice(3..);
        }
        if line.is_empty() {
            self.event_done(out);
            return;
        }
        let colon = memchr::memchr(b':', &line).unwrap_or(line.len());
        let mut value = (colon + 1).min(line.len());
        if line.get(value) == Some(&b' ') {
            value += 1;
        }
        let keep = || {
            let value = line.slice(value..);
            if value.len() * 4 < pinned { Bytes::copy_from_slice(&value) } else { value }
        };
        match line.get(..colon).unwrap_or_default() {
            b"data" => self.data_line(keep()),
            b"event" => self.name = Some(keep()),
            b"id" if !line.contains(&0) => self.id = Some(keep()),
            b"retry" => self.retry = milliseconds(line.get(value..).unwrap_or_default()).or(self.retry),
            // A comment, or a field that has no meaning: neither counts towards the event's size.
            _ => self.size = self.size.saturating_sub(line.len()),
        }
    }

    /// One line stays a slice of what came; several are one buffer, which grows in place.
    fn data_line(&mut self, line: Bytes) {
        self.data = Some(match self.data.take() {
            None => line,
            Some(before) => {
                let mut joined = BytesMut::from(before);
                joined.extend_from_slice(b"\n");
                joined.extend_from_slice(&line);
                joined.freeze()
            }
        });
    }

    fn event_done(&mut self, out: &mut Vec<Event>) {
        self.size = 0;
        let name = self.name.take().filter(|name| !name.is_empty() && name.as_ref() != b"message");
        let (id, retry) = (self.id.take(), self.retry.take());
        let data = self.data.take().unwrap_or_default();
        if !data.is_empty() || id.is_some() || retry.is_some() {
            out.push(Event { name, id, data, retry });
        }
    }
}

/// The number of a `retry` field; what is not digits alone has no meaning.
fn milliseconds(value: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}

/// One `message` event; each line of the data becomes a line of its own.
pub fn frame(data: &[u8]) -> Bytes {
    let mut event = BytesMut::with_capacity(data.len() + 24);
    message(&mut event, data);
    event.freeze()
}

fn message(event: &mut BytesMut, data: &[u8]) {
    event.extend_from_slice(b"event: message\n");
    for line in data.split(|byte| matches!(byte, b'\n' | b'\r')) {
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(line);
        event.extend_from_slice(b"\n");
    }
    event.extend_from_slice(b"\n");
}

/// The same with an id, which must be one line.
pub fn frame_with_id(id: &str, data: &[u8]) -> Bytes {
    let mut event = BytesMut::with_capacity(data.len() + id.len() + 29);
    event.extend_from_slice(b"id: ");
    event.extend_from_slice(id.as_bytes());
    event.extend_from_slice(b"\n");
    message(&mut event, data);
    event.freeze()
}

/// An event without data, which gives a stream an id to come back with, and says after how many milliseconds.
pub fn primer(id: &str, retry: u64) -> Bytes {
    Bytes::from(format!("id: {id}\nretry: {retry}\ndata: \n\n"))
}

/// A comment: keeps the connection from falling silent.
pub const KEEP_ALIVE: Bytes = Bytes::from_static(b":\n\n");

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(chunks: &[&[u8]]) -> Result<Vec<Event>, TooLarge> {
        let mut decoder = Decoder::new(1024);
        let mut out = Vec::new();
        for chunk in chunks {
            decoder.push(&Bytes::copy_from_slice(chunk), &mut out)?;
        }
        Ok(out)
    }

    fn data(text: &str) -> Event {
        Event { data: Bytes::copy_from_slice(text.as_bytes()), ..Event::default() }
    }

    #[test]
    fn events_come_out_whatever_the_line_ends_and_chunks() {
        let stream = b"\xef\xbb\xbf: hello\nevent: message\ndata: {\"a\":1}\n\ndata:x\r\ndata: y\r\n\r\nid: 7\rdata: z\r\rdata: cut off";
        let expected = vec![data("{\"a\":1}"), data("x\ny"), Event { id: Some(Bytes::from_static(b"7")), ..data("z") }];
        assert_eq!(decode(&[stream]).unwrap(), expected);
        for cut in 1..stream.len() {
            let (left, right) = stream.split_at(cut);
            assert_eq!(decode(&[left, right]).unwrap(), expected, "cut at {cut}");
        }
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(decode(&single).unwrap(), expected);
        let with_empty: Vec<&[u8]> = stream.chunks(1).flat_map(|byte| [byte, b""]).collect();
        assert_eq!(decode(&with_empty).unwrap(), expected);
    }

    #[test]
    fn a_primer_is_an_event_without_data() {
        let events = decode(&[b"id: 1\nretry: 500\ndata:\n\n"]).unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].retry, Some(500));
        assert!(events[0].data.is_empty());
    }

    #[test]
    fn what_is_no_number_of_milliseconds_and_no_name_is_none() {
        let events = decode(&[b"retry: 500\nretry: +7\nretry:\ndata: a\n\nretry: -1\nevent:\ndata: b\n\n"]).unwrap();
        assert_eq!(events, vec![Event { retry: Some(500), ..data("a") }, data("b")]);
    }

    #[test]
    fn an_endless_event_is_cut_and_comments_are_not_counted() {
        let long = vec![b'x'; 2048];
        assert_eq!(decode(&[b"data: ", &long]), Err(TooLarge { limit: 1024 }));
        let comments = b": ping\n".repeat(1000);
        assert_eq!(decode(&[&comments, b"data: a\n\n"]).unwrap(), vec![data("a")]);
    }

    #[test]
    fn an_event_is_pending_until_its_empty_line() {
        for (stream, pending) in [
            ("", false),
            (": comment", false),
            (": comment\n\n", false),
            ("da", true),
            ("data: x\n", true),
            ("data:\n", true),
            ("data:\ndata:\n", true),
            ("id: 1\n", true),
            ("data: x\n\n", false),
            ("data: x\ndata: y\n\n: later", false),
        ] {
            let mut decoder = Decoder::new(1024);
            decoder.push(&Bytes::from_static(stream.as_bytes()), &mut Vec::new()).unwrap();
            assert_eq!(decoder.pending(), pending, "{stream:?}");
        }
    }

    #[test]
    fn a_short_line_does_not_keep_its_chunk() {
        let comments = ":\n".repeat(500);
        let mut decoder = Decoder::new(64);
        let mut chunks = Vec::new();
        for _ in 0..5 {
            let chunk = Bytes::from(format!("{comments}data: x\nid: 7\n"));
            decoder.push(&chunk, &mut Vec::new()).unwrap();
            chunks.push(chunk);
        }
        assert!(decoder.pending());
        assert!(chunks.iter().all(Bytes::is_unique), "a chunk is held for a line of it");
    }

    #[test]
    fn what_is_framed_reads_back() {
        assert_eq!(decode(&[&frame(b"{\"a\":1}")]).unwrap(), vec![data("{\"a\":1}")]);
        assert_eq!(decode(&[&frame(b"a\nb")]).unwrap(), vec![data("a\nb")]);
        let identified = Event { id: Some(Bytes::from_static(b"x.1")), ..data("a\nb") };
        assert_eq!(decode(&[&frame_with_id("x.1", b"a\nb")]).unwrap(), vec![identified.clone()]);
        let primed = Event { retry: Some(500), data: Bytes::new(), ..identified };
        assert_eq!(decode(&[&primer("x.1", 500)]).unwrap(), vec![primed]);
    }
}
