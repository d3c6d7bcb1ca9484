//! Client certificates: whether chain and key are what they say and belong together.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// Certificates of one chain.
const MAX_CHAIN: usize = 8;

/// Why a text is no client certificate. Never quotes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CertificateError {
    /// No PEM, or none with a certificate.
    #[error("`certificate` holds no PEM certificate")]
    Chain,
    /// More certificates than anybody reads.
    #[error("`certificate` holds more than 8 certificates")]
    TooLong,
    /// No PEM, or none with a private key.
    #[error("`private_key` holds no PEM private key")]
    Key,
    /// A certificate or a key of a kind that is not spoken here, or damaged.
    #[error("`certificate` or `private_key` can't be read, or is of a kind that TLS here doesn't speak")]
    Unreadable,
    /// A certificate of another key.
    #[error("`certificate` and `private_key` don't belong together")]
    Mismatch,
}

/// Refuses what could not be shown in a handshake.
pub(crate) fn check(chain: &str, key: &str) -> Result<(), CertificateError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
        .take(MAX_CHAIN + 1)
        .collect::<Result<_, _>>()
        .map_err(|_| CertificateError::Chain)?;
    if certificates.is_empty() {
        return Err(CertificateError::Chain);
    }
    if certificates.len() > MAX_CHAIN {
        return Err(CertificateError::TooLong);
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| CertificateError::Key)?;
    let provider = rustls::crypto::ring::default_provider();
    match CertifiedKey::from_der(certificates, key, &provider) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err(CertificateError::Mismatch),
        Err(_) => Err(CertificateError::Unreadable),
    }
}
