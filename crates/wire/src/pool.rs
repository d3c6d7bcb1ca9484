//! Which pool a node's certificate names: its permission, on the link and among proxies.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

const PREFIX: &str = "spiffe://gatehouse/pool/";

/// Why a certificate names no pool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// Not a certificate.
    #[error("the certificate can't be read")]
    Unreadable,
    /// No name of a pool in it.
    #[error("the certificate names no pool")]
    NoPool,
    /// More than one.
    #[error("the certificate names more than one pool")]
    ManyPools,
}

/// The name that stands for a pool in a certificate.
pub fn pool_uri(pool: &str) -> String {
    format!("{PREFIX}{pool}")
}

/// The pool that a certificate (DER) names: exactly one, or none is believed. Who signed it is not looked at.
pub fn pool_of(der: &[u8]) -> Result<String, PeerError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| PeerError::Unreadable)?;
    let names = certificate.subject_alternative_name().map_err(|_| PeerError::Unreadable)?;
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let mut pools = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix(PREFIX),
        _ => None,
    });
    match (pools.next(), pools.next()) {
        (Some(pool), None) => Ok(pool.to_owned()),
        (None, _) => Err(PeerError::NoPool),
        (Some(_), Some(_)) => Err(PeerError::ManyPools),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bytes_name_no_pool() {
        assert_eq!(pool_of(b"not a certificate"), Err(PeerError::Unreadable));
        assert_eq!(pool_of(b""), Err(PeerError::Unreadable));
    }

    #[test]
    fn one_pool_in_a_certificate_is_its_pool_and_two_are_none() {
        for (pools, named) in [
            (vec![], Err(PeerError::NoPool)),
            (vec!["a"], Ok("a".to_owned())),
            (vec!["a", "b"], Err(PeerError::ManyPools)),
        ] {
            let mut params = rcgen::CertificateParams::default();
            for pool in pools {
                params.subject_alt_names.push(rcgen::SanType::URI(pool_uri(pool).try_into().unwrap()));
            }
            let key = rcgen::KeyPair::generate().unwrap();
            assert_eq!(pool_of(params.self_signed(&key).unwrap().der()), named);
        }
    }
}
