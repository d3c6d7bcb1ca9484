//! Slugs: the only way to put a name into a path.

use std::fmt;
use std::str::FromStr;

/// The name of the first tenant of an installation; paths that name no tenant are its own.
pub const DEFAULT_TENANT: &str = "default";
/// The name of the built-in service, which no server can have.
pub const BUILT_IN: &str = "gatehouse";

/// Why a text is no slug.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not `[a-z0-9][a-z0-9-]{0,31}`.
    #[error("must be 1 to 32 of a-z, 0-9 and -, and not begin with -")]
    Shape,
    /// `gatehouse` is the built-in service.
    #[error("`gatehouse` is reserved for the built-in service")]
    Reserved,
}

fn is_slug(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && !text.starts_with('-')
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

macro_rules! slugs {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            /// The slug as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                if !is_slug(text) {
                    return Err(NameError::Shape);
                }
                if text == BUILT_IN {
                    return Err(NameError::Reserved);
                }
                Ok(Self(text.into()))
            }
        }
    )*};
}

slugs! {
    /// A server's slug; holds no `_`, so `{server}__{tool}` separates for sure.
    ServerName;
    /// A tenant's slug.
    TenantName;
    /// A department's slug.
    DepartmentName;
    /// The slug of a tenant's identity provider.
    IssuerName;
    /// A toolset's slug.
    ToolsetName;
}

impl ServerName {
    /// Makes a slug from free text: cleaned, cut to 32, `server` when nothing is left. `attempt` 0
    /// gives the plain slug, n > 0 appends `-{n + 1}`, for a name that is taken.
    pub fn from_title(title: &str, attempt: u32) -> Self {
        let mut slug = String::new();
        for ch in title.chars().map(|ch| ch.to_ascii_lowercase()) {
            match ch {
                'a'..='z' | '0'..='9' => slug.push(ch),
                _ if !slug.is_empty() && !slug.ends_with('-') => slug.push('-'),
                _ => (),
            }
        }
        let tail = if attempt == 0 { String::new() } else { format!("-{}", attempt + 1) };
        slug.truncate(32 - tail.len());
        let slug = slug.trim_end_matches('-');
        let slug = if slug.is_empty() || (slug == BUILT_IN && tail.is_empty()) { "server" } else { slug };
        Self(format!("{slug}{tail}").into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_told_from_other_texts() {
        for good in ["a", "0", "notes", "a-b-c", &"x".repeat(32)] {
            assert!(good.parse::<ServerName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a_b", "a.b", "a/b", "..", "ü", &"x".repeat(33)] {
            assert_eq!(bad.parse::<ServerName>(), Err(NameError::Shape), "{bad}");
        }
        assert_eq!("gatehouse".parse::<ServerName>(), Err(NameError::Reserved));
    }

    #[test]
    fn a_title_becomes_a_slug() {
        for (title, attempt, slug) in [
            ("My Notes (v2)", 0, "my-notes-v2"),
            ("My Notes", 1, "my-notes-2"),
            ("日本語", 0, "server"),
            ("日本語", 2, "server-3"),
            ("Gatehouse", 0, "server"),
            ("a very long title that goes on and on", 0, "a-very-long-title-that-goes-on-a"),
            ("a very long title that goes on and on", 11, "a-very-long-title-that-goes-o-12"),
        ] {
            let name = ServerName::from_title(title, attempt);
            assert_eq!(name.as_str(), slug);
            assert!(name.as_str().parse::<ServerName>().is_ok());
        }
    }
}
