//! Batches: several messages in one body, which 2025-03-26 alone has.

use crate::json::{JsonError, Scanner};
use crate::span::Span;

/// Most messages of one batch.
pub const MAX_MESSAGES: usize = 50;

/// Why a body is no batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Not JSON (JSON-RPC -32700).
    #[error("not valid JSON")]
    Json(#[from] JsonError),
    /// No array, or one with nothing in it (-32600).
    #[error("not a batch of messages")]
    Shape,
    /// More than [`MAX_MESSAGES`] (-32600).
    #[error("more than {MAX_MESSAGES} messages")]
    TooMany,
}

/// Where the messages of a batch stand, in their order. What they are is not looked at: each is scanned by itself, and one
/// that is none spoils no other. One level of [`crate::MAX_DEPTH`] is the batch's own.
pub fn split(body: &[u8]) -> Result<Vec<Span>, BatchError> {
    if let Err(error) = std::str::from_utf8(body) {
        return Err(JsonError::Syntax(error.valid_up_to()).into());
    }
    let mut scanner = Scanner::new(body);
    if scanner.peek()? != b'[' {
        return Err(BatchError::Shape);
    }
    let mut messages = Vec::new();
    scanner.elements(1, |scanner| {
        if messages.len() >= MAX_MESSAGES {
            return Err(BatchError::TooMany);
        }
        messages.push(scanner.value(2)?.1);
        Ok(())
    })?;
    scanner.end()?;
    if messages.is_empty() { Err(BatchError::Shape) } else { Ok(messages) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &str) -> Result<Vec<&str>, BatchError> {
        let spans = split(body.as_bytes())?;
        Ok(spans.into_iter().map(|span| &body[span.start()..span.end()]).collect())
    }

    #[test]
    fn messages_keep_their_bytes_and_order() {
        assert_eq!(texts(" [ {\"id\":1} ,{\"a\":[{}]},7 ] "), Ok(vec!["{\"id\":1}", "{\"a\":[{}]}", "7"]),);
    }

    #[test]
    fn what_is_no_batch_is_refused() {
        for (body, error) in [
            ("[]", BatchError::Shape),
            ("{}", BatchError::Shape),
            ("7", BatchError::Shape),
            ("", BatchError::Json(JsonError::Truncated)),
            ("[{}", BatchError::Json(JsonError::Truncated)),
            ("[{}]]", BatchError::Json(JsonError::Trailing(4))),
            ("[{},]", BatchError::Json(JsonError::Syntax(4))),
        ] {
            assert_eq!(texts(body), Err(error), "{body}");
        }
        let many = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
        assert_eq!(texts(&many(50)).unwrap().len(), 50);
        assert_eq!(texts(&many(51)), Err(BatchError::TooMany));
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(texts(&deep(64)).is_ok());
        assert_eq!(texts(&deep(65)), Err(BatchError::Json(JsonError::TooDeep)));
    }
}
