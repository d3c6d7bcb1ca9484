//! The certificates of the link, read anew before every connection: a renewed one needs no restart.

use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;

use super::{LinkConfig, LinkError};

/// What to connect with.
pub(super) struct Certificates {
    /// CA, certificate and key as they were read last.
    files: [String; 3],
    tls: Arc<ClientConfig>,
}

impl Certificates {
    /// Reads the files; at the start of the process they must be good.
    pub(super) fn load(config: &LinkConfig) -> Result<Self, LinkError> {
        let files = read(config)?;
        let tls = usable(&files)?;
        Ok(Self { files, tls })
    }

    /// What the files say now. Files that can't be used, half written ones for instance, change nothing.
    pub(super) fn current(&mut self, config: &LinkConfig) -> Arc<ClientConfig> {
        match read(config).and_then(|files| Ok((files != self.files).then_some((usable(&files)?, files)))) {
            Ok(None) => (),
            Ok(Some((tls, files))) => {
                tracing::info!("the certificates of the link were replaced");
                *self = Self { files, tls };
            }
            Err(error) => {
                let error = telemetry::chain(&error).to_string();
                tracing::error!(error, alarm = true, "the certificates of the link can't be read again");
            }
        }
        self.tls.clone()
    }
}

fn read(config: &LinkConfig) -> Result<[String; 3], LinkError> {
    let read =
        |path: &Path| std::fs::read_to_string(path).map_err(|source| LinkError::File { path: path.to_owned(), source });
    Ok([read(&config.ca)?, read(&config.cert)?, read(&config.key)?])
}

fn usable([ca, cert, key]: &[String; 3]) -> Result<Arc<ClientConfig>, LinkError> {
    wire::client_tls(ca, cert, key).map(Arc::new).map_err(LinkError::Tls)
}
