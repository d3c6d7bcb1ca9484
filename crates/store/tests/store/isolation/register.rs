//! Every method by which a tenant's data can be reached, each with how it is called.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use model::{Digest, Generation, IssuerId, KeyRole, KeyScopes, KeyVerifier};
use store::{
    AuditPage, DepartmentPage, DepartmentPatch, EgressRulePage, FetchedKeys, IssuerPage, IssuerPatch, KeyPage,
    KeyPatch, KeyRotation, Manifest, NewDepartment, NewEgressRule, NewIssuer, NewKey, NewUser, Place, PlatformStore,
    ServerPage, ServerPatch, Store, StoreError, StoredAnswer, TenantPatch, TenantStore, UserPage, UserPatch,
};

use super::ids::Ids;
use crate::house::{actor, issuer, server};

/// What a call is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    /// Another tenant's ids are unknown ids: the same answer, and nothing happens.
    ToUnknown,
    /// It takes no ids, or those of others mean something to it by design (a cursor is a place in time): no
    /// other tenant is told of or touched.
    ToItsOwn,
}

type Call = Arc<dyn Fn(Store, TenantStore, Ids) -> BoxFuture<'static, String> + Send + Sync>;

/// One way to call one method.
#[derive(Clone)]
pub(crate) struct Way {
    /// The method's name.
    pub(crate) name: &'static str,
    pub(crate) held: Held,
    pub(crate) call: Call,
}

/// Answers as text, so that they can be compared and searched.
pub(crate) fn told<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> String {
    answer.map_or_else(|error| format!("{error:?}"), |value| format!("{value:?}"))
}

macro_rules! ways {
    ($held:ident: $($name:ident = |$tenant:ident, $ids:ident| $call:expr;)*) => {
        vec![$(Way {
            name: stringify!($name),
            held: Held::$held,
            call: Arc::new(|store: Store, $tenant: TenantStore, $ids: Ids| Box::pin(async move {
                let _ = (&store, &$tenant, &$ids);
                told($call.await)
            })),
        }),*]
    };
}

mod connections;
mod sign_in;
mod toolsets;

/// The register. A method that is missing here fails `every_method_is_registered`.
pub(crate) fn register() -> Vec<Way> {
    let beside = [sign_in::sign_in(), connections::connections(), toolsets::toolsets()].concat();
    [servers(), users(), departments(), keys(), issuers(), beside, others()].concat()
}

fn servers() -> Vec<Way> {
    let mut ways = ways! { ToUnknown:
        server = |tenant, ids| tenant.server(ids.server);
        deleted_server = |tenant, ids| tenant.deleted_server(ids.server);
        server_by_name = |tenant, ids| tenant.server_by_name(&ids.server_name);
        server_by_title = |tenant, ids| tenant.server_by_title(&ids.server_title);
        servers = |tenant, ids| tenant.servers(ServerPage { search: Some(ids.server_name.clone()), limit: 50, ..Default::default() });
        patch_server = |tenant, ids| {
            let patch = ServerPatch { description: Some(Some(ids.mark.clone())), enabled: Some(ids.coin), ..Default::default() };
            async move { tenant.patch_server(&actor(), ids.server, ids.expected, patch).await }
        };
        patch_server = |tenant, ids| {
            let patch = ServerPatch { title: Some(ids.fresh_text()), ..Default::default() };
            async move { tenant.patch_server(&actor(), ids.server, Some(Generation(1)), patch).await }
        };
        delete_server = |tenant, ids| async move { tenant.delete_server(&actor(), ids.server, ids.expected).await };
        restore_server = |tenant, ids| async move { tenant.restore_server(&actor(), ids.server).await };
        purge_server = |tenant, ids| async move { tenant.purge_server(&actor(), ids.server, ids.expected).await };
        server_dependencies = |tenant, ids| tenant.server_dependencies(ids.server);
        set_tool = |tenant, ids| async move { tenant.set_tool(&actor(), ids.server, ids.expected, "drop", ids.coin).await };
        manifest = |tenant, ids| tenant.manifest(ids.server);
        put_manifest = |tenant, ids| tenant.put_manifest(Manifest {
            server: ids.server,
            digest: Digest([7; 32]),
            tools: format!("[\"{}\"]", ids.mark),
            fetched_at: 1,
        });
    };
    ways.extend(ways! { ToItsOwn:
        create_server = |tenant, ids| async move { tenant.create_server(&actor(), server(&ids.fresh_name())).await };
        servers = |tenant, ids| tenant.servers(ServerPage { after: Some(ids.server), deleted: ids.coin, limit: 50, ..Default::default() });
    });
    ways
}

