//! Parameters of OAuth requests. Each stands once: with two of a name, who checks and who acts could read
//! different ones.

use crate::authorization::refusal::{Reason, Refusal};

/// Parameters that a request may have, the unknown ones included.
const MOST: usize = 32;
/// Bytes of a query, and of one value.
const MAX_QUERY: usize = 16 << 10;
const MAX_VALUE: usize = 4 << 10;

/// The decoded parameters of a query or of a form. Not printable: some are secrets.
pub(crate) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads a query, or a body of `application/x-www-form-urlencoded`. Those without a value count as absent
    /// (RFC 6749, 3.1), and unknown ones are ignored, but none may stand twice.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Refusal> {
        let refuse = |why| Err(Refusal::new(Reason::InvalidRequest, why));
        if text.len() > MAX_QUERY {
            return refuse("the request is too long");
        }
        let mut read: Vec<(String, String)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(text) {
            if read.len() == MOST {
                return refuse("too many parameters");
            }
            if value.len() > MAX_VALUE {
                return refuse("a parameter is too long");
            }
            // What was no UTF-8 could not be given back as it came.
            if value.chars().chain(name.chars()).any(|ch| ch.is_control() || ch == char::REPLACEMENT_CHARACTER) {
                return refuse("a parameter holds control characters or is not UTF-8");
            }
            if read.iter().any(|(other, _)| *other == name) {
                return refuse("a parameter stands twice");
            }
            read.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(read))
    }

    /// A parameter that is there and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// One that must be there.
    pub(crate) fn need(&self, name: &'static str) -> Result<&str, Refusal> {
        self.get(name).ok_or_else(|| Refusal::new(Reason::InvalidRequest, MISSING).about(name))
    }
}

const MISSING: &str = "a parameter is missing";

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Option<String> {
        Parameters::parse(text.as_bytes()).err().map(|refusal| refusal.description())
    }

    #[test]
    fn each_parameter_stands_once() {
        for (text, expected) in [
            ("a=1&b=2", None),
            ("", None),
            ("a=1&a=1", Some("a parameter stands twice")),
            ("a=&a=1", Some("a parameter stands twice")),
            ("client%5Fid=1&client_id=2", Some("a parameter stands twice")),
            ("unknown=1&unknown=2", Some("a parameter stands twice")),
            ("a=%00", Some("a parameter holds control characters or is not UTF-8")),
            ("a=%0d%0aLocation:x", Some("a parameter holds control characters or is not UTF-8")),
            ("a=%ff", Some("a parameter holds control characters or is not UTF-8")),
        ] {
            assert_eq!(told(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn there_are_bounds() {
        assert_eq!(told(&format!("a={}", "x".repeat(MAX_VALUE))), None);
        assert_eq!(told(&format!("a={}", "x".repeat(MAX_VALUE + 1))).as_deref(), Some("a parameter is too long"));
        let many: String = (0..=MOST).map(|at| format!("p{at}=1&")).collect();
        assert_eq!(told(&many).as_deref(), Some("too many parameters"));
        assert_eq!(told(&"x".repeat(MAX_QUERY + 1)).as_deref(), Some("the request is too long"));
    }

    #[test]
    fn an_empty_one_is_absent() {
        let read = Parameters::parse(b"state=&scope=mcp").unwrap();
        assert_eq!((read.get("state"), read.get("scope"), read.get("other")), (None, Some("mcp"), None));
        assert_eq!(read.need("state").err().unwrap().description(), "a parameter is missing: state");
    }
}
