//! What a peer's certificate says: its pool and its lifetime. The TLS handshake has already checked who signed it.

pub use wire::{PeerError, pool_of};
use x509_parser::prelude::{FromDer as _, X509Certificate};

const DAY_MICROS: i64 = 86_400_000_000;

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
}
