//! Sealing what is stored under the key of now: the place of each value, as whoever sealed it named it.

use model::{ConnectionId, IssuerId, ServerId};
use store::SealedValue;
use vault::VaultError;

use super::{Keyring, KeyringError, Place, ROOT_PLACE, ROOT_ROW};
use crate::{fleet, issuers, signing, upstream_login};

/// How a value lies in its row.
struct Lying {
    place: Place,
    /// The version stands in front of the value, as the row has no column for it.
    within: bool,
}

impl Keyring {
    /// The number of the data key under which a value is sealed.
    pub(crate) fn key_of_value(value: &SealedValue) -> Result<u32, KeyringError> {
        let (_, envelope) = split(value)?;
        vault::data_key_of(envelope).map_err(KeyringError::Unreadable)
    }

    /// The value under the key that seals now, for the same place and version. It is left as it is where it lies.
    pub(crate) async fn reseal(&self, value: &SealedValue) -> Result<Vec<u8>, KeyringError> {
        let (lying, envelope) = split(value)?;
        if !lying.within {
            let plain = self.open(lying.place, value.version, envelope).await?;
            return self.seal(lying.place, value.version, &plain).await;
        }
        let plain = self.open_row(lying.place, &value.sealed).await?;
        let version = value.sealed.first_chunk::<8>().copied().map_or(0, i64::from_be_bytes);
        self.seal_row(lying.place, version, &plain).await
    }
}

fn split(value: &SealedValue) -> Result<(Lying, &[u8]), KeyringError> {
    let damaged = || KeyringError::Unreadable(VaultError::NotAnEnvelope);
    let lying = lying(value).ok_or_else(damaged)?;
    let envelope = if lying.within { value.sealed.get(8..).ok_or_else(damaged)? } else { &value.sealed };
    Ok((lying, envelope))
}

fn lying(value: &SealedValue) -> Option<Lying> {
    let (tenant, record) = (value.tenant, value.record);
    let counted = |place| Some(Lying { place, within: false });
    let place = match (value.kind, value.field.as_str()) {
        ("connection", "credential") => return counted(Place::credential(tenant, ConnectionId(record))),
        ("connection", "token") => return counted(Place::token(tenant, ConnectionId(record))),
        ("server", _) => return counted(Place::auth_secret(tenant, ServerId(record))),
        ("upstream_client", issuer) => upstream_login::client_place(tenant, ServerId(record), issuer),
        ("issuer", _) => issuers::secret_place(tenant, IssuerId(record)),
        ("sealed", ROOT_ROW) => ROOT_PLACE,
        ("sealed", signing::ROW) => signing::PLACE,
        ("sealed", fleet::SEALING_KEYS_ROW) => fleet::SEALING_KEYS_PLACE,
        _ => return None,
    };
    Some(Lying { place, within: true })
}
