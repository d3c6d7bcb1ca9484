//! Credentials: connections, their tokens, and what is known of upstreams' authorization servers.

use model::{ConnectionId, ConnectionStatus, Holder, ServerId};
use store::{
    ConnectionHealth, ConnectionPage, ConnectionPatch, CredentialChange, LastError, LoginOutcome,
    NewConnection, NewCredential, NewLoginAttempt, NewTenantKey, NewUpstreamClient, PutLogin, PutToken, TenantKey,
    UpstreamMetadata, VaultJob, Verdict,
};
use uuid::Uuid;

use super::*;

/// The upstream of which a user heard.
fn upstream_of(ids: &Ids) -> String {
    format!("https://{}.example", ids.server)
}

fn new_connection(server: ServerId, holder: Holder, ids: &Ids) -> NewConnection {
    NewConnection {
        display_name: Some(ids.mark.clone()),
        external_subject: Some(ids.fresh_text()),
        credential: Some(ids.mark.clone().into_bytes()),
        fingerprints: vec![[9; 16]],
        token: ids.coin.then(|| vec![4; 9]),
        ..NewConnection::new(ConnectionId::fresh(), server, holder)
    }
}

fn token(ids: &Ids) -> PutToken {
    PutToken {
        lease: ids.coin.then(|| Uuid::from_u128(7)),
        expected_generation: 1,
        token: ids.mark.clone().into_bytes(),
        expires_at: None,
        refreshable: true,
        fingerprints: vec![[8; 16]],
    }
}

fn login(ids: &Ids) -> PutLogin {
    PutLogin {
        expected_version: 1,
        expected_generation: 1,
        token: ids.mark.clone().into_bytes(),
        expires_at: None,
        refreshable: true,
        fingerprints: vec![],
        credential: None,
        external_subject: Some(ids.mark.clone()),
    }
}

fn upstream_client(server: ServerId, ids: &Ids) -> NewUpstreamClient {
    NewUpstreamClient {
        server,
        issuer: upstream_of(ids),
        client_id: ids.mark.clone(),
        secret: Some(ids.mark.clone().into_bytes()),
        auth_method: "client_secret_basic".to_owned(),
        redirect_uri: ids.mark.clone(),
        secret_expires_at: None,
        replaces: ids.coin.then(|| ids.mark.clone()),
    }
}

fn attempt(id: Uuid, server: ServerId, ids: &Ids) -> NewLoginAttempt {
    NewLoginAttempt { id, server, holder: Holder::Global, actor: ids.mark.clone(), expires_at: i64::MAX }
}

fn refused(ids: &Ids) -> Verdict {
    Verdict::Refused {
        status: ids.coin.then_some(ConnectionStatus::ReauthRequired),
        code: "unauthorized".to_owned(),
        message: ids.mark.clone(),
    }
}

fn error(ids: &Ids) -> LastError {
    LastError { code: "invalid_grant".to_owned(), message: ids.mark.clone(), at: 1 }
}

