//! Prints an error with all its causes on one line, each once.

use std::error::Error;
use std::fmt;

/// An error and its causes, separated by `: `.
pub struct Chain<'a>(&'a (dyn Error + 'static));

/// Wraps an error so that it prints with every cause. Our errors don't repeat their source in
/// `Display`; a cause of another crate that was already said is left out here.
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> Chain<'a> {
    Chain(error)
}

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !said.contains(&text) {
                write!(f, ": {text}")?;
            }
            said = text;
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("could not open the book")]
    struct Outer(#[source] Middle);

    #[derive(Debug, thiserror::Error)]
    #[error("the shelf is locked: no key")]
    struct Middle(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("no key")]
    struct Inner;

    #[test]
    fn every_cause_is_said_once() {
        let error = Outer(Middle(Inner));
        assert_eq!(chain(&error).to_string(), "could not open the book: the shelf is locked: no key");
    }
}
