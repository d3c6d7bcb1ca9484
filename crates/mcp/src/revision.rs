//! The revisions of the Model Context Protocol that Gatehouse speaks.

/// How clients and servers of a revision keep together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Era {
    /// `initialize` opens a session (2024-11-05 to 2025-11-25).
    #[default]
    Session,
    /// Each request says everything itself (2026-07-28).
    Stateless,
}

/// A revision, older ones first.
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
    /// No sessions: required headers and `_meta`, rounds of input, `subscriptions/listen`.
    V2026_07_28,
}

impl Revision {
    /// The newest revision of the session era.
    pub const LATEST: Self = Self::V2025_11_25;
    /// The newest revision of the stateless era.
    pub const STATELESS: Self = Self::V2026_07_28;
    /// All of them, newest first.
    pub const ALL: [Self; 5] =
        [Self::V2026_07_28, Self::V2025_11_25, Self::V2025_06_18, Self::V2025_03_26, Self::V2024_11_05];

    /// Which era it belongs to.
    pub fn era(self) -> Era {
        if self < Self::V2026_07_28 { Era::Session } else { Era::Stateless }
    }

    /// The date that names the revision on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
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

    /// What `initialize` answers to a client that asked for `text`: the same if it is of the session
    /// era, else the newest of it (2026-07-28 is never negotiated this way).
    pub fn negotiate(text: &str) -> Self {
        Self::parse(text).filter(|revision| revision.era() == Era::Session).unwrap_or(Self::LATEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stateless_era_is_never_negotiated_by_initialize() {
        assert_eq!(Revision::negotiate("2026-07-28"), Revision::LATEST);
        assert_eq!(Revision::negotiate("2025-03-26"), Revision::V2025_03_26);
        for revision in Revision::ALL {
            assert_eq!(Revision::from_code(revision.code()), Some(revision));
        }
    }
}
