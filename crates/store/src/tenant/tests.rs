//! Every question that is asked often is answered from an index.

use std::sync::Arc;

use model::{DepartmentId, ManualClock};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QueryTrait, Statement,
};

use super::TenantStore;
use crate::entity::{api_key, audit, department, issuer, membership, server, user};
use crate::{NewTenant, Store};

async fn tenant() -> (tempfile::TempDir, TenantStore) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/x.db?mode=rwc", folder.path().display());
    let store = Store::connect(&url, Arc::new(ManualClock::at(1))).await.unwrap();
    let new = NewTenant::new("acme".parse().unwrap());
    let tenant = store.platform().create_tenant(&crate::Actor::system("test"), new).await.unwrap().value.spec.id;
    (folder, store.tenant(tenant))
}

/// How SQLite goes about it, in its own words.
async fn plan(tenant: &TenantStore, query: impl QueryTrait) -> String {
    let Statement { sql, values, db_backend } = query.build(DbBackend::Sqlite);
    let explain = Statement { sql: format!("EXPLAIN QUERY PLAN {sql}"), values, db_backend };
    let rows = tenant.store.inner.read.query_all_raw(explain).await.unwrap();
    let steps: Vec<String> = rows.iter().map(|row| row.try_get("", "detail").unwrap()).collect();
    steps.join("; ")
}

#[tokio::test]
async fn lists_and_look_ups_use_their_indexes() {
    let (_folder, tenant) = tenant().await;
    let t = &tenant;
    let key = |condition: Condition| api_key::Entity::find().filter(condition);
    let chain = t.scoped_keys().filter(api_key::Column::Replaces.eq("key0000000000001"));
    let of_user = t.scoped_keys().filter(api_key::Column::UserId.eq(uuid::Uuid::nil()));
    let admins = key(Condition::all().add(api_key::Column::Role.eq("platform_admin")));
    let memberships = membership::Entity::find()
        .filter(membership::Column::TenantId.is_in([t.tenant.0]))
        .filter(membership::Column::UserId.is_in([uuid::Uuid::nil()]));
    let own_audit = audit::Entity::find().filter(audit::Column::TenantId.eq(t.tenant.0));
    let plans = [
        (plan(t, t.scoped_servers().order_by_asc(server::Column::Id)).await, "server_list"),
        (plan(t, t.scoped_server_tombstones()).await, "server_list"),
        (plan(t, t.scoped_servers().filter(server::Column::Name.eq("notes"))).await, "server_live_name"),
        (plan(t, t.scoped_servers().filter(server::Column::Title.eq("Notes"))).await, "server_live_title"),
        (plan(t, t.scoped_users().order_by_asc(user::Column::Id)).await, "sqlite_autoindex_user_1"),
        (plan(t, t.scoped_users().filter(user::Column::Login.eq("ann"))).await, "user_live_login"),
        (plan(t, t.scoped_users().filter(user::Column::ExternalId.eq("7"))).await, "user_external_id"),
        (plan(t, t.scoped_issuers().filter(issuer::Column::Name.eq("idp"))).await, "issuer_name"),
        (plan(t, t.scoped_issuers().filter(issuer::Column::Issuer.eq("https://x"))).await, "issuer_url"),
        (plan(t, issuer::Entity::find().filter(issuer::Column::Id.eq(uuid::Uuid::nil()))).await, "issuer_id"),
        (plan(t, memberships).await, "sqlite_autoindex_membership_1"),
        (plan(t, t.scoped_departments().filter(department::Column::Name.eq("sales"))).await, "department_live_name"),
        (plan(t, t.scoped_keys().order_by_asc(api_key::Column::CreatedAt)).await, "api_key_tenant"),
        (plan(t, of_user).await, "api_key_user"),
        (plan(t, chain).await, "api_key_chain"),
        (plan(t, admins).await, "api_key_role"),
        (plan(t, own_audit.order_by_desc(audit::Column::Seq)).await, "audit_tenant"),
    ];
    for (plan, index) in plans {
        assert!(plan.contains(index) && !plan.contains("SCAN") && !plan.contains("TEMP B-TREE"), "{index}: {plan}");
    }
    let of_department = t.scoped_users().filter(user::Column::Id.in_subquery(t.members_of(DepartmentId::fresh())));
    let steps = plan(t, of_department).await;
    assert!(steps.contains("membership_department") && !steps.contains("SCAN"), "{steps}");
}
