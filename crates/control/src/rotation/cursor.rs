//! How far a job is, as its row keeps it.

use std::fmt;

use model::TenantId;

/// Where the next stretch begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cursor {
    /// At the data keys after this one; so many could not be opened.
    Keys { after: Option<(TenantId, u32)>, failed: u64 },
    /// At the sealed values after this place of the store's. The last look decides about the old keys: not if something
    /// may still need one.
    Values { last: bool, at: Option<String>, failed: u64, held: bool },
    /// Between the two looks.
    Settling,
}

impl Cursor {
    pub(super) fn first_values(last: bool) -> Self {
        Self::Values { last, at: None, failed: 0, held: false }
    }

    pub(super) fn parse(text: Option<&str>) -> Option<Self> {
        let (word, rest) = text?.split_once(' ').unwrap_or((text?, ""));
        match word {
            "keys" => {
                let mut parts = rest.split(' ');
                let failed = parts.next()?.parse().ok()?;
                let after = match parts.next() {
                    None => None,
                    Some(tenant) => Some((tenant.parse().ok()?, parts.next()?.parse().ok()?)),
                };
                Some(Self::Keys { after, failed })
            }
            "values" | "again" => {
                let mut parts = rest.splitn(3, ' ');
                let failed = parts.next()?.parse().ok()?;
                let held = parts.next()? == "held";
                Some(Self::Values { last: word == "again", at: parts.next().map(str::to_owned), failed, held })
            }
            "settling" => Some(Self::Settling),
            _ => None,
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keys { after: None, failed } => write!(f, "keys {failed}"),
            Self::Keys { after: Some((tenant, id)), failed } => write!(f, "keys {failed} {tenant} {id}"),
            Self::Values { last, at, failed, held } => {
                let (word, held) = (if *last { "again" } else { "values" }, if *held { "held" } else { "free" });
                write!(f, "{word} {failed} {held}")?;
                at.as_ref().map_or(Ok(()), |at| write!(f, " {at}"))
            }
            Self::Settling => f.write_str("settling"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back() {
        for cursor in [
            Cursor::Keys { after: None, failed: 0 },
            Cursor::Keys { after: Some((TenantId::fresh(), 7)), failed: 3 },
            Cursor::first_values(false),
            Cursor::Values { last: true, at: Some("upstream_client/a/b/https://x y".into()), failed: 2, held: true },
            Cursor::Settling,
        ] {
            assert_eq!(Cursor::parse(Some(&cursor.to_string())), Some(cursor));
        }
        for odd in ["", "nonsense", "keys", "keys x", "values", "values 1"] {
            assert_eq!(Cursor::parse(Some(odd)), None, "{odd}");
        }
        assert_eq!(Cursor::parse(None), None);
    }
}
