//! The connection under the link: TLS 1.3 with a certificate on both sides, nothing else.

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

/// The one name that control's certificate carries and that proxies ask for, whatever its address.
pub const CONTROL_NAME: &str = "control.gatehouse.internal";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Half-open connections are noticed after this much silence plus [`KEEPALIVE_TIMEOUT`].
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that finished their handshake and wait to be served.
const BACKLOG: usize = 64;
/// Handshakes under way at once; more wait in the kernel's queue.
const HANDSHAKES: usize = 128;

/// The channel that a proxy calls control through.
pub type LinkChannel = Channel;

/// Certificates or keys that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Not PEM, or not what was expected in it.
    #[error("the {what} is not readable PEM")]
    Pem {
        /// Which of the three files.
        what: &'static str,
        /// What the parser said.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The parts don't make a TLS configuration.
    #[error("certificate, key and CA don't make a TLS configuration")]
    Config(#[source] rustls::Error),
    /// The CA can't check clients.
    #[error("the CA can't check client certificates")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
}

/// No channel to control.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not `host:port`.
    #[error("`{0}` is not host:port")]
    Address(String),
    /// No connection, or no agreement on TLS.
    #[error("can't reach control")]
    Transport(#[source] tonic::transport::Error),
}

/// Control's side: only clients with a certificate of `ca` get past the handshake.
pub fn server_tls(ca: &str, cert: &str, key: &str) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider.clone())
        .build()
        .map_err(TlsError::Verifier)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Config)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates("certificate", cert)?, private_key(key)?)
        .map_err(TlsError::Config)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// A proxy's side: only a server that `ca` certified for [`CONTROL_NAME`] is spoken to.
pub fn client_tls(ca: &str, cert: &str, key: &str) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Config)?
        .with_root_certificates(roots(ca)?)
        .with_client_auth_cert(certificates("certificate", cert)?, private_key(key)?)
        .map_err(TlsError::Config)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Connects to control at `address` (`host:port`, from the operator's configuration).
pub async fn connect(address: &str, tls: Arc<ClientConfig>) -> Result<LinkChannel, ConnectError> {
    let target = address.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let (target, tls) = (target.clone(), TlsConnector::from(tls.clone()));
        async move {
            let name = ServerName::try_from(CONTROL_NAME).map_err(std::io::Error::other)?;
            #[allow(clippy::disallowed_methods, reason = "the link's one way out; the address is the operator's")]
            let tcp = TcpStream::connect(&target).await?;
            tcp.set_nodelay(true)?;
            Ok::<_, std::io::Error>(TokioIo::new(tls.connect(name, tcp).await?))
        }
    });
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|_| ConnectError::Address(address.to_owned()))?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(2 << 20);
    endpoint.connect_with_connector(connector).await.map_err(ConnectError::Transport)
}

/// Connections whose handshake succeeded, for tonic's `serve_with_incoming`. Ends when nobody
/// reads it any more. A slow handshake delays nobody else and is dropped after 10 s. Each handshake takes the
/// configuration that `tls` has at its beginning.
pub fn incoming(
    listener: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
) -> ReceiverStream<Result<TlsStream<TcpStream>, std::io::Error>> {
    let (accepted, stream) = tokio::sync::mpsc::channel(BACKLOG);
    let slots = Arc::new(tokio::sync::Semaphore::new(HANDSHAKES));
    tokio::spawn(async move {
        loop {
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            let tcp = tokio::select! {
                tcp = listener.accept() => tcp,
                () = accepted.closed() => return,
            };
            let Ok((tcp, _)) = tcp else {
                // Out of file descriptors, most likely: give the others time to end.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let (acceptor, accepted) = (TlsAcceptor::from(tls.borrow().clone()), accepted.clone());
            tokio::spawn(async move {
                let _slot = slot;
                let _ = tcp.set_nodelay(true);
                match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp)).await {
                    Ok(Ok(stream)) => _ = accepted.send(Ok(stream)).await,
                    Ok(Err(error)) => tracing::warn!(%error, "a connection to the link was refused in its handshake"),
                    Err(_) => tracing::warn!("a connection to the link never finished its handshake"),
                }
            });
        }
    });
    ReceiverStream::new(stream)
}

pub(crate) fn certificates(what: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Pem { what, source })
}

pub(crate) fn private_key(pem: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|source| TlsError::Pem { what: "private key", source })
}

pub(crate) fn roots(ca: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("CA certificate", ca)? {
        roots.add(certificate).map_err(TlsError::Config)?;
    }
    Ok(roots)
}
