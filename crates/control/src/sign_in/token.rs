//! Random secrets that a browser or a person holds: 256 bits, of which only a SHA-256 is kept here.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::Secret;
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroize as _;

/// 32 random bytes, as text 43 characters of base64url.
pub(crate) struct Token([u8; 32]);

impl Token {
    /// A new one; `None` if the system has no random bytes.
    pub(crate) fn fresh() -> Option<Self> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// Reads [`Token::text`]; every token has one text only.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != 43 {
            return None;
        }
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// What its holder gets.
    pub(crate) fn text(&self) -> Secret {
        Secret::new(URL_SAFE_NO_PAD.encode(self.0))
    }

    /// What is kept of it.
    pub(crate) fn hash(&self) -> [u8; 32] {
        sha256(&[&self.0])
    }

    /// Something else that only its holder can have, one for each purpose; leads neither back nor to the hash.
    pub(crate) fn derived(&self, purpose: &str) -> [u8; 32] {
        sha256(&[b"gatehouse/derived/v1/", purpose.as_bytes(), b"\0", &self.0])
    }

    /// The same as text, for forms and headers.
    pub(crate) fn derived_text(&self, purpose: &str) -> String {
        URL_SAFE_NO_PAD.encode(self.derived(purpose))
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut hash = [0; 32];
    hash.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_one_text_and_its_relatives_are_all_different() {
        let token = Token::fresh().unwrap();
        let text = token.text();
        let same = Token::parse(text.expose()).unwrap();
        assert_eq!((same.hash(), same.derived("form")), (token.hash(), token.derived("form")));
        assert_ne!(token.derived("form"), token.derived("visit"));
        assert_ne!(token.derived("form"), token.hash());
        assert_ne!(Token::fresh().unwrap().hash(), token.hash());
        for wrong in ["", "a", &text.expose()[..42], &format!("{}=", text.expose()), &"!".repeat(43)] {
            assert!(Token::parse(wrong).is_none(), "{wrong}");
        }
        // 43 characters hold two bits too many: only zeros are the token's own text.
        assert!(Token::parse(&"A".repeat(43)).is_some());
        assert!(Token::parse(&format!("{}B", "A".repeat(42))).is_none());
    }
}
