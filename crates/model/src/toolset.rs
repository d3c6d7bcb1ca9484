//! A toolset: a named selection of tools over several servers, with a URL of its own.

use std::collections::HashSet;

use crate::digest::Canonical;
use crate::{BUILT_IN, Digest, Generation, ServerId, TenantId, ToolsetId, ToolsetName};

/// Entries of one toolset.
pub const MAX_TOOLSET_TOOLS: usize = 500;
/// Bytes of a description, of the toolset as of an entry.
pub const MAX_TOOLSET_DESCRIPTION: usize = 4 << 10;
/// Characters of a tool's own name, as its server spells it.
const MAX_TOOL: usize = 256;
/// Characters of a tool's name in a toolset: what the interfaces of language models take.
const MAX_NAME: usize = 64;

/// What a toolset shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Listing {
    /// Its tools.
    #[default]
    Tools,
    /// Only the tools by which its tools are found, described and called.
    Search,
}

impl Listing {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Tools, Self::Search];

    /// The word for REST, rows and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Search => "search",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|listing| listing.as_str() == word)
    }
}

/// One entry of a toolset.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ToolsetTool {
    /// Whose tool. A server that is gone keeps its entry, which serves nothing until it is back.
    pub server: ServerId,
    /// The server's own name of the tool, or [`ToolsetTool::EVERY`].
    pub tool: String,
    /// What it is called in the toolset; `None`: as where all servers are listed, `{server}__{tool}`.
    pub name: Option<String>,
    /// What is said of it in place of the server's own words.
    pub description: Option<String>,
}

impl ToolsetTool {
    /// Stands for all tools of a server but those that have an entry of their own.
    pub const EVERY: &str = "*";

    /// Whether it stands for all tools of its server.
    pub fn is_every(&self) -> bool {
        self.tool == Self::EVERY
    }
}

/// What is wrong with an entry of a toolset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ToolsetError {
    /// More entries than there may be.
    #[error("must have at most {MAX_TOOLSET_TOOLS} entries")]
    Many,
    /// The tool's own name is empty, too long or holds control characters.
    #[error("must be a tool's name of at most {MAX_TOOL} characters, or *")]
    Tool,
    /// Not `[A-Za-z0-9_-]{1,64}`.
    #[error("must be 1 to {MAX_NAME} of A-Z, a-z, 0-9, _ and -")]
    Name,
    /// The names of the built-in service.
    #[error("must not begin with {BUILT_IN}__: such names are those of the built-in service")]
    Reserved,
    /// All tools of a server can't have one name or description.
    #[error("is not for `*`: all tools of a server keep their names and descriptions")]
    Every,
    /// Longer than it may be.
    #[error("must have at most {MAX_TOOLSET_DESCRIPTION} bytes")]
    Description,
    /// Another entry has the name, or is about the same tool.
    #[error("is what another entry has: each name and each tool stands once")]
    Twice,
}

/// A toolset as proxies hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolsetSpec {
    /// The record's id.
    pub id: ToolsetId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The slug in its URL, unique in the tenant.
    pub name: ToolsetName,
    /// Free text for people.
    pub title: String,
    /// What clients are told that it is for; at most 4 KiB.
    pub description: Option<String>,
    /// Raised by every change of the record.
    pub generation: Generation,
    /// What it shows.
    pub listing: Listing,
    /// What is in it, in the order in which it is listed; at most 500.
    pub tools: Vec<ToolsetTool>,
}

impl ToolsetSpec {
    /// Judges entries; answers which is wrong, counted from 0.
    pub fn check(tools: &[ToolsetTool]) -> Result<(), (usize, ToolsetError)> {
        if tools.len() > MAX_TOOLSET_TOOLS {
            return Err((MAX_TOOLSET_TOOLS, ToolsetError::Many));
        }
        let (mut names, mut plain) = (HashSet::new(), HashSet::new());
        for (at, entry) in tools.iter().enumerate() {
            check_entry(entry).map_err(|error| (at, error))?;
            let first = match &entry.name {
                Some(name) => names.insert(name.as_str()),
                None => plain.insert((entry.server, entry.tool.as_str())),
            };
            if !first {
                return Err((at, ToolsetError::Twice));
            }
        }
        Ok(())
    }