fn users() -> Vec<Way> {
    let mut ways = ways! { ToUnknown:
        user = |tenant, ids| tenant.user(ids.user);
        deleted_user = |tenant, ids| tenant.deleted_user(ids.user);
        user_by_login = |tenant, ids| tenant.user_by_login(&ids.login);
        user_by_external_id = |tenant, ids| tenant.user_by_external_id(&ids.external_id);
        deleted_user_by_external_id = |tenant, ids| tenant.deleted_user_by_external_id(&ids.external_id);
        users = |tenant, ids| tenant.users(UserPage { department: Some(ids.department), limit: 50, ..Default::default() });
        users = |tenant, ids| tenant.users(UserPage { search: Some(ids.login.clone()), limit: 50, ..Default::default() });
        create_user = |tenant, ids| async move { tenant.create_user(&actor(), new_user(&ids, vec![ids.department])).await };
        patch_user = |tenant, ids| {
            let patch = UserPatch { title: Some(ids.mark.clone()), active: Some(ids.coin), ..Default::default() };
            async move { tenant.patch_user(&actor(), ids.user, ids.expected, patch).await }
        };
        patch_user = |tenant, ids| {
            let patch = UserPatch { departments: Some(vec![ids.department]), ..Default::default() };
            async move { tenant.patch_user(&actor(), ids.own_user, None, patch).await }
        };
        delete_user = |tenant, ids| async move { tenant.delete_user(&actor(), ids.user, ids.expected).await };
        restore_user = |tenant, ids| async move { tenant.restore_user(&actor(), ids.user).await };
    };
    ways.extend(ways! { ToItsOwn:
        create_user = |tenant, ids| async move { tenant.create_user(&actor(), new_user(&ids, vec![])).await };
        users = |tenant, ids| tenant.users(UserPage { after: Some(ids.user), deleted: ids.coin, limit: 50, ..Default::default() });
    });
    ways
}

fn new_user(ids: &Ids, departments: Vec<model::DepartmentId>) -> NewUser {
    NewUser {
        login: ids.fresh_name(),
        title: ids.mark.clone(),
        external_id: ids.coin.then(|| ids.fresh_name()),
        departments,
        role: KeyRole::User,
        active: true,
    }
}

fn departments() -> Vec<Way> {
    let mut ways = ways! { ToUnknown:
        department = |tenant, ids| tenant.department(ids.department);
        department_by_name = |tenant, ids| tenant.department_by_name(&ids.department_name);
        departments = |tenant, ids| tenant.departments(DepartmentPage { search: Some(ids.department_name.clone()), limit: 50, ..Default::default() });
        patch_department = |tenant, ids| {
            let patch = DepartmentPatch { title: Some(ids.fresh_text()), ..Default::default() };
            async move { tenant.patch_department(&actor(), ids.department, ids.expected, patch).await }
        };
        delete_department = |tenant, ids| async move { tenant.delete_department(&actor(), ids.department, ids.expected).await };
        restore_department = |tenant, ids| async move { tenant.restore_department(&actor(), ids.department).await };
    };
    ways.extend(ways! { ToItsOwn:
        create_department = |tenant, ids| {
            let new = NewDepartment { name: ids.fresh_name().parse().unwrap(), title: ids.mark.clone(), external_id: None };
            async move { tenant.create_department(&actor(), new).await }
        };
        departments = |tenant, ids| tenant.departments(DepartmentPage { after: Some(ids.department), deleted: ids.coin, limit: 50, ..Default::default() });
    });
    ways
}

