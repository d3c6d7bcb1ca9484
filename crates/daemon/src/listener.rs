//! A listener of HTTP, with TLS where a certificate was given.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::task::AbortOnDropHandle;

use crate::certificate::{Certificate, CertificateError, CertificateFiles};
use crate::timers::scaled;

/// How long an address may still be held by the process before this one.
const TAKEN: Duration = Duration::from_secs(3);
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Accepts connections.
pub struct Listener {
    tcp: TcpListener,
    tls: Option<Tls>,
}

enum Tls {
    /// A certificate whose files are followed.
    Followed { acceptor: TlsAcceptor, _follows: AbortOnDropHandle<()> },
    /// Whatever is said at the time.
    Told(watch::Receiver<Arc<ServerConfig>>),
}

/// A connection that was accepted and has yet to shake hands.
pub struct Arriving {
    tcp: TcpStream,
    tls: Option<TlsAcceptor>,
}

/// A connection, encrypted or not.
pub enum Connection {
    /// Bytes as they are.
    Plain(TcpStream),
    /// Under TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// Listens; for a moment the process before this one may still hold the address.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let until = tokio::time::Instant::now() + TAKEN;
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tokio::time::Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            bound => return bound,
        }
    }
}

impl Listener {
    /// Plain text, or TLS with the certificate of these files, which are followed as long as it lives.
    pub fn new(tcp: TcpListener, files: Option<&CertificateFiles>) -> Result<Self, CertificateError> {
        let Some(files) = files else { return Ok(tcp.into()) };
        let certificate = Arc::new(Certificate::load(files.clone())?);
        let acceptor = TlsAcceptor::from(Arc::new(certificate.server_config()?));
        let follows = AbortOnDropHandle::new(tokio::spawn(certificate.follow()));
        Ok(Self { tcp, tls: Some(Tls::Followed { acceptor, _follows: follows }) })
    }

    /// TLS with the settings that `settings` has when a connection comes.
    pub fn under(tcp: TcpListener, settings: watch::Receiver<Arc<ServerConfig>>) -> Self {
        Self { tcp, tls: Some(Tls::Told(settings)) }
    }

    /// The next connection. Its handshake is for the task that will serve it: a slow one delays nobody else.
    pub async fn accept(&self) -> io::Result<(Arriving, SocketAddr)> {
        let (tcp, peer) = self.tcp.accept().await?;
        let tls = self.tls.as_ref().map(|tls| match tls {
            Tls::Followed { acceptor, .. } => acceptor.clone(),
            Tls::Told(settings) => TlsAcceptor::from(settings.borrow().clone()),
        });
        Ok((Arriving { tcp, tls }, peer))
    }
}

impl From<TcpListener> for Listener {
    fn from(tcp: TcpListener) -> Self {
        Self { tcp, tls: None }
    }
}

impl Arriving {
    /// Shakes hands, within 10 s.
    pub async fn established(self) -> io::Result<Connection> {
        self.tcp.set_nodelay(true)?;
        match self.tls {
            None => Ok(Connection::Plain(self.tcp)),
            Some(acceptor) => {
                let shaken = tokio::time::timeout(scaled(HANDSHAKE), acceptor.accept(self.tcp)).await;
                Ok(Connection::Tls(Box::new(shaken.map_err(|_| io::ErrorKind::TimedOut)??)))
            }
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::TlsConnector;

    use super::*;

    /// Says hello to whoever arrives.
    async fn greet(listener: &Listener) {
        let (arriving, _) = listener.accept().await.unwrap();
        let mut connection = arriving.established().await.unwrap();
        connection.write_all(b"hello").await.unwrap();
        connection.shutdown().await.unwrap();
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "a client of the listener is no client of egress")]
    async fn a_client_that_trusts_the_certificate_is_served_under_tls() {
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["gate.example".to_owned()]).unwrap();
        let files = CertificateFiles { cert: dir.path().join("c"), key: dir.path().join("k") };
        std::fs::write(&files.cert, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        let listener = Listener::new(bind("127.0.0.1:0".parse().unwrap()).await.unwrap(), Some(&files)).unwrap();
        let address = listener.tcp.local_addr().unwrap();

        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&files.cert).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let hear = async {
            let tcp = TcpStream::connect(address).await.unwrap();
            let name = "gate.example".try_into().unwrap();
            let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
            let mut heard = String::new();
            stream.read_to_string(&mut heard).await.unwrap();
            heard
        };
        let ((), heard) = tokio::join!(greet(&listener), hear);
        assert_eq!(heard, "hello");

        let plain = async {
            let mut tcp = TcpStream::connect(address).await.unwrap();
            tcp.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        };
        let (arriving, ()) = tokio::join!(listener.accept(), plain);
        assert!(arriving.unwrap().0.established().await.is_err(), "no plain text under TLS");
    }
}
