//! Which pool a peer's certificate names. The TLS handshake has already checked who signed it.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

const PREFIX: &str = "spiffe://gatehouse/pool/";
const DAY_MICROS: i64 = 86_400_000_000;

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
pub(super) fn uri(pool: &str) -> String {
    format!("{PREFIX}{pool}")
}

/// The pool that a certificate (DER) names: exactly one, or none is believed.
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

/// From when until when a certificate is valid, microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// Its first instant.
    pub from: i64,
    /// Its last one.
    pub until: i64,
}

impl Lifetime {
    /// Whether two thirds of it are over: time for a new certificate.
    pub fn is_ripe(&self, now: i64) -> bool {
        now.saturating_sub(self.from) >= self.until.saturating_sub(self.from) / 3 * 2
    }

    /// How long it is, in whole days, at least one.
    pub(super) fn days(&self) -> u32 {
        let days = self.until.saturating_sub(self.from) / DAY_MICROS;
        u32::try_from(days).unwrap_or(1).max(1)
    }
}

/// The lifetime of a certificate (DER).
pub fn lifetime_of(der: &[u8]) -> Result<Lifetime, PeerError> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|_| PeerError::Unreadable)?;
    let (from, until) = (certificate.validity().not_before, certificate.validity().not_after);
    let micros = |secs: i64| secs.saturating_mul(1_000_000);
    Ok(Lifetime { from: micros(from.timestamp()), until: micros(until.timestamp()) })
}

/// The first certificate of a PEM text, as DER.
pub(super) fn first_of(pem: &str) -> Result<Vec<u8>, PeerError> {
    x509_parser::pem::parse_x509_pem(pem.as_bytes()).map(|(_, pem)| pem.contents).map_err(|_| PeerError::Unreadable)
}

/// Whether this certificate (PEM) names the pool and is still valid in `days`.
pub(super) fn lives(pem: &[u8], pool: &str, days: u32) -> bool {
    let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(pem) else { return false };
    let until = X509Certificate::from_der(&pem.contents).map(|(_, certificate)| certificate.validity().not_after);
    let wanted = time::OffsetDateTime::now_utc() + time::Duration::days(days.into());
    until.is_ok_and(|until| until.to_datetime() > wanted) && pool_of(&pem.contents).is_ok_and(|named| named == pool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_ripe_after_two_thirds_of_its_life() {
        let lifetime = Lifetime { from: 0, until: 90 * DAY_MICROS };
        for (day, ripe) in [(-1, false), (0, false), (59, false), (60, true), (200, true)] {
            assert_eq!(lifetime.is_ripe(day * DAY_MICROS), ripe, "{day}");
        }
        assert_eq!(lifetime.days(), 90);
    }

    #[test]
    fn other_bytes_name_no_pool() {
        assert_eq!(pool_of(b"not a certificate"), Err(PeerError::Unreadable));
        assert_eq!(pool_of(b""), Err(PeerError::Unreadable));
    }

    #[test]
    fn two_pools_in_one_certificate_are_none() {
        let mut params = rcgen::CertificateParams::default();
        for pool in ["a", "b"] {
            params.subject_alt_names.push(rcgen::SanType::URI(uri(pool).try_into().unwrap()));
        }
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        assert_eq!(pool_of(certificate.der()), Err(PeerError::ManyPools));
    }
}
