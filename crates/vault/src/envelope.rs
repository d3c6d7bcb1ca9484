//! The layout of an envelope and the padding inside it; pure bytes, no keys.
//!
//! | bytes | field |
//! | --- | --- |
//! | 2 | magic `GH` |
//! | 1 | format version 2 |
//! | 1 | suite 1: HKDF-SHA256, key commitment, AES-256-GCM |
//! | 4 | id of the data key, big endian |
//! | 32 | salt |
//! | 32 | commitment |
//! | 12 | nonce |
//! | n + 16 | ciphertext and tag |

use zeroize::Zeroizing;

use crate::VaultError;

/// The most bytes that one secret may have.
pub const MAX_SECRET: usize = 16 * 1024;
/// Bytes of an envelope beside the padded plaintext.
pub const OVERHEAD: usize = 8 + SALT + COMMITMENT + NONCE + TAG;

pub(crate) const MAGIC: [u8; 2] = *b"GH";
pub(crate) const VERSION: u8 = 2;
pub(crate) const SUITE: u8 = 1;
pub(crate) const SALT: usize = 32;
pub(crate) const COMMITMENT: usize = 32;
pub(crate) const NONCE: usize = 12;
pub(crate) const TAG: usize = 16;
/// Lengths are rounded up to this, so that they don't tell a token from a key.
const BUCKET: usize = 64;

/// The parts of an envelope, borrowed from its bytes.
pub(crate) struct Envelope<'a> {
    pub(crate) header: &'a [u8; 8],
    pub(crate) data_key: u32,
    pub(crate) salt: &'a [u8; SALT],
    pub(crate) commitment: &'a [u8; COMMITMENT],
    pub(crate) nonce: &'a [u8; NONCE],
    pub(crate) sealed: &'a [u8],
}

/// The first eight bytes.
pub(crate) fn header(data_key: u32) -> [u8; 8] {
    let [a, b, c, d] = data_key.to_be_bytes();
    [MAGIC[0], MAGIC[1], VERSION, SUITE, a, b, c, d]
}

/// The number of the data key that opens an envelope.
pub fn data_key_of(bytes: &[u8]) -> Result<u32, VaultError> {
    Ok(parse(bytes)?.data_key)
}

/// Splits the bytes of an envelope. Knows one version and one suite; anything else is an error.
pub(crate) fn parse(bytes: &[u8]) -> Result<Envelope<'_>, VaultError> {
    let (header, rest) = bytes.split_first_chunk::<8>().ok_or(VaultError::NotAnEnvelope)?;
    let [magic0, magic1, version, suite, key @ ..] = *header;
    if [magic0, magic1] != MAGIC {
        return Err(VaultError::NotAnEnvelope);
    }
    if (version, suite) != (VERSION, SUITE) {
        return Err(VaultError::UnsupportedEnvelope { version, suite });
    }
    let (salt, rest) = rest.split_first_chunk::<SALT>().ok_or(VaultError::NotAnEnvelope)?;
    let (commitment, rest) = rest.split_first_chunk::<COMMITMENT>().ok_or(VaultError::NotAnEnvelope)?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE>().ok_or(VaultError::NotAnEnvelope)?;
    let padded = sealed.len().checked_sub(TAG).ok_or(VaultError::NotAnEnvelope)?;
    if padded == 0 || !padded.is_multiple_of(BUCKET) || padded > MAX_SECRET + BUCKET {
        return Err(VaultError::NotAnEnvelope);
    }
    Ok(Envelope { header, data_key: u32::from_be_bytes(key), salt, commitment, nonce, sealed })
}

/// The plaintext, a byte 0x80, then zeros up to the next multiple of 64. Room for the tag is kept,
/// so that sealing in place never moves the plaintext.
pub(crate) fn pad(plaintext: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    if plaintext.len() > MAX_SECRET {
        return Err(VaultError::TooLong);
    }
    let padded_len = (plaintext.len() + 1).next_multiple_of(BUCKET);
    let mut padded = Zeroizing::new(Vec::with_capacity(padded_len + TAG));
    padded.extend_from_slice(plaintext);
    padded.push(0x80);
    padded.resize(padded_len, 0);
    Ok(padded)
}

/// The length of the plaintext in front of its padding.
pub(crate) fn unpadded_len(padded: &[u8]) -> Result<usize, VaultError> {
    let mark = padded.iter().rposition(|byte| *byte != 0).ok_or(VaultError::Altered)?;
    if padded.get(mark) == Some(&0x80) { Ok(mark) } else { Err(VaultError::Altered) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_fills_buckets_of_64_and_comes_off_again() {
        for (len, padded_len) in [(0, 64), (1, 64), (63, 64), (64, 128), (127, 128), (MAX_SECRET, MAX_SECRET + 64)] {
            for fill in [0, 0x80, 0xff] {
                let plaintext = vec![fill; len];
                let padded = pad(&plaintext).unwrap();
                assert_eq!(padded.len(), padded_len);
                assert_eq!(unpadded_len(&padded).unwrap(), len);
            }
        }
        assert!(matches!(pad(&vec![0; MAX_SECRET + 1]), Err(VaultError::TooLong)));
        assert!(matches!(unpadded_len(&[0; 64]), Err(VaultError::Altered)));
        assert!(matches!(unpadded_len(&[1; 64]), Err(VaultError::Altered)));
    }

    #[test]
    fn what_is_no_envelope_is_told_from_what_is_unsupported() {
        let good = [header(1).as_slice(), &[0; OVERHEAD - 8 + 64]].concat();
        assert_eq!(parse(&good).unwrap().data_key, 1);
        for len in 0..good.len() {
            assert!(matches!(parse(&good[..len]), Err(VaultError::NotAnEnvelope)), "cut to {len}");
        }
        for (at, value) in [(2, 1), (2, 3), (3, 0), (3, 2)] {
            let mut other = good.clone();
            other[at] = value;
            assert!(matches!(parse(&other), Err(VaultError::UnsupportedEnvelope { .. })));
        }
        assert!(matches!(parse(b"gAAAAA"), Err(VaultError::NotAnEnvelope)));
    }
}
