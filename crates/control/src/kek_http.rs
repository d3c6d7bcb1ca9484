//! A KEK that never leaves its service: the transit engine of Vault and OpenBao, or what speaks like it.
//!
//! What is encrypted there is the data key with its tenant and number behind it, looked at after it was decrypted; the
//! same goes along as the context, for keys that are derived by it.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use egress::EgressError;
use egress::operator::Client;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use vault::{KekError, KekProvider, KeyOf, MAX_KEK_ID, MAX_WRAPPED, PLATFORM, VaultError};
use zeroize::Zeroizing;

use crate::kek::HttpSettings;
use crate::timers::scaled;

/// How long one question may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Bytes of a token's file that are read.
const TOKEN: u64 = 8 * 1024;
/// Key, tenant, number.
const PLAIN: usize = 32 + 16 + 4;

/// The service, and its key.
pub(crate) struct HttpKek {
    client: Client,
    key: String,
    token_file: PathBuf,
    id: String,
}

/// Why the service can't be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum HttpKekError {
    /// The address, or the authorities.
    #[error("the address or `kek_http_ca` can't be used")]
    Client(#[source] EgressError),
    /// A file.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// Others may read the token.
    #[error("others may reach the file of the token, {}: `chmod 600` it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
    },
    /// The name under which rows keep it would be too long.
    #[error("the address is too long")]
    Long,
}

/// Why an answer is of no use.
#[derive(Debug, thiserror::Error)]
enum AnswerError {
    #[error("the service can't be asked")]
    Egress(#[from] EgressError),
    #[error("its token can't be read")]
    Token(#[from] HttpKekError),
    #[error("the service answered {0}")]
    Status(StatusCode),
    #[error("the answer is none of a transit engine")]
    Shape,
}

impl HttpKek {
    pub(crate) fn open(settings: &HttpSettings) -> Result<Self, HttpKekError> {
        let HttpSettings { url, key, token_file, ca } = settings;
        let mut client = Client::new(url.clone()).map_err(HttpKekError::Client)?.within(scaled(LIMIT));
        if let Some(path) = ca {
            let pem = std::fs::read(path).map_err(|cause| HttpKekError::File { path: path.clone(), cause })?;
            client = client.trusting(&pem).map_err(HttpKekError::Client)?;
        }
        let place = url.as_str().trim_end_matches('/').split_once("://").map_or("", |(_, place)| place);
        let id = format!("transit:{place}/{key}");
        if id.len() > MAX_KEK_ID {
            return Err(HttpKekError::Long);
        }
        let kek = Self { client, key: key.clone(), token_file: token_file.clone(), id };
        kek.token()?;
        Ok(kek)
    }

    /// Read for each question: whoever renews tokens writes the file anew.
    fn token(&self) -> Result<Zeroizing<String>, HttpKekError> {
        use std::io::Read as _;
        let path = &self.token_file;
        let file = |cause| HttpKekError::File { path: path.clone(), cause };
        let opened = std::fs::File::open(path).map_err(file)?;
        if !vault::is_closed(&opened.metadata().map_err(file)?) {
            return Err(HttpKekError::Open { path: path.clone() });
        }
        let mut text = Zeroizing::new(String::new());
        opened.take(TOKEN).read_to_string(&mut text).map_err(file)?;
        Ok(Zeroizing::new(text.trim().to_owned()))
    }

    /// The member `wanted` of what the service says; `None` where it refuses what it was sent.
    async fn ask(&self, verb: &str, body: Value, wanted: &str) -> Result<Option<Zeroizing<String>>, AnswerError> {
        let token = self.token()?;
        let body = Zeroizing::new(body.to_string());
        let headers = [("x-vault-token", token.as_str()), ("content-type", "application/json")];
        let path = format!("/{verb}/{}", self.key);
        let asked = self.client.request(Method::POST, &path, &headers, Some(Bytes::copy_from_slice(body.as_bytes())));
        let (status, _, answer) = asked.await?;
        match status {
            StatusCode::OK => {}
            StatusCode::BAD_REQUEST => return Ok(None),
            status => return Err(AnswerError::Status(status)),
        }
        let answer: Value = serde_json::from_slice(&answer).map_err(|_| AnswerError::Shape)?;
        let text = answer.get("data").and_then(|data| data.get(wanted)).and_then(Value::as_str);
        let text = text.filter(|text| text.len() <= MAX_WRAPPED).ok_or(AnswerError::Shape)?;
        Ok(Some(Zeroizing::new(text.to_owned())))
    }

    fn unavailable(&self, error: AnswerError) -> KekError {
        KekError::Unavailable { kek: self.id.clone(), cause: error.into() }
    }
}

#[async_trait]
impl KekProvider for HttpKek {
    fn id(&self) -> &str {
        &self.id
    }

    async fn wrap(&self, of: KeyOf, plain: &[u8; 32]) -> Result<Vec<u8>, KekError> {
        let mut whole = Zeroizing::new(Vec::with_capacity(PLAIN));
        whole.extend_from_slice(plain);
        whole.extend_from_slice(&context(of));
        let plaintext = Zeroizing::new(STANDARD.encode(&whole));
        let body = json!({"plaintext": *plaintext, "context": STANDARD.encode(context(of))});
        let asked = self.ask("encrypt", body, "ciphertext").await.map_err(|error| self.unavailable(error))?;
        let refused = || self.unavailable(AnswerError::Status(StatusCode::BAD_REQUEST));
        Ok(asked.ok_or_else(refused)?.as_bytes().to_vec())
    }

    async fn unwrap(&self, of: KeyOf, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, KekError> {
        let ciphertext = std::str::from_utf8(wrapped).map_err(|_| VaultError::Altered)?;
        let body = json!({"ciphertext": ciphertext, "context": STANDARD.encode(context(of))});
        let asked = self.ask("decrypt", body, "plaintext").await.map_err(|error| self.unavailable(error))?;
        let text = asked.ok_or(VaultError::Altered)?;
        let whole = Zeroizing::new(STANDARD.decode(text.as_bytes()).map_err(|_| VaultError::Altered)?);
        let (key, behind) = whole.split_first_chunk::<32>().ok_or(VaultError::Altered)?;
        if behind != context(of) {
            return Err(VaultError::Altered.into());
        }
        Ok(Zeroizing::new(*key))
    }

    async fn health(&self) -> Result<(), KekError> {
        self.wrap(KeyOf { tenant: PLATFORM, id: 0 }, &[0; 32]).await.map(drop)
    }
}

fn context(of: KeyOf) -> [u8; 20] {
    let mut context = [0; 20];
    let parts = of.tenant.0.as_bytes().iter().copied().chain(of.id.to_be_bytes());
    context.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    context
}

#[cfg(test)]
mod tests;
