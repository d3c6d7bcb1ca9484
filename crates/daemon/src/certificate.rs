//! A listener's certificate, which follows its files: who renews it need not restart anything.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::timers::scaled;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// Where a listener's certificate stands, both files PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain, the listener's own certificate first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file can't be read.
    #[error("can't read {}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// A file isn't what it should be.
    #[error("{} is no readable PEM", path.display())]
    Pem {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        #[source]
        cause: rustls::pki_types::pem::Error,
    },
    /// The file with the certificate holds none.
    #[error("{} holds no certificate", path.display())]
    Empty {
        /// Which one.
        path: PathBuf,
    },
    /// The key doesn't belong to the certificate, or is of a kind that can't be used.
    #[error("the certificate and its key don't fit together")]
    Pair(#[source] rustls::Error),
}

/// The certificate in use. A change of its files that can't be used changes nothing and is logged.
#[derive(Debug)]
pub struct Certificate {
    files: CertificateFiles,
    current: ArcSwap<Current>,
}

#[derive(Debug)]
struct Current {
    seen: [Seen; 2],
    key: Arc<CertifiedKey>,
}

/// What tells one version of a file from the next, also where a link is turned to another file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

impl Certificate {
    /// Reads the files.
    pub fn load(files: CertificateFiles) -> Result<Self, CertificateError> {
        let current = Current::read(&files)?;
        Ok(Self { files, current: ArcSwap::from_pointee(current) })
    }

    /// Reads the files again if they changed; says whether they had. What can't be used leaves the
    /// certificate in use as it is, and is tried again the next time.
    pub fn reload(&self) -> Result<bool, CertificateError> {
        if Current::seen(&self.files)? == self.current.load().seen {
            return Ok(false);
        }
        self.current.store(Arc::new(Current::read(&self.files)?));
        Ok(true)
    }

    /// Follows the files for ever.
    pub(crate) async fn follow(self: Arc<Self>) {
        loop {
            tokio::time::sleep(scaled(LOOK)).await;
            let file = self.files.cert.display();
            match self.reload() {
                Ok(true) => tracing::info!(%file, "the listener's certificate was replaced"),
                Ok(false) => (),
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, cause, "the listener keeps its certificate: the new one can't be used");
                }
            }
        }
    }

    /// What a listener serves with: TLS 1.2 or 1.3, HTTP/1.1.
    pub(crate) fn server_config(self: &Arc<Self>) -> Result<ServerConfig, CertificateError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(CertificateError::Pair)?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load().key.clone())
    }
}

impl Current {
    fn read(files: &CertificateFiles) -> Result<Self, CertificateError> {
        // Looked at before they are read: a change in between is found the next time.
        let seen = Self::seen(files)?;
        let pem = |path: &Path| {
            let path = path.to_owned();
            move |cause| CertificateError::Pem { path, cause }
        };
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(&bytes(&files.cert)?).collect::<Result<_, _>>().map_err(pem(&files.cert))?;
        if chain.is_empty() {
            return Err(CertificateError::Empty { path: files.cert.clone() });
        }
        let key = PrivateKeyDer::from_pem_slice(&bytes(&files.key)?).map_err(pem(&files.key))?;
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(CertificateError::Pair)?;
        Ok(Self { seen, key: Arc::new(key) })
    }

    fn seen(files: &CertificateFiles) -> Result<[Seen; 2], CertificateError> {
        Ok([Seen::at(&files.cert)?, Seen::at(&files.key)?])
    }
}

impl Seen {
    fn at(path: &Path) -> Result<Self, CertificateError> {
        let about = fs::metadata(path).map_err(|cause| CertificateError::File { path: path.to_owned(), cause })?;
        Ok(Self { inode: about.ino(), length: about.len(), modified: (about.mtime(), about.mtime_nsec()) })
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, CertificateError> {
    fs::read(path).map_err(|cause| CertificateError::File { path: path.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, name: &str) -> CertificateFiles {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let files = CertificateFiles { cert: dir.join("tls.crt"), key: dir.join("tls.key") };
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        fs::write(&files.cert, made.cert.pem()).unwrap();
        files
    }

    fn served(certificate: &Certificate) -> Vec<u8> {
        certificate.current.load().key.cert[0].to_vec()
    }

    #[test]
    fn what_was_replaced_is_served_and_what_is_broken_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let files = write(dir.path(), "one.example");
        let certificate = Certificate::load(files.clone()).unwrap();
        assert!(!certificate.reload().unwrap());
        let first = served(&certificate);

        let other = tempfile::tempdir().unwrap();
        let others = write(other.path(), "two.example");
        fs::copy(&others.cert, &files.cert).unwrap();
        assert!(matches!(certificate.reload(), Err(CertificateError::Pair(_))), "a new certificate beside an old key");
        assert_eq!(served(&certificate), first);
        fs::copy(&others.key, &files.key).unwrap();
        assert!(certificate.reload().unwrap());
        assert_ne!(served(&certificate), first);

        fs::write(&files.cert, "").unwrap();
        assert!(matches!(certificate.reload(), Err(CertificateError::Empty { .. })));
        fs::remove_file(&files.cert).unwrap();
        assert!(matches!(certificate.reload(), Err(CertificateError::File { .. })));
        assert_ne!(served(&certificate), first);
    }
}
