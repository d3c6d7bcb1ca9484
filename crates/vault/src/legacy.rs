//! Ciphertexts of the systems that Gatehouse replaces, opened once, at the import.
//!
//! Nothing that serves calls this: a value that is no envelope of ours is an error there, never a guess.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::hkdf::{HKDF_SHA256, Salt};
use zeroize::Zeroizing;

use crate::derive::{Bytes, Key};

/// Authenticated with every credential of Yuxi, in both of its forms.
const YUXI: &[u8] = b"yuxi:mcp_credentials:v1";
/// The purpose of the keys of its second form.
const YUXI_V2: &[u8] = b"mcp-credentials-v2";
/// What a ciphertext of WeKnora begins with.
const ENC_V1: &str = "enc:v1:";
/// Bytes of a ciphertext that are looked at.
const MOST: usize = 64 * 1024;

/// Both systems write the URL-safe alphabet, one with padding, one without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a ciphertext can't be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LegacyError {
    /// Not of the form that the system writes.
    #[error("not a ciphertext of that system")]
    Shape,
    /// A form that the system never had.
    #[error("a ciphertext of an unknown version")]
    Version,
    /// The key is not the one of the system, or the ciphertext was altered.
    #[error("does not open: another key, or altered")]
    Altered,
    /// The key is not of the length that the system wants.
    #[error("the key must have 32 bytes")]
    KeyLength,
}

/// The members of a credential that Yuxi has encrypted.
#[derive(Debug, Clone, Copy)]
pub struct YuxiCiphertext<'a> {
    /// Its form: 1 or 2.
    pub version: u64,
    /// Of the second form alone.
    pub salt: Option<&'a str>,
    /// 12 bytes.
    pub nonce: &'a str,
    /// With the tag behind it.
    pub ciphertext: &'a str,
}

/// Opens a credential of Yuxi with its master key, any text.
pub fn open_yuxi(master: &[u8], sealed: &YuxiCiphertext<'_>) -> Result<Zeroizing<Vec<u8>>, LegacyError> {
    let key = match (sealed.version, sealed.salt) {
        (1, None) => hashed(master),
        (2, Some(salt)) => stretched(master, &decode(salt)?)?,
        (1 | 2, _) => return Err(LegacyError::Shape),
        _ => return Err(LegacyError::Version),
    };
    let nonce = decode(sealed.nonce)?.as_slice().try_into().map_err(|_| LegacyError::Shape)?;
    open(&key, nonce, YUXI, decode(sealed.ciphertext)?)
}

/// Whether a text is a ciphertext of WeKnora; anything else is what it says.
pub fn is_weknora(text: &str) -> bool {
    text.starts_with(ENC_V1)
}

/// Opens a value of WeKnora with its key, 32 bytes.
pub fn open_weknora(key: &[u8], text: &str) -> Result<Zeroizing<Vec<u8>>, LegacyError> {
    let key: [u8; 32] = key.try_into().map_err(|_| LegacyError::KeyLength)?;
    let bytes = decode(text.strip_prefix(ENC_V1).ok_or(LegacyError::Shape)?)?;
    let (nonce, sealed) = bytes.split_first_chunk::<12>().ok_or(LegacyError::Shape)?;
    open(&Zeroizing::new(key), *nonce, b"", Zeroizing::new(sealed.to_vec()))
}

fn hashed(master: &[u8]) -> Key {
    let mut key = Zeroizing::new([0; 32]);
    key.iter_mut().zip(digest(&SHA256, master).as_ref()).for_each(|(to, from)| *to = *from);
    key
}

fn stretched(master: &[u8], salt: &[u8]) -> Result<Key, LegacyError> {
    let mut key = Zeroizing::new([0; 32]);
    Salt::new(HKDF_SHA256, salt)
        .extract(master)
        .expand(&[YUXI_V2], Bytes(key.len()))
        .and_then(|okm| okm.fill(key.as_mut_slice()))
        .map_err(|_| LegacyError::Altered)?;
    Ok(key)
}

fn open(
    key: &Key,
    nonce: [u8; 12],
    aad: &[u8],
    mut sealed: Zeroizing<Vec<u8>>,
) -> Result<Zeroizing<Vec<u8>>, LegacyError> {
    let cipher = UnboundKey::new(&AES_256_GCM, key.as_slice()).map(LessSafeKey::new);
    let cipher = cipher.map_err(|_| LegacyError::KeyLength)?;
    let plain = cipher
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), sealed.as_mut_slice())
        .map_err(|_| LegacyError::Altered)?;
    let len = plain.len();
    sealed.truncate(len);
    Ok(sealed)
}

fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, LegacyError> {
    if text.len() > MOST {
        return Err(LegacyError::Shape);
    }
    BASE64.decode(text).map(Zeroizing::new).map_err(|_| LegacyError::Shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASTER: &[u8] = b"gatehouse-vector-master-key";
    const PLAIN: &[u8] = br#"{"secrets":{"access_token":"tok-123"}}"#;
    const V1: YuxiCiphertext<'static> = YuxiCiphertext {
        version: 1,
        salt: None,
        nonce: "AAECAwQFBgcICQoL",
        ciphertext: "T7lOM8TeYtLfMIsY4_VAuuoucCWap5oaEcY9JSvhIXDZrUpapZPp9WgT5_zrrQV1cKJah2F4",
    };
    const V2: YuxiCiphertext<'static> = YuxiCiphertext {
        version: 2,
        salt: Some("AAECAwQFBgcICQoLDA0ODw=="),
        nonce: "AAECAwQFBgcICQoL",
        ciphertext: "Am6_sSu7fUB47-l8wfA_RFeB41gQF7woCjTVXjL4d6D2Grj8j9SMrX36GNAor43A0wkPqaJp",
    };
    const WEKNORA: &str = "enc:v1:AAECAwQFBgcICQoLSo3LI7xgs8HYsBT6YLcsfMYsxbGWhl2weUi5";
    const WEKNORA_KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn yuxis_first_form_opens_as_its_vector_says() {
        assert_eq!(hex(hashed(MASTER).as_slice()), "f8d657fefd444e6306809645db49a6f22672840dac8d66d21b18e4f5b46454c8");
        assert_eq!(open_yuxi(MASTER, &V1).unwrap().as_slice(), PLAIN);
    }

    #[test]
    fn yuxis_second_form_opens_as_its_vector_says() {
        let salt: Vec<u8> = (0..16).collect();
        let key = stretched(MASTER, &salt).unwrap();
        assert_eq!(hex(key.as_slice()), "8238dce4e248e214ebb44fe45b9f598f3827a6ed4207155977745f1ba3dcc231");
        assert_eq!(open_yuxi(MASTER, &V2).unwrap().as_slice(), PLAIN);
    }

    #[test]
    fn weknoras_form_opens_as_its_vector_says() {
        assert_eq!(open_weknora(WEKNORA_KEY, WEKNORA).unwrap().as_slice(), b"ghp_example");
        assert!(is_weknora(WEKNORA) && !is_weknora("ghp_example"));
    }

    #[test]
    fn no_form_is_taken_for_another_and_no_key_for_another() {
        let cases = [
            (open_yuxi(b"another", &V1), LegacyError::Altered),
            (open_yuxi(b"another", &V2), LegacyError::Altered),
            (open_yuxi(MASTER, &YuxiCiphertext { version: 2, ..V1 }), LegacyError::Shape),
            (open_yuxi(MASTER, &YuxiCiphertext { version: 1, ..V2 }), LegacyError::Shape),
            (open_yuxi(MASTER, &YuxiCiphertext { version: 1, salt: None, ..V2 }), LegacyError::Altered),
            (open_yuxi(MASTER, &YuxiCiphertext { version: 3, ..V2 }), LegacyError::Version),
            (open_yuxi(MASTER, &YuxiCiphertext { nonce: "AAEC", ..V2 }), LegacyError::Shape),
            (open_yuxi(MASTER, &YuxiCiphertext { ciphertext: "", ..V2 }), LegacyError::Altered),
            (open_weknora(&WEKNORA_KEY[..31], WEKNORA), LegacyError::KeyLength),
            (open_weknora(&[1; 32], WEKNORA), LegacyError::Altered),
            (open_weknora(WEKNORA_KEY, "ghp_example"), LegacyError::Shape),
            (open_weknora(WEKNORA_KEY, "enc:v1:AAEC"), LegacyError::Shape),
            (open_weknora(WEKNORA_KEY, "enc:v2:AAECAwQFBgcICQoL"), LegacyError::Shape),
        ];
        for (at, (opened, why)) in cases.into_iter().enumerate() {
            assert_eq!(opened.unwrap_err(), why, "case {at}");
        }
    }
}
