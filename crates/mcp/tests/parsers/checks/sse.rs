//! Event streams: against a reader that has the whole stream before it, in any chunks, and there and back.

use bytes::Bytes;
use mcp::sse::{Decoder, Event, frame, frame_with_id, primer};

use super::chunkings;

/// Largest event in bytes; small, so that it is met.
const LIMIT: usize = 200;

pub(crate) fn check(stream: &[u8]) {
    let ought = read(stream);
    let mut ways = chunkings(stream);
    ways.push(vec![stream]);
    for chunks in ways {
        let (events, fits) = decode(&chunks, LIMIT);
        assert_eq!((events, fits), ought, "in {} chunks", chunks.len());
    }
    there_and_back(stream);
    identified(stream);
}

/// The same stream as data of an event of ours, between two others.
fn there_and_back(data: &[u8]) {
    let stream = [&frame(b"{}")[..], &frame(data), b":\n\n", &frame(b"[]")].concat();
    let lines: Vec<u8> = data.iter().map(|byte| if *byte == b'\r' { b'\n' } else { *byte }).collect();
    let mut ought = vec![event(b"{}"), event(&lines), event(b"[]")];
    ought.retain(|event| !event.data.is_empty());
    for chunks in [vec![&stream[..]], stream.chunks(5).collect()] {
        assert_eq!(decode(&chunks, usize::MAX), (ought.clone(), true));
    }
}

/// Events with an id, and the primer of a stream.
fn identified(data: &[u8]) {
    let stream = [primer("n.1", 500), frame_with_id("n.2", data)].concat();
    let (events, fits) = decode(&[&stream], usize::MAX);
    assert!(fits);
    let id = |id: &'static str| Some(Bytes::from_static(id.as_bytes()));
    assert_eq!(events[0], Event { id: id("n.1"), retry: Some(500), ..Event::default() });
    assert_eq!((events.len(), &events[1].id), (2, &id("n.2")));
}

fn event(data: &[u8]) -> Event {
    Event { data: Bytes::copy_from_slice(data), ..Event::default() }
}

/// The events, and whether all of them were small enough.
fn decode(chunks: &[&[u8]], limit: usize) -> (Vec<Event>, bool) {
    let (mut decoder, mut events) = (Decoder::new(limit), Vec::new());
    let fits = chunks.iter().all(|chunk| decoder.push(&Bytes::copy_from_slice(chunk), &mut events).is_ok());
    (events, fits)
}

/// The standard's rules over a whole stream, and the bound of the decoder.
fn read(stream: &[u8]) -> (Vec<Event>, bool) {
    let (mut events, mut event, mut data) = (Vec::new(), Event::default(), Vec::<&[u8]>::new());
    let (mut size, mut rest, mut first) = (0, stream, true);
    loop {
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        size += end.unwrap_or(rest.len());
        if size > LIMIT {
            return (events, false);
        }
        let Some(end) = end else { return (events, true) };
        let mut line = &rest[..end];
        let crlf = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + 1 + usize::from(crlf)..];
        if std::mem::take(&mut first) {
            line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        }
        if line.is_empty() {
            event.data = Bytes::from(data.join(&b'\n'));
            event.name = event.name.filter(|name| !name.is_empty() && name.as_ref() != b"message");
            if !event.data.is_empty() || event.id.is_some() || event.retry.is_some() {
                events.push(event);
            }
            (event, data, size) = (Event::default(), Vec::new(), 0);
            continue;
        }
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (field, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => data.push(value),
            b"event" => event.name = Some(Bytes::copy_from_slice(value)),
            b"id" if !value.contains(&0) => event.id = Some(Bytes::copy_from_slice(value)),
            b"retry" => {
                let digits = value.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(value).ok()).flatten();
                event.retry = digits.and_then(|digits| digits.parse().ok()).or(event.retry);
            }
            _ => size -= line.len(),
        }
    }
}
