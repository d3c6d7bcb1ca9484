//! What control says when it refuses: `application/problem+json`, read leniently, told in plain words.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A refusal. Every member may be missing: what arrives may come from something in between.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// What was asked for, where the refusal doesn't say.
    #[serde(skip)]
    pub(crate) about: String,
    /// The HTTP status.
    pub(crate) status: u16,
    /// Stable word for programs.
    pub(crate) code: String,
    /// Short text of the kind.
    pub(crate) title: String,
    /// What is wrong this time.
    pub(crate) detail: String,
    /// By which the log line is found.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) trace_id: String,
    /// One entry for each wrong field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<FieldProblem>,
}

/// What is wrong with one field.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct FieldProblem {
    /// Which one, e.g. `url`.
    pub(crate) field: String,
    /// Stable word for programs.
    pub(crate) code: String,
    /// What is wrong with it.
    pub(crate) detail: String,
}

impl Problem {
    /// Reads the body of an answer with this status. A body that is no problem+json loses nothing
    /// but its text: the status speaks then.
    pub(crate) fn read(status: u16, body: &[u8]) -> Self {
        let mut problem: Self = serde_json::from_slice(body).unwrap_or_default();
        problem.status = status;
        problem
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.about.is_empty() {
            write!(f, "{}: ", self.about)?;
        }
        match (self.detail.as_str(), self.title.as_str()) {
            ("", "") => write!(f, "control answered {}", self.status)?,
            ("", said) | (said, _) => f.write_str(said)?,
        }
        if !self.code.is_empty() {
            write!(f, " ({})", self.code)?;
        }
        // With one wrong field the sentence above names it already.
        for error in self.errors.iter().filter(|error| error.detail.is_empty() || !self.detail.contains(&error.detail))
        {
            write!(f, "\n  {}: {}", error.field, if error.detail.is_empty() { &error.code } else { &error.detail })?;
        }
        if self.status == 500 && !self.trace_id.is_empty() {
            write!(f, "\n  trace id for the log: {}", self.trace_id)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detail_and_fields_are_told_in_plain_words() {
        let body = br#"{"type":"about:blank","title":"Invalid","status":422,"code":"invalid","detail":"two fields are wrong",
            "trace_id":"t","errors":[{"field":"url","code":"url_scheme","detail":"the scheme must be http or https"},{"field":"name","code":"shape"}]}"#;
        let told = Problem::read(422, body).to_string();
        assert_eq!(told, "two fields are wrong (invalid)\n  url: the scheme must be http or https\n  name: shape");
    }

    #[test]
    fn a_body_that_is_no_problem_leaves_the_status() {
        for body in [&b""[..], b"<html>", b"[1]", b"{}"] {
            assert_eq!(Problem::read(502, body).to_string(), "control answered 502");
        }
    }

    #[test]
    fn the_trace_id_is_told_where_a_log_must_be_read() {
        let told = Problem::read(500, br#"{"detail":"internal error","trace_id":"abc"}"#).to_string();
        assert_eq!(told, "internal error\n  trace id for the log: abc");
    }
}
