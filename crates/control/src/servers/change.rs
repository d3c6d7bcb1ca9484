//! A server is changed. Secrets go nowhere but where they were given for.

use model::{Generation, Holder, Transport, crash_here};
use store::{Actor, ServerPatch, ServerRecord, StoreError, TenantStore};

use super::settings::{ELSEWHERE, GivenAuth, Secrets, again, elsewhere, fits, given_again, moved, secrets, stored};
use super::{Changed, ServersError};
use crate::App;
use crate::auth::{AuthConfig, Credential};
use crate::connections::{Asker, Create, Given, Patch};
use crate::rest::fields::Change;

/// What an admin wants changed.
#[derive(Debug)]
pub(crate) struct ChangeServer {
    /// Everything but what secrets have to do with.
    pub(crate) patch: ServerPatch,
    /// How it is authenticated to.
    pub(crate) auth: Option<GivenAuth>,
    /// Of the global connection.
    pub(crate) credential: Change<Credential>,
}

impl From<ServerPatch> for ChangeServer {
    fn from(patch: ServerPatch) -> Self {
        Self { patch, auth: None, credential: Change::Keep }
    }
}

/// Changes a record. Another URL without a transport is found out about again; the same one is not. Where a secret would
/// go elsewhere than it was given for, it must come again with the change: the old one is gone before the new place is
/// known to any proxy.
pub(crate) async fn change(
    app: &App,
    tenant: &TenantStore,
    actor: &Actor,
    asker: Asker,
    record: &ServerRecord,
    expected: Option<Generation>,
    change: ChangeServer,
) -> Result<Changed, ServersError> {
    let ChangeServer { mut patch, mut auth, credential } = change;
    if let Some(url) = &patch.url {
        app.servers.check_url(tenant.id(), url).await?;
        if *url == record.spec.url {
            // Whoever moved it in the meantime is not overruled by who wanted nothing changed.
            patch.url = None;
        } else {
            patch.transport = patch.transport.or(Some(Transport::Auto));
        }
    }
    if expected.is_some_and(|expected| expected != record.spec.generation) {
        return Err(StoreError::Stale { current: record.spec.generation }.into());
    }
    let before = AuthConfig::from_stored(&record.auth).unwrap_or_default();
    let config = auth.as_ref().map_or(&before, |given| &given.config);
    let moved = moved(record, patch.url.as_ref(), config);
    if let Change::Set(credential) = &credential {
        fits(config, credential)?;
    }
    if moved {
        given_again(tenant, record.spec.id, !matches!(credential, Change::Keep)).await?;
        if auth.is_none() && record.auth_secret.is_some() {
            let wrong = before.sealed().into_iter().map(again).collect();
            return Err(ServersError::Fields(super::settings::within("auth", wrong)));
        }
    }
    let warnings = match &mut auth {
        Some(given) => {
            let secrets = secrets(&app.keyring, record, given, moved).await?;
            // What is there already is not written again.
            if !matches!(secrets, Secrets::Kept) || given.config != before {
                let of = (tenant.id(), record.spec.id);
                let version = record.auth_secret_version;
                patch.auth = Some(stored(&app.keyring, of, &given.config, &secrets, version).await?);
            }
            std::mem::take(&mut given.warnings)
        }
        None => Vec::new(),
    };
    if matches!(credential, Change::Clear) || (moved && !matches!(credential, Change::Keep)) {
        clear(app, tenant, actor, record).await?;
    }
    // What was judged is what is changed: this record, and connections that got no secret since.
    patch.bare = moved;
    let judged = (patch.url.is_some() || patch.auth.is_some()).then_some(record.spec.generation);
    let committed = match tenant.patch_server(actor, record.spec.id, expected.or(judged), patch).await {
        Err(StoreError::NotBare) => return Err(elsewhere(ELSEWHERE.to_owned())),
        committed => committed?,
    };
    crash_here("change.committed");
    let mut changed = Changed { warnings, ..app.servers.told(committed).await };
    if let Change::Set(credential) = credential {
        changed.connection = Some(put(app, tenant, actor, asker, &changed.record, credential).await?);
    }
    Ok(changed)
}

/// Forgets the credential of the global connection, if there is one.
async fn clear(app: &App, tenant: &TenantStore, actor: &Actor, server: &ServerRecord) -> Result<(), ServersError> {
    if let Some(global) = tenant.connection_of(server.spec.id, Holder::Global).await?
        && global.has_credentials()
    {
        let patch = Patch { given: Change::Clear, ..Patch::nothing() };
        app.connections.patch(tenant, actor, server, &global, None, &patch).await?;
    }
    Ok(())
}

/// Gives the global connection this credential, and makes it where there is none.
async fn put(
    app: &App,
    tenant: &TenantStore,
    actor: &Actor,
    asker: Asker,
    server: &ServerRecord,
    credential: Credential,
) -> Result<model::ConnectionId, ServersError> {
    let given = Change::Set(Given::Credential(credential));
    let changed = match tenant.connection_of(server.spec.id, Holder::Global).await? {
        Some(global) => {
            let patch = Patch { given, ..Patch::nothing() };
            app.connections.patch(tenant, actor, server, &global, None, &patch).await?
        }
        None => {
            let create = Create {
                scope: Some(model::Scope::Global),
                holder: None,
                display_name: None,
                external_subject: None,
                given,
                meta: None,
                status: None,
            };
            app.connections.create(tenant, actor, asker, server, create).await?
        }
    };
    Ok(changed.record.id)
}
