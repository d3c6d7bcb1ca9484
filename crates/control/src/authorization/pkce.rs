//! Proof key for code exchange (RFC 7636), with SHA-256 only: a client that could not prove that it began what
//! it ends gets nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use subtle::ConstantTimeEq as _;

/// What SHA-256 has in base64url.
const LEN: usize = 43;

/// Whether a text can be a challenge of the method `S256`.
pub(crate) fn is_challenge(text: &str) -> bool {
    text.len() == LEN && URL_SAFE_NO_PAD.decode(text).is_ok_and(|hash| hash.len() == 32)
}

/// Whether a verifier is the one that a challenge was made from.
pub(crate) fn fits(challenge: &str, verifier: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let shape = (LEN..=128).contains(&verifier.len()) && verifier.bytes().all(unreserved);
    let made = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
    shape && bool::from(made.as_bytes().ct_eq(challenge.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636, appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_verifier_of_a_challenge_fits_and_no_other() {
        assert!(is_challenge(CHALLENGE) && fits(CHALLENGE, VERIFIER));
        let longest = format!("{VERIFIER}{}", "~".repeat(128 - LEN));
        let of_longest = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, longest.as_bytes()));
        assert!(fits(&of_longest, &longest));
        for (challenge, verifier) in [
            (CHALLENGE, CHALLENGE),
            (CHALLENGE, ""),
            (CHALLENGE, &VERIFIER[1..]),
            (CHALLENGE, &format!("{VERIFIER}x")),
            // What the method `plain` would take.
            (VERIFIER, VERIFIER),
            ("", ""),
        ] {
            assert!(!fits(challenge, verifier), "{challenge} {verifier}");
        }
        let too_long = format!("{longest}x");
        let of_too_long = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, too_long.as_bytes()));
        assert!(!fits(&of_too_long, &too_long));
    }

    #[test]
    fn a_challenge_is_a_hash() {
        for text in ["", "x", &CHALLENGE[1..], &format!("{CHALLENGE}="), &CHALLENGE.replace('-', "+"), &"é".repeat(22)]
        {
            assert!(!is_challenge(text), "{text}");
        }
    }
}
