//! Making certificates: ECDSA P-256, one purpose each.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use time::{Duration, OffsetDateTime};

use super::{Certified, PkiError};

/// The CA lives ten years, like the folder it stands in.
const AUTHORITY_DAYS: u32 = 3650;
/// Certificates of processes. Control renews those of its own folder; others come from
/// `gatehouse-control certificate issue`.
pub(super) const LEAF_DAYS: u32 = 825;

/// A new plane CA; it may sign leaves only.
pub(super) fn authority() -> Result<Certified, PkiError> {
    let mut params = params("Gatehouse plane CA", AUTHORITY_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().map_err(PkiError::Certificate)?;
    let cert = params.self_signed(&key).map_err(PkiError::Certificate)?;
    Ok(Certified { cert: cert.pem(), key: key.serialize_pem() })
}

/// Control's certificate: a server's, with the one name that proxies ask for.
pub(super) fn control(issuer: &Issuer<'static, KeyPair>) -> Result<Certified, PkiError> {
    let mut params = params("Gatehouse control", LEAF_DAYS);
    let name = wire::CONTROL_NAME.try_into().map_err(PkiError::Certificate)?;
    params.subject_alt_names = vec![SanType::DnsName(name)];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf(params, issuer)
}

/// A certificate for the proxies of a pool: a client's.
pub(super) fn node(issuer: &Issuer<'static, KeyPair>, pool: &str, days: u32) -> Result<Certified, PkiError> {
    // Pools have the names that tenants have.
    let slug: model::TenantName = pool.parse().map_err(|_| PkiError::PoolName(pool.to_owned()))?;
    let mut params = params("Gatehouse proxy", days);
    let uri = wire::pool_uri(slug.as_str()).try_into().map_err(PkiError::Certificate)?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    leaf(params, issuer)
}

fn leaf(mut params: CertificateParams, issuer: &Issuer<'static, KeyPair>) -> Result<Certified, PkiError> {
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(PkiError::Certificate)?;
    let cert = params.signed_by(&key, issuer).map_err(PkiError::Certificate)?;
    Ok(Certified { cert: cert.pem(), key: key.serialize_pem() })
}

fn params(name: &str, days: u32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // An hour back: the other machine's clock may be behind.
    params.not_before = OffsetDateTime::now_utc() - Duration::HOUR;
    params.not_after = OffsetDateTime::now_utc() + Duration::days(days.into());
    params
}
