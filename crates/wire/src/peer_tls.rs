//! TLS between the proxies of a pool: both ends show the node certificates of the link, and both look for the same CA
//! and the same pool. A name in them is not asked for: all nodes of a pool are one to the others.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
};

use crate::TlsError;
use crate::channel::{certificates, private_key, roots};
use crate::pool::pool_of;

/// What proxies speak to each other.
const PROTOCOL: &[u8] = b"http/1.1";

/// The listener's end: only nodes of `pool` get past the handshake.
pub fn peer_server_tls(ca: &str, cert: &str, key: &str, pool: &str) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Config)?
        .with_client_cert_verifier(Arc::new(OfPool::new(ca, pool)?))
        .with_single_cert(certificates("certificate", cert)?, private_key(key)?)
        .map_err(TlsError::Config)?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}

/// The other end: only nodes of `pool` are spoken to, whatever name or address they are reached by.
pub fn peer_client_tls(ca: &str, cert: &str, key: &str, pool: &str) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Config)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(OfPool::new(ca, pool)?))
        .with_client_auth_cert(certificates("certificate", cert)?, private_key(key)?)
        .map_err(TlsError::Config)?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}

/// Takes certificates of nodes of one pool. They are made for clients, on whichever end they are shown: control's own,
/// which is a server's, passes for no node.
struct OfPool {
    signed: Arc<dyn ClientCertVerifier>,
    pool: String,
}

impl OfPool {
    fn new(ca: &str, pool: &str) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let signed = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider);
        Ok(Self { signed: signed.build().map_err(TlsError::Verifier)?, pool: pool.to_owned() })
    }

    fn check(&self, leaf: &CertificateDer<'_>, between: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        self.signed.verify_client_cert(leaf, between, now)?;
        match pool_of(leaf) {
            Ok(pool) if pool == self.pool => Ok(()),
            _ => Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)),
        }
    }
}

impl fmt::Debug for OfPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OfPool({})", self.pool)
    }
}

impl ClientCertVerifier for OfPool {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.signed.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(leaf, between, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

impl ServerCertVerifier for OfPool {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(leaf, between, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signed.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signed.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    };
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;
    use crate::pool::pool_uri;

    struct Plane {
        ca: String,
        issuer: Issuer<'static, KeyPair>,
    }

    impl Plane {
        fn new() -> Self {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            let key = KeyPair::generate().unwrap();
            let ca = params.self_signed(&key).unwrap().pem();
            Self { issuer: Issuer::from_ca_cert_pem(&ca, key).unwrap(), ca }
        }

        fn leaf(&self, names: Vec<SanType>, purpose: ExtendedKeyUsagePurpose) -> [String; 2] {
            let mut params = CertificateParams::default();
            params.subject_alt_names = names;
            params.extended_key_usages = vec![purpose];
            let key = KeyPair::generate().unwrap();
            [params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem()]
        }

        fn node(&self, pool: &str) -> [String; 2] {
            let name = SanType::URI(pool_uri(pool).try_into().unwrap());
            self.leaf(vec![name], ExtendedKeyUsagePurpose::ClientAuth)
        }

        fn control(&self) -> [String; 2] {
            let name = SanType::DnsName(crate::CONTROL_NAME.try_into().unwrap());
            self.leaf(vec![name], ExtendedKeyUsagePurpose::ServerAuth)
        }
    }

    /// Whether the two agree: a byte goes each way.
    async fn agree(server: ServerConfig, client: ClientConfig) -> bool {
        let (near, far) = tokio::io::duplex(64 << 10);
        let serving = async {
            let mut stream = TlsAcceptor::from(Arc::new(server)).accept(far).await.ok()?;
            stream.write_all(b"y").await.ok()?;
            stream.read_u8().await.ok()
        };
        let asking = async {
            let name = ServerName::try_from("anything.example").unwrap();
            let mut stream = TlsConnector::from(Arc::new(client)).connect(name, near).await.ok()?;
            let heard = stream.read_u8().await.ok()?;
            stream.write_all(b"x").await.ok()?;
            Some(heard)
        };
        let (served, asked) = tokio::join!(serving, asking);
        served.is_some() && asked.is_some()
    }

    #[tokio::test]
    async fn only_nodes_of_one_pool_and_one_plane_speak_with_each_other() {
        let (plane, other) = (Plane::new(), Plane::new());
        let strangers = [
            ("the pool's own", plane.node("default"), true),
            ("another pool's", plane.node("edge"), false),
            ("control's", plane.control(), false),
            ("another plane's", other.node("default"), false),
        ];
        for (who, [cert, key], agreed) in &strangers {
            let [own, own_key] = plane.node("default");
            let listener = || peer_server_tls(&plane.ca, &own, &own_key, "default").unwrap();
            let client = peer_client_tls(&plane.ca, cert, key, "default").unwrap();
            assert_eq!(agree(listener(), client).await, *agreed, "{who} certificate asks");
            let server = peer_server_tls(&plane.ca, cert, key, "default").unwrap();
            let client = peer_client_tls(&plane.ca, &own, &own_key, "default").unwrap();
            assert_eq!(agree(server, client).await, *agreed, "{who} certificate answers");
        }
    }

    #[tokio::test]
    async fn nobody_without_a_certificate_is_let_in() {
        let plane = Plane::new();
        let [cert, key] = plane.node("default");
        let nameless = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OfPool::new(&plane.ca, "default").unwrap()))
            .with_no_client_auth();
        let server = peer_server_tls(&plane.ca, &cert, &key, "default").unwrap();
        assert!(!agree(server, nameless).await);
    }
}
