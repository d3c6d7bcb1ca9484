//! Client certificates: who we are to an upstream in the TLS handshake.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Most certificates of one chain.
const CHAIN: usize = 8;

/// A certificate with those above it, and its private key.
#[derive(Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
}

/// A certificate and key that can't be shown. Says nothing of what is in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadIdentity {
    /// No certificate in it, or too many, or no PEM.
    #[error("the client certificate is not readable PEM of one to eight certificates")]
    Chain,
    /// No private key in it that can be used.
    #[error("the client certificate's key is not a readable PEM key of a kind that is known")]
    Key,
    /// The key belongs to another certificate.
    #[error("the client certificate and its key don't belong together")]
    Match,
}

impl Identity {
    /// Reads both from PEM.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, BadIdentity> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain.as_bytes())
            .take(CHAIN + 1)
            .collect::<Result<_, _>>()
            .map_err(|_| BadIdentity::Chain)?;
        if chain.is_empty() || chain.len() > CHAIN {
            return Err(BadIdentity::Chain);
        }
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| BadIdentity::Key)?;
        let key = CertifiedKey::new(chain, any_supported_type(&key).map_err(|_| BadIdentity::Key)?);
        match key.keys_match() {
            Ok(()) => Ok(Self { key: Arc::new(key) }),
            Err(_) => Err(BadIdentity::Match),
        }
    }

    /// The same settings with this certificate, and without sessions that another one has begun: who resumes one is
    /// whoever began it.
    pub(crate) fn shown_by(&self, settings: &ClientConfig) -> ClientConfig {
        let mut settings = settings.clone();
        settings.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(self.key.clone()));
        settings.resumption = Resumption::in_memory_sessions(16);
        settings
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_not_the_certificates_is_refused() {
        let [one, other] = [(); 2].map(|()| rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap());
        let (chain, key) = (one.cert.pem(), one.signing_key.serialize_pem());
        assert!(Identity::from_pem(&chain, &key).is_ok());
        assert_eq!(Identity::from_pem(&chain, &other.signing_key.serialize_pem()).err(), Some(BadIdentity::Match));
        assert_eq!(Identity::from_pem("", &key).err(), Some(BadIdentity::Chain));
        assert_eq!(Identity::from_pem(&chain.repeat(9), &key).err(), Some(BadIdentity::Chain));
        assert_eq!(Identity::from_pem(&chain, &chain).err(), Some(BadIdentity::Key));
        assert!(!format!("{:?}", Identity::from_pem(&chain, &key).unwrap()).contains("PRIVATE"));
    }
}
