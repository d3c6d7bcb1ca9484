//! What header lines are made of: the server's own secrets, what a person gave, and what was obtained with it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::ConnectionId;
use store::{ConnectionRecord, PutToken, ServerRecord, StoreError};
use wire::Unresolved;

use super::{Credentials, busy, unresolved};
use crate::auth::{AuthConfig, AuthSecret, Credential, Token, TokenSource};
use crate::keyring::{KeyringError, Place};
use crate::references::ReferenceError;
use crate::servers::own_secrets;

/// Connections of which is remembered what their references led to.
const REMEMBERED: usize = 65_536;
/// When to ask again for what the vault or the database can't give now.
const SOON: Duration = Duration::from_secs(1);
const SEALED: Duration = Duration::from_secs(5);

/// What references led to when lines of a generation went out: fingerprints, by connection.
#[derive(Default)]
pub(super) struct Shown(Mutex<HashMap<ConnectionId, (i64, [u8; 16])>>);

impl Shown {
    fn get(&self, id: ConnectionId, generation: i64) -> Option<[u8; 16]> {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.get(&id).filter(|(of, _)| *of == generation).map(|(_, print)| *print)
    }

    fn put(&self, id: ConnectionId, generation: i64, print: [u8; 16]) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.len() >= REMEMBERED {
            shown.clear();
        }
        shown.insert(id, (generation, print));
    }
}

/// Where the sealed token of a connection belongs.
pub(crate) fn token_place(record: &ConnectionRecord) -> Place {
    Place::token(record.tenant, record.id)
}

/// Where the sealed credential of a connection belongs.
pub(crate) fn credential_place(record: &ConnectionRecord) -> Place {
    Place::credential(record.tenant, record.id)
}

/// Whether another token can be had, with the one that is there or without one.
pub(crate) fn is_renewable(config: &AuthConfig, token: Option<&Token>, credential: &Credential) -> bool {
    match (config.source(), token) {
        (TokenSource::Static, _) => false,
        (_, Some(token)) => config.is_renewable(token, credential),
        (TokenSource::AuthorizationCode(_), None) => credential.refresh_token().is_some(),
        (_, None) => true,
    }
}

impl Credentials {
    /// The server's own secrets.
    pub(super) async fn server_secret(&self, server: &ServerRecord) -> Result<AuthSecret, Unresolved> {
        own_secrets(&self.inner.keyring, server).await.map_err(closed)
    }

    /// What a person gave, sealed or by reference; `None` if that is nothing.
    pub(crate) async fn open_credential(&self, record: &ConnectionRecord) -> Result<Option<Credential>, Unresolved> {
        if let Some(sealed) = &record.credential {
            let place = credential_place(record);
            let plain = self.inner.keyring.open(place, record.credential_version, sealed).await.map_err(closed)?;
            return Credential::from_json(&plain).map(Some).ok_or_else(unreadable);
        }
        let Some(reference) = &record.reference else { return Ok(None) };
        let found = self.inner.references.read(record.tenant, reference, false).await.map_err(unreachable)?;
        read(&found).map(Some)
    }

    /// What was obtained, or what the person gave as a token.
    pub(super) async fn token_of(
        &self,
        record: &ConnectionRecord,
        credential: &Credential,
    ) -> Result<Option<Token>, Unresolved> {
        if let Some(sealed) = &record.token {
            let place = token_place(record);
            let plain = self.inner.keyring.open(place, record.token_generation, sealed).await.map_err(closed)?;
            // What marks the generation of a reference is no token.
            if let Some(token) = Token::from_json(&plain) {
                return Ok(Some(token));
            }
        }
        Ok(Token::from_credential(credential, record.updated_at))
    }

    /// Follows a reference whose content is another than before: the connection gets another generation, which proxies
    /// hear of. `refused` asks the source anew.
    pub(super) async fn followed(
        &self,
        record: &ConnectionRecord,
        refused: bool,
    ) -> Result<Option<ConnectionRecord>, Unresolved> {
        let Some(reference) = &record.reference else { return Ok(None) };
        let found = self.inner.references.read(record.tenant, reference, refused).await.map_err(unreachable)?;
        let print = self.inner.keyring.fingerprint(record.tenant, &found).await.map_err(closed)?;
        let known = self.inner.shown.get(record.id, record.token_generation);
        let changed = match known {
            Some(known) => known != print,
            // Nobody here knows what the others were given, and that was refused.
            None => refused,
        };
        if !changed {
            self.inner.shown.put(record.id, record.token_generation, print);
            return Ok(None);
        }
        let next = record.token_generation + 1;
        let place = token_place(record);
        let token = self.inner.keyring.seal(place, next, b"{}").await.map_err(closed)?;
        let put = PutToken {
            lease: None,
            expected_generation: record.token_generation,
            token,
            expires_at: None,
            refreshable: false,
            fingerprints: Vec::new(),
        };
        let tenant = self.inner.store.tenant(record.tenant);
        let newer = match tenant.put_token(record.id, put).await {
            Ok(committed) => Some(committed.value),
            // Another replica was first.
            Err(StoreError::TokenStale { .. }) => tenant.connection(record.id).await.map_err(|error| away(&error))?,
            Err(error) => return Err(away(&error)),
        };
        let newer = newer.ok_or_else(|| unresolved("connection_required", "the connection is gone"))?;
        self.inner.shown.put(newer.id, newer.token_generation, print);
        Ok(Some(newer))
    }
}

fn read(bytes: &[u8]) -> Result<Credential, Unresolved> {
    let text = std::str::from_utf8(bytes).ok();
    let read = text.and_then(|text| Credential::parse_str(text).ok());
    read.ok_or_else(|| unresolved("credential_unreadable", "what the reference leads to is no credential"))
}

fn unreadable() -> Unresolved {
    unresolved("credential_unreadable", "the stored secret can't be read: it has to be given again")
}

pub(super) fn closed(error: KeyringError) -> Unresolved {
    tracing::error!(error = %telemetry::chain(&error), "a secret can't be opened or sealed");
    match error {
        KeyringError::Unreadable(_) => unreadable(),
        KeyringError::Unavailable(_) => Unresolved {
            retry_after: Some(SEALED),
            ..unresolved("sealed", "the key that opens secrets can't be had now")
        },
        KeyringError::Store(error) => away(&error),
    }
}

pub(super) fn away(error: &StoreError) -> Unresolved {
    tracing::warn!(error = %telemetry::chain(error), "the database can't be used for a credential");
    busy("the database can't be used now", SOON)
}

fn unreachable(error: ReferenceError) -> Unresolved {
    match error {
        ReferenceError::Unavailable => busy(&error.to_string(), SEALED),
        _ => unresolved("credential_unreadable", &error.to_string()),
    }
}
