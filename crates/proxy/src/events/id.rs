//! Event ids: which node keeps the stream, which stream it is, and the place in it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::session::NodeTag;

/// What a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The answer to one request, and what comes before it.
    Answer,
    /// What a session hears of unasked.
    Listening,
}

/// One event of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EventId {
    pub(crate) node: NodeTag,
    pub(crate) kind: Kind,
    pub(crate) stream: u64,
    /// Counts from 1 in each stream.
    pub(crate) number: u64,
}

/// What all ids of a stream begin with; the number follows.
pub(crate) fn prefix(node: NodeTag, kind: Kind, stream: u64) -> String {
    let mut place = [0; 16];
    place.iter_mut().zip(node.0.into_iter().chain(stream.to_be_bytes())).for_each(|(to, from)| *to = from);
    let mut text = String::with_capacity(24);
    text.push(match kind {
        Kind::Answer => 'a',
        Kind::Listening => 'l',
    });
    URL_SAFE_NO_PAD.encode_string(place, &mut text);
    text.push('.');
    text
}

impl EventId {
    /// Reads an id that a client brought back; `None` if it is none of a proxy's.
    pub(crate) fn parse(id: &[u8]) -> Option<Self> {
        let id = std::str::from_utf8(id).ok()?;
        let (place, number) = id.split_once('.')?;
        let (kind, place) = match place.as_bytes() {
            [b'a', rest @ ..] => (Kind::Answer, rest),
            [b'l', rest @ ..] => (Kind::Listening, rest),
            _ => return None,
        };
        let place: [u8; 16] = URL_SAFE_NO_PAD.decode(place).ok()?.try_into().ok()?;
        let (node, stream) = place.split_first_chunk::<8>()?;
        let stream = u64::from_be_bytes(stream.try_into().ok()?);
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let number = number.parse().ok().filter(|_| digits)?;
        Some(Self { node: NodeTag(*node), kind, stream, number })
    }
}

/// The node that keeps the stream of an event; `None` if the id is none of a proxy's.
pub(crate) fn node_in(id: &[u8]) -> Option<NodeTag> {
    EventId::parse(id).map(|id| id.node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_node_stream_and_place() {
        for (kind, stream, number) in [(Kind::Answer, 7, 1), (Kind::Listening, u64::MAX, 12_345)] {
            let node = NodeTag::of("gate-1");
            let text = format!("{}{number}", prefix(node, kind, stream));
            assert!(text.len() <= 45 && text.bytes().all(|byte| (0x21..0x7f).contains(&byte)), "{text}");
            assert_eq!(EventId::parse(text.as_bytes()), Some(EventId { node, kind, stream, number }));
            assert_eq!(node_in(text.as_bytes()), Some(node));
        }
    }

    #[test]
    fn what_is_no_id_of_ours_is_none() {
        let good = format!("{}5", prefix(NodeTag([9; 8]), Kind::Answer, 3));
        assert!(EventId::parse(good.as_bytes()).is_some());
        for bad in [
            "",
            "7",
            "a.1",
            "x.y",
            &good[1..],
            &good.replace('.', ""),
            &format!("{good}x"),
            &format!("b{}", &good[1..]),
            &good.replace(".5", ".+5"),
            &good.replace(".5", "."),
        ] {
            assert_eq!(EventId::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(EventId::parse(b"a\xff.1"), None);
    }
}
