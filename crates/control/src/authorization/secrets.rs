//! The two secrets that clients carry for a while: a code, and a refresh token. 256 random bits behind a word that
//! tells a scanner what was found; only their SHA-256 is kept.

use model::Secret;

use crate::sign_in::token::Token;

/// Which secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Code,
    Refresh,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Code => "ghc_",
            Self::Refresh => "ghr_",
        }
    }

    /// A new one and its hash; `None` if the system has no random bytes.
    pub(crate) fn fresh(self) -> Option<(Secret, [u8; 32])> {
        let token = Token::fresh()?;
        Some((Secret::new(format!("{}{}", self.word(), token.text().expose())), token.hash()))
    }

    /// The hash of one that is shown; `None` for what can't be one.
    pub(crate) fn hash(self, text: &str) -> Option<[u8; 32]> {
        Some(Token::parse(text.strip_prefix(self.word())?)?.hash())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_by_its_hash_and_only_as_what_it_is() {
        let (text, hash) = Kind::Refresh.fresh().unwrap();
        let text = text.expose();
        assert_eq!(Kind::Refresh.hash(text), Some(hash));
        for wrong in [text.replace("ghr_", "ghc_").as_str(), &text[4..], &format!("{text}A"), "ghr_", ""] {
            assert_eq!(Kind::Refresh.hash(wrong), None, "{wrong}");
        }
        assert_eq!(Kind::Code.hash(text), None);
        assert_ne!(Kind::Refresh.fresh().unwrap().1, hash);
    }
}
