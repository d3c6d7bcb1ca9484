//! A secret that is not typed: it is read from a file, from standard input, or from a variable of the environment.

use std::io::Read;
use std::path::Path;

use model::Secret;

use crate::failure::Failure;
use crate::home;

/// No secret of a client is longer.
const LARGEST: u64 = 16 << 10;

/// Where a secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source<'a> {
    Input,
    File(&'a Path),
    Variable(&'a str),
}

impl Source<'_> {
    /// The secret without the line break that editors put at its end.
    pub(super) fn read(self) -> Result<Secret, Failure> {
        let (told, text) = match self {
            Self::Input => ("standard input".to_owned(), input()?),
            Self::File(path) => (path.display().to_string(), file(path)?),
            Self::Variable(name) => (name.to_owned(), variable(name)?),
        };
        match text.expose().trim_end_matches(['\r', '\n']) {
            "" => Err(Failure::Usage(format!("{told} holds no secret"))),
            trimmed => Ok(Secret::new(trimmed.to_owned())),
        }
    }
}

fn input() -> Result<Secret, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(LARGEST).read_to_string(&mut text);
    let text = Secret::new(text);
    read.map(|_| text).map_err(|error| Failure::caused("can't read standard input", error))
}

fn file(path: &Path) -> Result<Secret, Failure> {
    let missing = || Failure::Usage(format!("{} does not exist", path.display()));
    home::read_secret(path)?.map(Secret::new).ok_or_else(missing)
}

fn variable(name: &str) -> Result<Secret, Failure> {
    // What is set but no text is told like what is not set: its content is nobody's business.
    std::env::var(name).map(Secret::new).map_err(|_| Failure::Usage(format!("{name} is not set in the environment")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_without_its_line_break_and_refused_where_others_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        home::replace(&path, 0o600, " s3cret \r\n").unwrap();
        assert_eq!(Source::File(&path).read().unwrap().expose(), " s3cret ");
        home::replace(&path, 0o600, "\n").unwrap();
        assert_eq!(Source::File(&path).read().unwrap_err().exit_code(), 2);
        home::replace(&path, 0o644, "s3cret").unwrap();
        let refused = Source::File(&path).read().unwrap_err();
        assert_eq!(refused.exit_code(), 4);
        assert!(!refused.to_string().contains("s3cret"));
        let missing = Source::File(&folder.path().join("absent")).read().unwrap_err();
        assert_eq!(missing.exit_code(), 2);
        assert_eq!(Source::Variable("GATEHOUSE_TEST_NOT_SET").read().unwrap_err().exit_code(), 2);
    }
}
