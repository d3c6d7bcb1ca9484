//! What proxies show each other: the certificates of the link, followed as their files change.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ServerConfig};
use tokio::sync::watch;

use super::Peers;
use crate::link::LinkError;
use crate::timers::scaled;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(10);

/// Where they are, and whose certificates are taken.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    pub(crate) ca: PathBuf,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    /// The pool that must be named.
    pub(crate) pool: String,
}

/// The certificates in use, for both ends.
pub(crate) struct Certificates {
    files: Files,
    /// CA, certificate and key as they were read last.
    texts: [String; 3],
    server: watch::Sender<Arc<ServerConfig>>,
    client: watch::Sender<Arc<ClientConfig>>,
}

impl Certificates {
    /// Reads the files; at the start of the process they must be good.
    pub(crate) fn load(files: Files) -> Result<Self, LinkError> {
        let texts = files.read()?;
        let (server, client) = files.settings(&texts)?;
        Ok(Self { files, texts, server: watch::Sender::new(server), client: watch::Sender::new(client) })
    }

    /// What the listener serves with.
    pub(crate) fn server(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.server.subscribe()
    }

    /// What others are spoken with.
    pub(crate) fn client(&self) -> watch::Receiver<Arc<ClientConfig>> {
        self.client.subscribe()
    }

    /// Follows the files for ever. Files that can't be used, half written ones for instance, change nothing.
    pub(crate) async fn follow(mut self, peers: Arc<Peers>) {
        loop {
            tokio::time::sleep(scaled(LOOK)).await;
            match self.look() {
                Ok(false) => (),
                Ok(true) => {
                    tracing::info!("the certificates for other proxies were replaced");
                    peers.certificates_changed();
                }
                Err(error) => {
                    let error = telemetry::chain(&error).to_string();
                    tracing::error!(error, alarm = true, "the certificates for other proxies can't be read again");
                }
            }
        }
    }

    fn look(&mut self) -> Result<bool, LinkError> {
        let texts = self.files.read()?;
        if texts == self.texts {
            return Ok(false);
        }
        let (server, client) = self.files.settings(&texts)?;
        self.server.send_replace(server);
        self.client.send_replace(client);
        self.texts = texts;
        Ok(true)
    }
}

impl Files {
    fn read(&self) -> Result<[String; 3], LinkError> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).map_err(|source| LinkError::File { path: path.clone(), source })
        };
        Ok([read(&self.ca)?, read(&self.cert)?, read(&self.key)?])
    }

    fn settings(&self, [ca, cert, key]: &[String; 3]) -> Result<(Arc<ServerConfig>, Arc<ClientConfig>), LinkError> {
        let server = wire::peer_server_tls(ca, cert, key, &self.pool).map_err(LinkError::Tls)?;
        let client = wire::peer_client_tls(ca, cert, key, &self.pool).map_err(LinkError::Tls)?;
        Ok((Arc::new(server), Arc::new(client)))
    }
}
