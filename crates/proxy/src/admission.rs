//! What a request must be like before anybody looks at what it asks: its headers, its body, and the envelope in it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use mcp::{Envelope, EnvelopeError, JsonError, Revision};
use model::Limits;

use crate::fault::Fault;
use crate::principal::looks_like_token;
use crate::stateless::says_stateless;
use crate::timers::scaled;
use crate::upstream::http::VERSION;

/// How long a client may take to send its body.
const BODY: Duration = Duration::from_secs(30);
/// How much of a body that is too large is read and thrown away, and for how long.
const SWALLOWED: usize = 8 << 20;
const SWALLOWING: Duration = Duration::from_secs(2);

/// Whether a query carries a key or a token, by the name of a parameter or by what it looks like.
pub(crate) fn has_key(query: &str) -> bool {
    const NAMES: [&str; 12] = [
        "access_token",
        "id_token",
        "refresh_token",
        "token",
        "jwt",
        "bearer",
        "key",
        "api_key",
        "apikey",
        "auth",
        "authorization",
        "client_secret",
    ];
    let looks_like_one = |text: &str| {
        let word = |word: &str| word.starts_with("eyJ") && looks_like_token(word);
        text.contains("ghk_") || text.contains("ghr_") || text.split([' ', ',', ':', '=']).any(word)
    };
    url::form_urlencoded::parse(query.as_bytes()).any(|(name, value)| {
        NAMES.iter().any(|bad| name.eq_ignore_ascii_case(bad)) || looks_like_one(&name) || looks_like_one(&value)
    })
}

/// Whether the body says that it is JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> Result<(), Fault> {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !kind.eq_ignore_ascii_case(b"application/json") {
        return Err(Fault::UnsupportedMediaType);
    }
    Ok(())
}

/// Whether a POST says that it is JSON and that it takes both kinds of answers.
pub(crate) fn acceptable(headers: &HeaderMap) -> Result<(), Fault> {
    is_json(headers)?;
    // What is taken without a session depends on the method.
    if says_stateless(headers) {
        return Ok(());
    }
    if accepts(headers, "application/json") && accepts(headers, "text/event-stream") {
        Ok(())
    } else {
        Err(Fault::NotAcceptable)
    }
}

/// Whether the client takes answers of this kind.
pub(crate) fn accepts(headers: &HeaderMap, kind: &str) -> bool {
    headers.get_all(ACCEPT).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).any(|range| {
        let range = range.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let whole = range.strip_suffix(b"*").filter(|group| group.ends_with(b"/"));
        range.eq_ignore_ascii_case(kind.as_bytes())
            || range == b"*/*"
            || whole.is_some_and(|group| {
                kind.as_bytes().get(..group.len()).is_some_and(|own| own.eq_ignore_ascii_case(group))
            })
    })
}

/// The whole body, of as many bytes as the tenant's limits allow, within [`BODY`].
pub(crate) async fn read_body(headers: &HeaderMap, mut body: Incoming, limits: &Limits) -> Result<Bytes, Fault> {
    let limit = limits.request_bytes as usize;
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let reading = async {
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        let mut fits = announced.is_none_or(|length| length <= limit);
        while fits && let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Fault::ClientTimeout)?.into_data() else { continue };
            fits = first.len() + rest.len() + data.len() <= limit;
            if first.is_empty() && rest.is_empty() {
                first = data;
                continue;
            }
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&data);
        }
        if !fits {
            swallow(&mut body).await;
            return Err(Fault::TooLarge(limits.request_bytes));
        }
        Ok(if rest.is_empty() { first } else { rest.freeze() })
    };
    tokio::time::timeout(scaled(BODY), reading).await.map_err(|_| Fault::ClientTimeout)?
}

/// Reads on for a moment without keeping anything: a connection that is closed with unread bytes is
/// reset, and the client would lose the answer that tells it why.
async fn swallow(body: &mut Incoming) {
    let mut left = SWALLOWED;
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    };
    let _late = tokio::time::timeout(SWALLOWING, reading).await;
}

/// What one message is, or why it is none.
pub(crate) fn scan(message: &[u8]) -> Result<Envelope, Fault> {
    Envelope::scan(message).map_err(|error| match error {
        EnvelopeError::Json(error) => unreadable(&error),
        EnvelopeError::Batch => Fault::Envelope {
            reason: "batch",
            message: "only a session of 2025-03-26 takes batches: send each message by itself".into(),
        },
        EnvelopeError::Shape(what) => {
            Fault::Envelope { reason: "invalid_request", message: format!("not a JSON-RPC message: {what}").into() }
        }
        EnvelopeError::Ambiguous => {
            Fault::Envelope { reason: "ambiguous_member", message: "a member stands twice, or in other letters".into() }
        }
    })
}

/// What is wrong with a body that can't be read.
pub(crate) fn unreadable(error: &JsonError) -> Fault {
    match error {
        JsonError::Trailing(_) => {
            Fault::Envelope { reason: "trailing_data", message: "something follows the message".into() }
        }
        JsonError::TooDeep => Fault::Envelope { reason: "too_deep", message: "the message is nested too deep".into() },
        JsonError::Syntax(_) | JsonError::Truncated => Fault::Parse,
    }
}

/// A revision in the header must be one that is spoken.
pub(crate) fn spoken(headers: &HeaderMap) -> Result<(), Fault> {
    let Some(version) = headers.get(VERSION) else { return Ok(()) };
    let text = version.to_str().unwrap_or_default();
    Revision::parse(text).map(drop).ok_or_else(|| Fault::Version { requested: text.chars().take(32).collect() })
}

/// The stateless era has no GET and no DELETE; what is not spoken is told so.
pub(crate) fn only_of_sessions(headers: &HeaderMap) -> Result<(), Fault> {
    if headers.get(VERSION).is_some_and(|version| version == Revision::STATELESS.as_str()) {
        return Err(Fault::MethodNotAllowed("POST"));
    }
    spoken(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_the_query_is_seen_however_it_is_written() {
        for (query, seen) in [
            ("a=1&b=token", false),
            ("TOKEN=x", true),
            ("a=1&api%5Fkey=x", true),
            ("%74oken", true),
            ("a=ghk_live", true),
            ("a=gh%6b_live", true),
            ("a=eyJhbGciOiJub25lIn0.e30.", true),
            ("a=eyJhbGciOiJub25lIn0%2Ee30%2Ec2ln", true),
            ("a=Bearer+eyJhbGciOiJub25lIn0.e30.c2ln", true),
            ("eyJhbGciOiJub25lIn0.e30.c2ln", true),
            ("a=v1.2.3", false),
            ("a=eyJust.text", false),
            ("ID_Token=1", true),
            ("a=ghr_x", true),
        ] {
            assert_eq!(has_key(query), seen, "{query}");
        }
    }

    #[test]
    fn what_is_accepted_is_told_by_ranges() {
        for (accept, json, events) in [
            ("application/json, text/event-stream", true, true),
            ("Application/*;q=0.5 , TEXT/*", true, true),
            ("*/*", true, true),
            ("application/json", true, false),
            ("text/html, text/event-stream-2", false, false),
            ("*", false, false),
            ("app/*", false, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(accepts(&headers, "application/json"), json, "{accept}");
            assert_eq!(accepts(&headers, "text/event-stream"), events, "{accept}");
        }
        assert!(!accepts(&HeaderMap::new(), "application/json"));
    }
}
