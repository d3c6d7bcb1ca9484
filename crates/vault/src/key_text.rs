//! A KEK as text: the base64 form of 32 random bytes.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::VaultError;
use crate::derive::Key;
use crate::key_file::is_weak;

/// Padding may stand or be left away, the alphabet may be either one.
const CONFIG: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, CONFIG);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, CONFIG);

/// Reads and judges the text.
pub(crate) fn read(text: &str) -> Result<Key, VaultError> {
    let text = text.trim();
    let bytes = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).map_err(|_| VaultError::KeyTextLength)?;
    let bytes = Zeroizing::new(bytes);
    let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| VaultError::KeyTextLength)?;
    let key = Zeroizing::new(key);
    if is_weak(&key) {
        return Err(VaultError::KeyTextWeak);
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    fn good() -> Vec<u8> {
        (0..32u8).map(|at| at.wrapping_mul(37) ^ 0x80).collect()
    }

    #[test]
    fn base64_of_32_random_bytes_is_a_key() {
        for text in [STANDARD.encode(good()), URL_SAFE_NO_PAD.encode(good()), format!(" {}\n", STANDARD.encode(good()))]
        {
            assert_eq!(read(&text).unwrap().as_slice(), good());
        }
    }

    #[test]
    fn anything_else_is_none_and_nothing_of_it_is_shown() {
        for text in ["", "correct horse battery staple", "AAAA", &STANDARD.encode([1; 31]), &STANDARD.encode([1; 33])] {
            assert!(matches!(read(text), Err(VaultError::KeyTextLength)), "{text}");
        }
        for weak in [&[0; 32][..], b"correct horse battery staple 123"] {
            let told = read(&STANDARD.encode(weak)).unwrap_err();
            assert!(matches!(told, VaultError::KeyTextWeak) && !told.to_string().contains("horse"));
        }
    }
}