    /// The digest under which proxies report this resource.
    pub fn digest(&self) -> Digest {
        let mut canonical = Canonical::new("toolset");
        let optional = |canonical: &mut Canonical, text: Option<&str>| {
            canonical.number(u64::from(text.is_some()));
            canonical.text(text.unwrap_or_default());
        };
        canonical.text(&self.id.to_string());
        canonical.text(&self.tenant.to_string());
        canonical.text(self.name.as_str());
        canonical.text(&self.title);
        optional(&mut canonical, self.description.as_deref());
        canonical.number(self.generation.0 as u64);
        canonical.text(self.listing.as_str());
        canonical.number(self.tools.len() as u64);
        for entry in &self.tools {
            canonical.text(&entry.server.to_string());
            canonical.text(&entry.tool);
            optional(&mut canonical, entry.name.as_deref());
            optional(&mut canonical, entry.description.as_deref());
        }
        canonical.finish()
    }
}

fn check_entry(entry: &ToolsetTool) -> Result<(), ToolsetError> {
    let length = entry.tool.chars().count();
    if !(1..=MAX_TOOL).contains(&length) || entry.tool.chars().any(char::is_control) {
        return Err(ToolsetError::Tool);
    }
    if entry.is_every() && (entry.name.is_some() || entry.description.is_some()) {
        return Err(ToolsetError::Every);
    }
    if entry.description.as_ref().is_some_and(|text| text.len() > MAX_TOOLSET_DESCRIPTION) {
        return Err(ToolsetError::Description);
    }
    let Some(name) = &entry.name else { return Ok(()) };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(fits) {
        return Err(ToolsetError::Name);
    }
    match name.strip_prefix(BUILT_IN) {
        Some(rest) if rest.starts_with("__") => Err(ToolsetError::Reserved),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn entry(server: u128, tool: &str, name: Option<&str>) -> ToolsetTool {
        let server = ServerId(Uuid::from_u128(server));
        ToolsetTool { server, tool: tool.to_owned(), name: name.map(str::to_owned), description: None }
    }

    #[test]
    fn words_read_back() {
        for listing in Listing::ALL {
            assert_eq!(Listing::parse(listing.as_str()), Some(listing));
        }
        assert_eq!(Listing::parse("all"), None);
    }

    #[test]
    fn a_wrong_entry_is_told_with_its_place() {
        let long = "x".repeat(65);
        let described = ToolsetTool { description: Some("x".repeat(4097)), ..entry(1, "a", None) };
        let every = ToolsetTool { description: Some(String::new()), ..entry(1, "*", None) };
        for (second, error) in [
            (entry(1, "", None), ToolsetError::Tool),
            (entry(1, "a\n", None), ToolsetError::Tool),
            (entry(1, &"x".repeat(257), None), ToolsetError::Tool),
            (entry(1, "a", Some("")), ToolsetError::Name),
            (entry(1, "a", Some("a.b")), ToolsetError::Name),
            (entry(1, "a", Some(&long)), ToolsetError::Name),
            (entry(1, "a", Some("gatehouse__a")), ToolsetError::Reserved),
            (entry(1, "*", Some("all")), ToolsetError::Every),
            (every, ToolsetError::Every),
            (described, ToolsetError::Description),
            (entry(9, "first", None), ToolsetError::Twice),
        ] {
            let tools = [entry(9, "first", None), second];
            assert_eq!(ToolsetSpec::check(&tools), Err((1, error)), "{:?}", tools[1].name);
        }
        let twice = [entry(1, "a", Some("one")), entry(2, "b", Some("one"))];
        assert_eq!(ToolsetSpec::check(&twice), Err((1, ToolsetError::Twice)));
        let many: Vec<_> = (0..501).map(|number| entry(number, "a", None)).collect();
        assert_eq!(ToolsetSpec::check(&many), Err((500, ToolsetError::Many)));
    }

    #[test]
    fn what_is_told_apart_is_taken() {
        let tools = [
            entry(1, "*", None),
            entry(2, "*", None),
            entry(1, "a", None),
            entry(2, "a", None),
            entry(1, "a", Some("other-a")),
            entry(1, "b", Some("gatehouse")),
            entry(1, "dots.and/more", Some("plain")),
        ];
        assert_eq!(ToolsetSpec::check(&tools), Ok(()));
    }
}
