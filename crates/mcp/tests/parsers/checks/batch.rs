//! Batches against serde_json: the same messages, or none.

use mcp::MAX_DEPTH;
use mcp::batch::{MAX_MESSAGES, split};

use super::reference::{depth, elements, value};

pub(crate) fn check(body: &[u8]) {
    let ought = value(body)
        .filter(|array| array.starts_with('[') && depth(array) <= MAX_DEPTH as usize)
        .map(elements)
        .filter(|messages| (1..=MAX_MESSAGES).contains(&messages.len()));
    let messages = split(body).ok();
    let texts = messages.map(|spans| spans.into_iter().map(|span| span.of(body)).collect::<Vec<_>>());
    assert_eq!(texts, ought.map(|messages| messages.into_iter().map(str::as_bytes).collect::<Vec<_>>()));
}
