//! A credential as it is kept: checked against what its server needs, sealed, and recognizable.

use model::{ConnectionId, TenantId};
use store::{ConnectionRecord, NewCredential};

use super::{ConnectionError, Connections, Given};
use crate::auth::{AuthConfig, Credential};
use crate::keyring::{Keyring, KeyringError, Place};
use crate::rest::fields::FieldError;

/// Secrets of one credential by which it can be found.
const MAX_FINGERPRINTS: usize = 64;

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
    let sealed = keyring.seal(Place::credential(tenant, id), version, &credential.to_json()).await?;
    let mut secrets = credential.secret_values();
    secrets.truncate(MAX_FINGERPRINTS);
    Ok((sealed, keyring.fingerprints(tenant, &secrets).await?))
}

/// Refuses a credential that does not fit its server, with the paths of the whole body.
pub(super) fn fits(auth: &AuthConfig, credential: &Credential) -> Result<(), ConnectionError> {
    auth.fits(credential).map_err(|wrong| ConnectionError::Fields(wrong.into_iter().map(within).collect()))
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
        let place = Place::credential(record.tenant, record.id);
        match self.keyring.open(place, record.credential_version, sealed).await {
            Ok(plain) => Credential::from_json(&plain).map(Some).ok_or(ConnectionError::Unreadable),
            Err(KeyringError::Unreadable(_)) => Err(ConnectionError::Unreadable),
            Err(error) => Err(error.into()),
        }
    }
}
