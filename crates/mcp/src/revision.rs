//! The revisions of the Model Context Protocol that Gatehouse speaks.

/// A revision of the session era: opened by `initialize`, older ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Revision {
    /// HTTP+SSE; also asked for by old clients over Streamable HTTP.
    V2024_11_05,
    /// First Streamable HTTP.
    V2025_03_26,
    /// Version header, structured content, elicitation.
    V2025_06_18,
    /// Pollable streams, URL elicitation, tasks.
    V2025_11_25,
}

impl Revision {
    /// The newest revision of the session era.
    pub const LATEST: Self = Self::V2025_11_25;
    /// All of them, newest first.
    pub const ALL: [Self; 4] = [Self::V2025_11_25, Self::V2025_06_18, Self::V2025_03_26, Self::V2024_11_05];
    /// The first revision of the stateless era.
    pub const MODERN: &'static str = "2026-07-28";

    /// The date that names the revision on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
        }
    }

    /// Reads the date.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.as_str() == text)
    }

    /// One byte for sealed session ids.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Reads [`Revision::code`].
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.code() == code)
    }

    /// What `initialize` answers to a client that asked for `text`: the same if it is known, else
    /// the newest of the session era (2026-07-28 is never negotiated this way).
    pub fn negotiate(text: &str) -> Self {
        Self::parse(text).unwrap_or(Self::LATEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stateless_era_is_never_negotiated_by_initialize() {
        assert_eq!(Revision::negotiate(Revision::MODERN), Revision::LATEST);
        assert_eq!(Revision::negotiate("2025-03-26"), Revision::V2025_03_26);
        for revision in Revision::ALL {
            assert_eq!(Revision::from_code(revision.code()), Some(revision));
        }
    }
}
