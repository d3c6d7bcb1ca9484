//! What can go wrong in a command, and the exit code that scripts see for it.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use crate::problem::Problem;

/// Why a command did not do what was asked. `Display` is for people and never holds a key.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command can't be run as it was typed.
    Usage(String),
    /// Something on this side failed.
    Failed(String),
    /// Something on this side failed for a reason that another error tells.
    Caused { what: String, cause: Box<dyn Error + Send + Sync> },
    /// There is no such thing here.
    NotFound(String),
    /// There is no key, or it can't be used.
    NoKey(String),
    /// Nobody answered at this address.
    Unreachable { what: String, cause: Option<Box<dyn Error + Send + Sync>> },
    /// Somebody else has what is needed: the folder, a port.
    Taken(String),
    /// A run of several steps ended before its end, for this reason.
    Stopped { what: String, cause: Box<Failure> },
    /// Control answered with a refusal.
    Refused(Box<Problem>),
    /// The reader of our output went away: nothing to say, nothing to do.
    NobodyReads,
}

impl Failure {
    /// A failure with its cause.
    pub(crate) fn caused(what: impl Into<String>, cause: impl Error + Send + Sync + 'static) -> Self {
        Self::Caused { what: what.into(), cause: Box::new(cause) }
    }

    /// The exit code, as `--help` promises it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) | Self::Caused { .. } => 1,
            Self::Usage(_) => 2,
            Self::NotFound(_) => 3,
            Self::NoKey(_) => 4,
            Self::Unreachable { .. } => 5,
            Self::Taken(_) => 6,
            Self::Refused(problem) => match problem.status {
                404 => 3,
                401 | 403 => 4,
                409 | 412 => 6,
                _ => 1,
            },
            Self::Stopped { cause, .. } => cause.exit_code(),
            Self::NobodyReads => 0,
        }
    }

    /// Whether there is nobody to tell it.
    fn is_silent(&self) -> bool {
        match self {
            Self::NobodyReads => true,
            Self::Stopped { cause, .. } => cause.is_silent(),
            _ => false,
        }
    }

    /// Tells it on standard error: a sentence, or with `json` one line of JSON.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        if !self.is_silent() {
            if json {
                eprintln!("{}", self.as_json());
            } else {
                eprintln!("gatehouse: {self}");
            }
        }
        ExitCode::from(self.exit_code())
    }

    fn as_json(&self) -> serde_json::Value {
        match self {
            Self::Refused(problem) => serde_json::json!({ "error": problem, "exit": self.exit_code() }),
            Self::Stopped { what, cause } => {
                let mut told = cause.as_json();
                if let Some(members) = told.as_object_mut() {
                    let steps = members.entry("stopped").or_insert_with(|| serde_json::json!([]));
                    steps.as_array_mut().into_iter().for_each(|steps| steps.insert(0, what.clone().into()));
                }
                told
            }
            other => {
                serde_json::json!({ "error": { "detail": other.to_string() }, "exit": other.exit_code() })
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(what) | Self::Failed(what) | Self::NotFound(what) | Self::NoKey(what) | Self::Taken(what) => {
                f.write_str(what)
            }
            Self::Caused { what, cause } | Self::Unreachable { what, cause: Some(cause) } => {
                write!(f, "{what}: {}", telemetry::chain(cause.as_ref()))
            }
            Self::Unreachable { what, cause: None } => f.write_str(what),
            Self::Stopped { what, cause } => write!(f, "{what}: {cause}"),
            Self::Refused(problem) => problem.fmt(f),
            Self::NobodyReads => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_has_the_exit_code_that_help_promises() {
        for (status, code) in [(400, 1), (401, 4), (403, 4), (404, 3), (409, 6), (412, 6), (422, 1), (500, 1), (503, 1)]
        {
            let problem = Problem { status, ..Problem::default() };
            assert_eq!(Failure::Refused(Box::new(problem)).exit_code(), code, "{status}");
        }
    }

    #[test]
    fn each_failure_of_our_own_has_its_code() {
        for (failure, code) in [
            (Failure::Failed(String::new()), 1),
            (Failure::Usage(String::new()), 2),
            (Failure::NotFound(String::new()), 3),
            (Failure::NoKey(String::new()), 4),
            (Failure::Unreachable { what: String::new(), cause: None }, 5),
            (Failure::Taken(String::new()), 6),
            (Failure::NobodyReads, 0),
        ] {
            assert_eq!(failure.exit_code(), code, "{failure:?}");
        }
    }

    #[test]
    fn a_cause_is_told_after_the_sentence() {
        let cause = std::io::Error::other("disk full");
        assert_eq!(Failure::caused("can't write ports.json", cause).to_string(), "can't write ports.json: disk full");
    }
}
