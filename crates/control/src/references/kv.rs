//! Credentials in a KV store of the Vault kind (version 2), over the operator's client.

use std::path::PathBuf;
use std::time::Duration;

use egress::operator::Client;
use http::{Method, StatusCode};
use model::TenantId;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{MAX_CREDENTIAL, ReferenceError, ReferenceHttp};

/// How long an answer may take.
const TIME: Duration = Duration::from_secs(10);
/// Bytes of a token.
const MAX_TOKEN: u64 = 4 << 10;

/// The store.
pub(super) struct Kv {
    client: Client,
    token_file: PathBuf,
    prefix: String,
}

impl Kv {
    /// `None` for a URL that nothing can be asked at, which the configuration refuses.
    pub(super) fn new(http: &ReferenceHttp) -> Option<Self> {
        let client = Client::new(http.url.clone()).ok()?.within(TIME);
        Some(Self { client, token_file: http.token_file.clone(), prefix: http.prefix.clone() })
    }

    /// The members of a secret, as JSON.
    pub(super) async fn read(&self, tenant: TenantId, name: &[String]) -> Result<Zeroizing<Vec<u8>>, ReferenceError> {
        let token = self.token().await?;
        let name: Vec<String> = name.iter().map(|segment| encoded(segment)).collect();
        let path = format!("/{}/{tenant}/{}", self.prefix, name.join("/"));
        let headers = [("x-vault-token", token.as_str()), ("accept", "application/json")];
        let answer = self.client.request(Method::GET, &path, &headers, None).await;
        let (status, _, body) = answer.map_err(|error| {
            tracing::warn!(%error, "the store of credentials by reference can't be asked");
            ReferenceError::Unavailable
        })?;
        match status {
            StatusCode::OK => members(&body),
            StatusCode::NOT_FOUND => Err(ReferenceError::Missing),
            status => {
                tracing::warn!(%status, "the store of credentials by reference refused");
                Err(ReferenceError::Unavailable)
            }
        }
    }

    async fn token(&self) -> Result<Zeroizing<String>, ReferenceError> {
        use tokio::io::AsyncReadExt as _;
        let unreadable = |error: std::io::Error| {
            tracing::warn!(%error, "`reference_http_token_file` can't be read");
            ReferenceError::Unavailable
        };
        let file = tokio::fs::File::open(&self.token_file).await.map_err(unreadable)?;
        let mut text = Zeroizing::new(String::with_capacity(usize::try_from(MAX_TOKEN).unwrap_or(0)));
        file.take(MAX_TOKEN).read_to_string(&mut text).await.map_err(unreadable)?;
        Ok(Zeroizing::new(text.trim().to_owned()))
    }
}

/// `data.data` of the answer.
fn members(body: &[u8]) -> Result<Zeroizing<Vec<u8>>, ReferenceError> {
    let answer: Value = serde_json::from_slice(body).map_err(|_| ReferenceError::Malformed)?;
    let data = answer.pointer("/data/data").filter(|data| data.is_object()).ok_or(ReferenceError::Missing)?;
    let text = Zeroizing::new(data.to_string().into_bytes());
    if text.len() > MAX_CREDENTIAL { Err(ReferenceError::Malformed) } else { Ok(text) }
}

/// A segment of a path: everything but unreserved characters (RFC 3986) is written in hex.
fn encoded(segment: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            // Writing into a text can't fail.
            _ = write!(text, "%{byte:02X}");
        }
    }
    text
}