pub(super) fn connections() -> Vec<Way> {
    let mut ways = ways! { ToUnknown:
        connection = |tenant, ids| tenant.connection(ids.connection);
        connection_of = |tenant, ids| tenant.connection_of(ids.server, Holder::Global);
        connection_of = |tenant, ids| tenant.connection_of(ids.server, Holder::User(ids.user));
        connections = |tenant, ids| tenant.connections(ConnectionPage { server: Some(ids.server), limit: 50, ..Default::default() });
        connections = |tenant, ids| tenant.connections(ConnectionPage { holder: Some(Holder::Department(ids.department)), limit: 50, ..Default::default() });
        connections = |tenant, ids| tenant.connections(ConnectionPage { search: Some(ids.login.clone()), limit: 50, ..Default::default() });
        connection_summary = |tenant, ids| async move {
            tenant.connection_summary(&ConnectionPage { server: Some(ids.server), ..Default::default() }).await
        };
        create_connection = |tenant, ids| async move {
            tenant.create_connection(&actor(), new_connection(ids.server, Holder::Global, &ids)).await
        };
        create_connection = |tenant, ids| async move {
            tenant.create_connection(&actor(), new_connection(ids.own_server, Holder::User(ids.user), &ids)).await
        };
        create_connection = |tenant, ids| async move {
            tenant.create_connection(&actor(), new_connection(ids.own_server, Holder::Department(ids.department), &ids)).await
        };
        patch_connection = |tenant, ids| async move {
            let patch = ConnectionPatch { display_name: Some(Some(ids.fresh_text())), ..Default::default() };
            tenant.patch_connection(&actor(), ids.connection, ids.expected, patch).await
        };
        patch_connection = |tenant, ids| async move {
            let to = NewCredential::Sealed(ids.mark.clone().into_bytes());
            let credential = CredentialChange { to, version: 2, fingerprints: vec![[9; 16]] };
            let patch = ConnectionPatch { credential: Some(credential), ..Default::default() };
            tenant.patch_connection(&actor(), ids.connection, None, patch).await
        };
        delete_connection = |tenant, ids| async move { tenant.delete_connection(&actor(), ids.connection, ids.expected).await };
        put_token = |tenant, ids| async move { tenant.put_token(ids.connection, token(&ids)).await };
        put_login = |tenant, ids| async move { tenant.put_login(&actor(), ids.connection, login(&ids)).await };
        lease_refresh = |tenant, ids| tenant.lease_refresh(ids.connection, Uuid::from_u128(7), 1, Duration::from_secs(30));
        release_refresh = |tenant, ids| tenant.release_refresh(ids.connection, Uuid::from_u128(7));
        verdict = |tenant, ids| async move { tenant.verdict(ids.connection, 1, refused(&ids)).await };
        verdict = |tenant, ids| tenant.verdict(ids.connection, 1, Verdict::Accepted);
        drop_token = |tenant, ids| async move {
            tenant.drop_token(ids.connection, 1, ConnectionStatus::ReauthRequired, error(&ids)).await
        };
        upstream_client = |tenant, ids| async move { tenant.upstream_client(ids.server, &upstream_of(&ids)).await };
        put_upstream_client = |tenant, ids| async move { tenant.put_upstream_client(upstream_client(ids.server, &ids)).await };
        drop_upstream_client = |tenant, ids| async move {
            tenant.drop_upstream_client(ids.server, &upstream_of(&ids), &ids.mark).await
        };
        upstream_metadata = |tenant, ids| tenant.upstream_metadata(ids.server);
        put_upstream_metadata = |tenant, ids| tenant.put_upstream_metadata(ids.server, UpstreamMetadata { document: ids.mark.clone(), until: 1 });
        create_login_attempt = |tenant, ids| async move {
            tenant.create_login_attempt(attempt(Uuid::now_v7(), ids.server, &ids)).await
        };
        login_attempt = |tenant, ids| tenant.login_attempt(ids.user.0);
        finish_login_attempt = |tenant, ids| {
            let failed = LoginOutcome::Failed { error: ids.mark.clone() };
            let outcome = if ids.coin { LoginOutcome::Authorized(ids.connection) } else { failed };
            tenant.finish_login_attempt(ids.user.0, outcome)
        };
    };
    ways.extend(ways! { ToItsOwn:
        create_connection = |tenant, ids| async move {
            let holder = if ids.coin { Holder::Global } else { Holder::User(ids.own_user) };
            tenant.create_connection(&actor(), new_connection(ids.own_server, holder, &ids)).await
        };
        create_server_with_connection = |tenant, ids| async move {
            let connection = new_connection(ServerId::fresh(), Holder::Global, &ids);
            tenant.create_server_with_connection(&actor(), server(&ids.fresh_name()), connection).await
        };
        connections = |tenant, ids| {
            let health = Some(if ids.coin { ConnectionHealth::Active } else { ConnectionHealth::Attention });
            tenant.connections(ConnectionPage { after: Some(ids.connection), health, limit: 50, ..Default::default() })
        };
        connection_summary = |tenant, ids| async move { tenant.connection_summary(&ConnectionPage::default()).await };
        // The same secret in all tenants.
        connections_with_fingerprint = |tenant, ids| tenant.connections_with_fingerprint([9; 16]);
        create_login_attempt = |tenant, ids| async move {
            tenant.create_login_attempt(attempt(ids.own_user.0, ids.own_server, &ids)).await
        };
    });
    ways
}

/// The tenant's next data key.
pub(super) async fn put_key(
    platform: &PlatformStore,
    tenant: &TenantStore,
    ids: &Ids,
) -> Result<Vec<TenantKey>, StoreError> {
    let there = platform.tenant_keys(tenant.id()).await?;
    let primary = there.iter().find(|key| key.state == store::KeyState::Primary).map(|key| key.id);
    let wrapped = ids.mark.clone().into_bytes();
    let new = NewTenantKey { tenant: tenant.id(), id: ids.number as u32 & 3, kek_id: vec![1], wrapped };
    platform.put_tenant_key(new, primary).await
}

pub(super) async fn take_job(platform: &PlatformStore, tenant: &TenantStore) -> Result<Option<VaultJob>, StoreError> {
    let owner = Uuid::from_u128(3);
    platform.take_vault_job("rotate", Some(tenant.id()), owner, Duration::from_secs(5)).await
}
