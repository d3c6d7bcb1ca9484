//! How people come in, and what they let clients do.

use model::{GrantId, UserId};
use store::{ClientKind, ClientRecord, GrantPage, NewCode, NewGrant, NewSession, SessionPage};

use super::*;

/// What a user's link and code are known by, so that others can try them.
fn hash_of(id: uuid::Uuid) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[..16].copy_from_slice(id.as_bytes());
    hash
}

/// The client of which a user heard.
fn client_of(user: UserId) -> String {
    format!("client-{user}")
}

fn new_code(user: UserId, ids: &Ids) -> NewCode {
    NewCode {
        hash: hash_of(user.0),
        user,
        issuer: None,
        client: ids.mark.clone(),
        redirect_uri: ids.mark.clone(),
        resource: ids.mark.clone(),
        scope: "mcp".to_owned(),
        challenge: ids.mark.clone(),
        expires_at: i64::MAX,
    }
}

fn new_grant(user: UserId, ids: &Ids) -> NewGrant {
    let id = GrantId::fresh();
    NewGrant {
        id,
        user,
        issuer: None,
        client: client_of(user),
        client_name: ids.mark.clone(),
        resource: ids.mark.clone(),
        scope: "mcp".to_owned(),
        refresh_hash: hash_of(id.0),
        expires_at: i64::MAX,
    }
}

pub(super) fn sign_in() -> Vec<Way> {
    let mut ways = ways! { ToUnknown:
        password = |tenant, ids| tenant.password(ids.user);
        set_password = |tenant, ids| async move { tenant.set_password(&actor(), ids.user, ids.mark.clone()).await };
        remove_password = |tenant, ids| async move { tenant.remove_password(&actor(), ids.user).await };
        create_link = |tenant, ids| async move { tenant.create_link(&actor(), ids.user, hash_of(ids.user.0), i64::MAX).await };
        session = |tenant, ids| tenant.session(ids.session);
        sessions = |tenant, ids| tenant.sessions(SessionPage { user: Some(ids.user), limit: 50, ..Default::default() });
        end_session_by_id = |tenant, ids| async move { tenant.end_session_by_id(&actor(), ids.session).await };
        end_sessions_of = |tenant, ids| async move { tenant.end_sessions_of(&actor(), ids.user).await.map(|ended| ended.value) };
        client = |tenant, ids| async move { tenant.client(&client_of(ids.user)).await };
        touch_client = |tenant, ids| async move { tenant.touch_client(&client_of(ids.user), i64::MAX).await };
        remove_client = |tenant, ids| async move { tenant.remove_client(&actor(), &client_of(ids.user)).await };
        create_code = |tenant, ids| async move { tenant.create_code(new_code(ids.user, &ids)).await };
        take_code = |tenant, ids| tenant.take_code(hash_of(ids.user.0));
        create_grant = |tenant, ids| async move { tenant.create_grant(&actor(), new_grant(ids.user, &ids)).await };
        grant = |tenant, ids| tenant.grant(ids.grant);
        grants = |tenant, ids| tenant.grants(GrantPage { user: Some(ids.user), limit: 50, ..Default::default() });
        grant_of_refresh = |tenant, ids| tenant.grant_of_refresh(hash_of(ids.grant.0));
        rotate_refresh = |tenant, ids| tenant.rotate_refresh(hash_of(ids.grant.0), hash_of(GrantId::fresh().0), 1_800_000_000_000_000);
        revoke_grant = |tenant, ids| async move { tenant.revoke_grant(&actor(), ids.grant).await };
        revoke_grants_of = |tenant, ids| async move { tenant.revoke_grants_of(&actor(), ids.user).await.map(|revoked| revoked.value) };
    };
    ways.extend(ways! { ToItsOwn:
        set_password = |tenant, ids| async move { tenant.set_password(&actor(), ids.own_user, ids.mark.clone()).await };
        create_client = |tenant, ids| {
            let record = ClientRecord {
                id: client_of(ids.own_user),
                kind: if ids.coin { ClientKind::Document } else { ClientKind::Registered },
                name: ids.mark.clone(),
                redirect_uris: vec![ids.mark.clone()],
                created_at: 1,
                used_at: None,
                expires_at: i64::MAX,
            };
            async move { tenant.create_client(record).await }
        };
        create_code = |tenant, ids| async move { tenant.create_code(new_code(ids.own_user, &ids)).await };
        create_grant = |tenant, ids| async move { tenant.create_grant(&actor(), new_grant(ids.own_user, &ids)).await };
        sessions = |tenant, ids| tenant.sessions(SessionPage { after: Some(ids.session), limit: 50, ..Default::default() });
        grants = |tenant, ids| tenant.grants(GrantPage { after: Some(ids.grant), live: Some(ids.coin), limit: 50, ..Default::default() });
    });
    ways
}

/// A session of whichever user: that of another tenant is none of this one.
pub(super) fn new_session(tenant: &TenantStore, ids: &Ids) -> NewSession {
    NewSession {
        hash: hash_of(uuid::Uuid::now_v7()),
        tenant: tenant.id(),
        user: if ids.coin { ids.own_user } else { ids.user },
        issuer: None,
        ip: Some(ids.mark.clone()),
        agent: Some(ids.mark.clone()),
        expires_at: i64::MAX,
    }
}
