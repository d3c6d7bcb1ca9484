//! What control says when it refuses: `application/problem+json`, read leniently, told in plain words.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A refusal. Every member may be missing: what arrives may come from something in between.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    /// What was asked for, where the refusal doesn't say.
    #[serde(skip_deserializing, skip_serializing_if = "String::is_empty")]
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
        if self.status == 401 {
            return f.write_str(
                "the key is not accepted (unknown, revoked or ended); `gatehouse up --new-keys` makes two new ones",
            );
        }
        if !self.about.is_empty() {
            write!(f, "{}: ", self.about)?;
        }
        match (self.detail.as_str(), self.title.as_str()) {
            ("", "") => write!(f, "control answered {}", self.status)?,
            ("", said) | (said, _) => f.write_str(said)?,
        }
        // A detail that ends with a class, as of an upstream's failure, says more than the code.
        if !self.code.is_empty() && !self.detail.ends_with(')') {
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
    fn one_word_in_brackets_is_enough() {
        let body = br#"{"code":"upstream_failed","detail":"the upstream answered 404 (not_found)"}"#;
        assert_eq!(Problem::read(502, body).to_string(), "the upstream answered 404 (not_found)");
    }

    #[test]
    fn a_key_that_is_not_accepted_has_a_way_out() {
        let told = Problem::read(401, br#"{"code":"unauthenticated","detail":"send a key"}"#).to_string();
        assert!(told.starts_with("the key is not accepted") && told.contains("up --new-keys"), "{told}");
    }

    #[test]
    fn what_is_missing_is_told_to_programs_too() {
        let problem = Problem { about: "servers/notes".to_owned(), status: 404, ..Problem::default() };
        assert_eq!(serde_json::to_value(&problem).unwrap()["about"], "servers/notes");
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
