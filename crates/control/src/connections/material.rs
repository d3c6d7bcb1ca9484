//! A credential as it is kept: checked against what its server needs, sealed, and recognizable.

use model::{ConnectionId, TenantId};
use store::{ConnectionRecord, NewCredential};

use super::{ConnectionError, Connections, Given};
use crate::auth::{AuthConfig, Credential};
use crate::keyring::{Keyring, KeyringError, Place};
use crate::rest::code::Code;
use crate::rest::fields::FieldError;

/// Secrets of one credential by which it can be found.
const MAX_FINGERPRINTS: usize = 64;

/// Where a connection's credential is sealed for.
fn place(tenant: TenantId, id: ConnectionId) -> Place {
    Place { tenant, kind: "connection", record: id.0, field: "credential" }
}

/// A credential that is ready to be stored.
pub(crate) struct Kept {
    pub(crate) credential: NewCredential,
    pub(crate) fingerprints: Vec<[u8; 16]>,
}

/// Seals a credential for a connection and a version of its credential, and nothing else.
pub(crate) async fn seal(
    keyring: &Keyring,
    tenant: TenantId,
    id: ConnectionId,
    version: i64,
    credential: &Credential,
) -> Result<(Vec<u8>, Vec<[u8; 16]>), KeyringError> {
    let sealed = keyring.seal(place(tenant, id), version, &credential.to_json()).await?;
    let mut fingerprints = Vec::new();
    for secret in credential.secret_values().into_iter().take(MAX_FINGERPRINTS) {
        fingerprints.push(keyring.fingerprint(tenant, secret.as_bytes()).await?);
    }
    Ok((sealed, fingerprints))
}

/// Refuses a credential that would never become header lines: one that lacks a secret which its server's settings need,
/// or whose secrets can't stand where the settings want them.
pub(super) fn fits(auth: &AuthConfig, credential: &Credential) -> Result<(), ConnectionError> {
    let mut wrong = Vec::new();
    if !auth.is_complete(credential) {
        let missing = auth.required_secrets().into_iter().filter(|name| credential.secret(name).is_none());
        wrong.extend(missing.map(|name| FieldError {
            field: format!("secrets.{name}"),
            code: Code::Required,
            detail: format!("lacks the secret `{name}`, which the server's settings need"),
        }));
    } else if let Err(unfit) = auth.check_credential(credential) {
        wrong = unfit;
    }
    if wrong.is_empty() { Ok(()) } else { Err(ConnectionError::Fields(wrong.into_iter().map(within).collect())) }
}

/// A mistake inside the credential, with its whole path.
pub(crate) fn within(wrong: FieldError) -> FieldError {
    let field = if wrong.field.is_empty() { "credential".to_owned() } else { format!("credential.{}", wrong.field) };
    FieldError { field, ..wrong }
}

impl Connections {
    /// What somebody gave, as it is stored for this version.
    pub(super) async fn kept(
        &self,
        tenant: TenantId,
        id: ConnectionId,
        version: i64,
        given: &Given,
    ) -> Result<Kept, ConnectionError> {
        Ok(match given {
            Given::Credential(credential) => {
                let (sealed, fingerprints) = seal(&self.keyring, tenant, id, version, credential).await?;
                Kept { credential: NewCredential::Sealed(sealed), fingerprints }
            }
            Given::Reference(reference) => {
                Kept { credential: NewCredential::Reference(reference.clone()), fingerprints: Vec::new() }
            }
        })
    }

    /// The credential that is sealed in a record; `None` if there is none here.
    pub(super) async fn opened(&self, record: &ConnectionRecord) -> Result<Option<Credential>, ConnectionError> {
        let Some(sealed) = &record.credential else { return Ok(None) };
        let place = place(record.tenant, record.id);
        match self.keyring.open(place, record.credential_version, sealed).await {
            Ok(plain) => Credential::from_json(&plain).map(Some).ok_or(ConnectionError::Unreadable),
            Err(KeyringError::Unreadable(_)) => Err(ConnectionError::Unreadable),
            Err(error) => Err(error.into()),
        }
    }
}