fn new_key(tenant: &TenantStore, ids: &Ids, user: Option<model::UserId>) -> NewKey {
    let verifier = KeyVerifier {
        id: ids.fresh_key(),
        tenant: tenant.id(),
        user,
        role: KeyRole::User,
        scopes: KeyScopes::PLAIN,
        sha256: [3; 32],
        servers: ids.coin.then(|| vec![ids.fresh_name()]),
        expires_at: None,
    };
    NewKey { verifier, evidence: [7; 32], label: ids.mark.clone() }
}

fn keys() -> Vec<Way> {
    let mut ways = ways! { ToUnknown:
        key = |tenant, ids| tenant.key(ids.key);
        keys = |tenant, ids| tenant.keys(KeyPage { user: Some(ids.user), limit: 50, ..Default::default() });
        create_key = |tenant, ids| async move { tenant.create_key(&actor(), new_key(&tenant, &ids, Some(ids.user))).await };
        patch_key = |tenant, ids| {
            let patch = KeyPatch { label: Some(ids.fresh_text()), ..Default::default() };
            async move { tenant.patch_key(&actor(), ids.key, ids.expected, patch).await }
        };
        rotate_key = |tenant, ids| {
            let rotation = KeyRotation { id: ids.fresh_key(), sha256: [4; 32], evidence: [9; 32], expires_at: None, grace: Duration::from_secs(5) };
            async move { tenant.rotate_key(&actor(), ids.key, rotation).await }
        };
        revoke_key = |tenant, ids| async move { tenant.revoke_key(&actor(), ids.key).await };
        keys_used = |tenant, ids| async move { tenant.keys_used(&[(ids.key, i64::MAX)]).await };
    };
    ways.extend(ways! { ToItsOwn:
        create_key = |tenant, ids| async move { tenant.create_key(&actor(), new_key(&tenant, &ids, None)).await };
        keys = |tenant, ids| tenant.keys(KeyPage { after: Some((0, ids.key)), limit: 50, ..Default::default() });
    });
    ways
}

fn new_issuer(ids: &Ids) -> NewIssuer {
    NewIssuer {
        id: IssuerId::fresh(),
        title: ids.mark.clone(),
        issuer: format!("https://{}.example", ids.fresh_name()),
        client_secret: Some(ids.mark.clone().into_bytes()),
        ..issuer(&ids.fresh_name())
    }
}

fn issuers() -> Vec<Way> {
    let mut ways = ways! { ToUnknown:
        issuer = |tenant, ids| tenant.issuer(ids.issuer);
        issuer_named = |tenant, ids| tenant.issuer_named(&ids.issuer_name);
        issuers = |tenant, ids| tenant.issuers(IssuerPage { search: Some(ids.issuer_name.clone()), limit: 50, ..Default::default() });
        change_issuer = |tenant, ids| {
            let patch = IssuerPatch { title: Some(ids.fresh_text()), enabled: Some(ids.coin), ..Default::default() };
            async move { tenant.change_issuer(&actor(), ids.issuer, ids.expected, patch).await }
        };
        delete_issuer = |tenant, ids| async move { tenant.delete_issuer(&actor(), ids.issuer, ids.expected).await };
        set_issuer_keys = |tenant, ids| {
            let fetched = FetchedKeys { document: ids.fresh_text(), metadata: ids.mark.clone(), at: 1 };
            tenant.set_issuer_keys(ids.issuer, fetched)
        };
        set_issuer_failure = |tenant, ids| tenant.set_issuer_failure(ids.issuer, &ids.mark, 2);
    };
    ways.extend(ways! { ToItsOwn:
        create_issuer = |tenant, ids| async move { tenant.create_issuer(&actor(), new_issuer(&ids)).await.map(|made| made.revision) };
        issuers = |tenant, ids| tenant.issuers(IssuerPage { after: Some(ids.issuer), limit: 50, ..Default::default() });
    });
    ways
}

fn others() -> Vec<Way> {
    ways! { ToItsOwn:
        tenant = |tenant, ids| tenant.tenant();
        audit = |tenant, ids| tenant.audit(AuditPage { object: Some(format!("server/{}", ids.server)), limit: 50, ..Default::default() });
        audit = |tenant, ids| tenant.audit(AuditPage { limit: 50, ..Default::default() });
        note = |tenant, ids| async move { tenant.note(&actor(), "user.note", format!("user/{}", ids.user), serde_json::Value::Null).await };
    }
}

