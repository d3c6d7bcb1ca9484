//! Client certificates.

use rcgen::{CertificateParams, KeyPair};

use super::*;
use crate::auth::certificate::CertificateError;

fn pair() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["client.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

#[test]
fn a_client_certificate_is_shown_only_with_the_key_that_it_belongs_to() {
    let config = native(json!({"type": "mtls"}));
    let ((chain, key), (_, other)) = (pair(), pair());
    let made = |chain: &str, key: &str| {
        let given = credential(json!({"secrets": {"certificate": chain, "private_key": key}}));
        assert_eq!(config.check_credential(&given).is_ok(), lines(&config, &given, None, &somebody()).is_ok());
        let auth = AuthSecret::default();
        let composed = config.compose(&Material { auth: &auth, credential: &given, token: None }, &somebody());
        composed.map(|composed| composed.certificate.unwrap().chain.expose().to_owned())
    };
    let refused = |error| Err(ComposeError::Certificate(error));
    assert_eq!(made(&chain, &key), Ok(chain.clone()));
    assert_eq!(made(&format!("{chain}{}", pair().0), &key).map(|_| ()), Ok(()));
    assert_eq!(made(&chain, &other), refused(CertificateError::Mismatch));
    assert_eq!(made("no pem", &key), refused(CertificateError::Chain));
    assert_eq!(made(&chain, "no pem"), refused(CertificateError::Key));
    assert_eq!(made(&chain, &chain), refused(CertificateError::Key));
    assert_eq!(made(&chain.repeat(9), &key), refused(CertificateError::TooLong));
}

#[test]
fn a_certificate_goes_with_any_other_way() {
    let config = native(json!({"type": "bearer", "client_certificate": true}));
    let (chain, key) = pair();
    let given = credential(json!({"secrets": {"certificate": chain, "private_key": key, "access_token": "t"}}));
    assert!(config.is_complete(&given));
    assert_eq!(lines(&config, &given, None, &somebody()).unwrap(), ["Authorization: Bearer t"]);
    assert!(!config.is_complete(&credential(json!("t"))));
}
