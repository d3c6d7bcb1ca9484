//! A connection's tokens are taken back where they were granted, and forgotten here.

use model::{ConnectionStatus, Generation, crash_here};
use store::{
    Actor, ConnectionPatch, ConnectionRecord, CredentialChange, NewCredential, ServerRecord, StoreError, TenantStore,
};

use super::{Changed, ConnectionError, MAX_ATTEMPTS};
use crate::App;
use crate::upstream_login::Told;

/// Tells the authorization server, as far as it listens, and takes every secret of the connection away whatever it says.
/// Where people log in, the connection waits for the next login from then on.
pub(crate) async fn revoke(
    app: &App,
    tenant: &TenantStore,
    actor: &Actor,
    server: &ServerRecord,
    record: &ConnectionRecord,
) -> Result<(Changed, Told), ConnectionError> {
    let told = app.upstream_login.revoke(server, record).await;
    crash_here("connection.revoked");
    let login = server.spec.binding.as_ref().is_some_and(|binding| binding.login);
    let mut record = record.clone();
    for _ in 1..MAX_ATTEMPTS {
        match forgotten(tenant, actor, &record, login).await {
            // A refresh or a login came in between: what it brought goes too.
            Err(StoreError::Stale { .. }) => {
                record = tenant.connection(record.id).await?.ok_or(StoreError::NotFound)?
            }
            committed => return Ok((app.connections.told(committed?).await, told)),
        }
    }
    Ok((app.connections.told(forgotten(tenant, actor, &record, login).await?).await, told))
}

async fn forgotten(
    tenant: &TenantStore,
    actor: &Actor,
    record: &ConnectionRecord,
    login: bool,
) -> Result<store::Committed<ConnectionRecord>, StoreError> {
    let waits = login && record.status != ConnectionStatus::Disabled;
    let version = record.credential_version + 1;
    let patch = ConnectionPatch {
        credential: Some(CredentialChange { to: NewCredential::Cleared, version, fingerprints: Vec::new() }),
        status: waits.then_some(ConnectionStatus::ReauthRequired),
        ..ConnectionPatch::default()
    };
    let any: Option<Generation> = None;
    tenant.patch_connection(actor, record.id, any, patch).await
}