/// Methods of the platform that are told a tenant, and what they must leave alone.
pub(crate) fn of_the_platform() -> Vec<Way> {
    let way = |name, call: fn(PlatformStore, TenantStore, Ids) -> BoxFuture<'static, String>| Way {
        name,
        held: Held::ToItsOwn,
        call: Arc::new(move |store: Store, tenant, ids| call(store.platform(), tenant, ids)),
    };
    vec![
        way("tenant", |platform, tenant, _| Box::pin(async move { told(platform.tenant(tenant.id()).await) })),
        way("patch_tenant", |platform, tenant, ids| {
            Box::pin(async move {
                let patch = TenantPatch { title: Some(ids.fresh_text()), ..Default::default() };
                told(platform.patch_tenant(&actor(), tenant.id(), ids.expected, patch).await)
            })
        }),
        way("create_egress_rule", |platform, tenant, ids| {
            Box::pin(async move {
                let new = NewEgressRule {
                    tenant: Some(tenant.id()),
                    host: format!("{}.example", ids.fresh_name()).parse().unwrap(),
                    ports: None,
                    http: ids.coin,
                    reason: ids.mark.clone(),
                };
                told(platform.create_egress_rule(&actor(), new).await)
            })
        }),
        way("egress_rules", |platform, tenant, _| {
            Box::pin(async move {
                let page = EgressRulePage { tenant: Some(tenant.id()), limit: 50, ..Default::default() };
                told(platform.egress_rules(page).await)
            })
        }),
        way("create_session", |platform, tenant, ids| {
            Box::pin(async move { told(platform.create_session(sign_in::new_session(&tenant, &ids)).await) })
        }),
        way("tenant_keys", |platform, tenant, _| {
            Box::pin(async move { told(platform.tenant_keys(tenant.id()).await) })
        }),
        way("put_tenant_key", |platform, tenant, ids| {
            Box::pin(async move { told(connections::put_key(&platform, &tenant, &ids).await) })
        }),
        way("destroy_tenant_key", |platform, tenant, ids| {
            Box::pin(async move { told(platform.destroy_tenant_key(tenant.id(), ids.number as u32 & 3).await) })
        }),
        way("sealed_values_after", |platform, tenant, _| {
            Box::pin(async move { told(platform.sealed_values_after(Some(tenant.id()), None, 200).await) })
        }),
        way("sealed_value_count", |platform, tenant, _| {
            Box::pin(async move { told(platform.sealed_value_count(Some(tenant.id())).await) })
        }),
        way("begin_vault_job", |platform, tenant, _| {
            Box::pin(async move { told(platform.begin_vault_job(&actor(), "rotate", Some(tenant.id()), 9).await) })
        }),
        way("take_vault_job", |platform, tenant, _| {
            Box::pin(async move { told(connections::take_job(&platform, &tenant).await) })
        }),
        way("claim", |platform, tenant, ids| {
            Box::pin(async move { told(platform.claim(place_of(&tenant, &ids), [1; 32]).await) })
        }),
        way("keep_answer", |platform, tenant, ids| {
            Box::pin(async move {
                let Ok(store::Seen::Fresh(claim)) = platform.claim(place_of(&tenant, &ids), [1; 32]).await else {
                    return String::new();
                };
                let answer = StoredAnswer { status: 201, headers: vec![], body: Some(ids.mark.clone()) };
                told(platform.keep_answer(&claim, answer).await)
            })
        }),
        way("release", |platform, tenant, ids| {
            Box::pin(async move {
                match platform.claim(place_of(&tenant, &ids), [1; 32]).await {
                    Ok(store::Seen::Fresh(claim)) => told(platform.release(&claim).await),
                    other => told(other),
                }
            })
        }),
    ]
}

/// The same word and another's key: only the tenant keeps the places apart.
fn place_of(tenant: &TenantStore, ids: &Ids) -> Place {
    Place { tenant: tenant.id(), key: ids.key, word: "word".to_owned() }
}
