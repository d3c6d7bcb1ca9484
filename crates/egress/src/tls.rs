//! TLS towards upstreams: rustls with ring, the Mozilla roots, HTTP/1.1 only.

use std::io;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio_rustls::TlsConnector;
use url::Host;

use crate::{EgressError, Socket};

/// Trusts what Mozilla trusts.
pub(crate) fn public_roots() -> Result<ClientConfig, EgressError> {
    public_roots_and(&[])
}

/// Trusts what Mozilla trusts, and these.
pub(crate) fn public_roots_and(more: &[CertificateDer<'static>]) -> Result<ClientConfig, EgressError> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for authority in more {
        roots.add(authority.clone()).map_err(|error| EgressError::Tls(io::Error::other(error)))?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| EgressError::Tls(io::Error::other(error)))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Offers HTTP/1.1 and nothing else.
pub(crate) fn http1_only(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// Shakes hands with the certificate's name being the URL's host.
pub(crate) async fn handshake(
    config: Arc<ClientConfig>,
    host: &Host<String>,
    socket: Socket,
) -> Result<Socket, EgressError> {
    let name = match host {
        Host::Domain(name) => {
            ServerName::try_from(name.clone()).map_err(|error| EgressError::Tls(io::Error::other(error)))?
        }
        Host::Ipv4(ip) => ServerName::IpAddress(std::net::IpAddr::V4(*ip).into()),
        Host::Ipv6(ip) => ServerName::IpAddress(std::net::IpAddr::V6(*ip).into()),
    };
    let stream = TlsConnector::from(config).connect(name, socket).await.map_err(EgressError::Tls)?;
    Ok(Socket::Tls(Box::new(stream)))
}
