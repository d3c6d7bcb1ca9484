//! Tenants are strangers: with another tenant's ids, every method behaves as with unknown ones.
//!
//! The register has all methods and is held against the source. A random walk calls them; a look past the
//! store at every row shows that nobody else was touched, and a mark in every text that nobody else was told
//! of. `GATEHOUSE_LONG` makes the walk twenty times as long.

mod dice;
mod ids;
mod register;
mod source;
mod state;
mod walk;

use std::collections::BTreeSet;
use std::sync::Arc;

use model::Resource;
use register::{Held, Way, of_the_platform, register};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement};
use source::{all_methods, methods};
use store::{ServerPage, StoreError};
use walk::walk;

use crate::house::{House, actor, key, server};

fn operations() -> usize {
    if std::env::var_os("GATEHOUSE_LONG").is_some() { 100_000 } else { 5_000 }
}

#[tokio::test]
async fn tenant_isolation_all_methods() {
    let house = House::new().await;
    let ways = [register(), of_the_platform()].concat();
    walk(&house, &ways, operations(), 3).await.unwrap();
}

/// Methods of the handle that reach no data.
const WITHOUT_DATA: [&str; 1] = ["id"];

#[test]
fn every_method_is_registered() {
    let registered: BTreeSet<String> = register().iter().map(|way| way.name.to_owned()).collect();
    let mut expected = all_methods("TenantStore");
    assert!(expected.len() > 30, "the rule looks at the right place: {expected:?}");
    for name in WITHOUT_DATA {
        assert!(expected.remove(name), "{name} is gone");
    }
    assert_eq!(registered, expected, "the register and the source differ");
}

/// Methods of the platform that take no tenant, or whose caller must be allowed to see all tenants.
const OF_THE_PLATFORM: &[&str] = &[
    "answer_command",
    "advance_vault_job",
    "asked_commands",
    "attempt",
    "create_attempt",
    "claim_issuer",
    "create_tenant",
    "delete_egress_rule",
    "delete_tenant",
    "deleted_tenant",
    "deleted_tenant_by_name",
    "drop_commands",
    "end_vault_job",
    "egress_rule",
    "end_session",
    "forget_proxies",
    "intended",
    "issuer_by_id",
    "issuers_due",
    "keks_in_use",
    "key",
    "key_evidence",
    "link",
    "live_key",
    "live_session",
    "open_commands",
    "outbox_since",
    "proxy_statuses",
    "prune_outbox",
    "purge_commands",
    "purge_expired",
    "purge_tenant",
    "put_command",
    "put_proxy_statuses",
    "put_sealed",
    "put_signer",
    "raise_epoch",
    "remove_proxy_statuses",
    "remove_signers",
    "replace_sealed",
    "replace_sealed_values",
    "restore_tenant",
    "revision",
    "rewrap_tenant_key",
    "sealed",
    "signers",
    "tail",
    "take_attempt",
    "take_command",
    "take_link",
    "tenant_by_name",
    "tenant_keys_after",
    "tenants",
    "touch_session",
    "vault_jobs",
    "withdraw_command",
];

#[test]
fn every_method_of_the_platform_is_registered_or_named_as_one_that_sees_all_tenants() {
    let registered = of_the_platform().iter().map(|way| way.name.to_owned()).collect::<BTreeSet<_>>();
    let named = OF_THE_PLATFORM.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert!(registered.is_disjoint(&named), "one or the other");
    assert_eq!(&registered | &named, all_methods("PlatformStore"));
}

#[test]
fn a_method_that_is_missing_would_be_seen() {
    let text = "impl Store {\n    pub fn other(&self) {}\n}\n\nimpl TenantStore {\n    fn hidden(&self) {}\n\n    \
                pub async fn seen<T>(\n        &self,\n    ) {\n    }\n    pub fn plain(&self) {}\n}\n\npub fn free() {}\n";
    assert_eq!(methods(text, "TenantStore"), ["seen", "plain"]);
}

/// A method with a fault of the kind that the walk is there to find.
fn faulty(db: DatabaseConnection, name: &'static str, sql: &'static str) -> Way {
    let call = move |_, _, ids: ids::Ids| -> futures::future::BoxFuture<'static, String> {
        let db = db.clone();
        Box::pin(async move {
            let backend = db.get_database_backend();
            let sql = if backend == sea_orm::DbBackend::Postgres { sql.replace('?', "$1") } else { sql.to_owned() };
            let row =
                db.query_one_raw(Statement::from_sql_and_values(backend, sql, [ids.server.0.into()])).await.unwrap();
            row.map_or_else(String::new, |row| row.try_get_by_index::<String>(0).unwrap())
        })
    };
    Way { name, held: Held::ToUnknown, call: Arc::new(call) }
}

#[tokio::test]
async fn methods_that_forget_the_tenant_are_caught() {
    for (name, sql, found) in [
        ("lists", "SELECT title FROM server WHERE id <> ? LIMIT 1", "tells of another tenant"),
        ("tells_apart", "SELECT transport FROM server WHERE id = ?", "tells another's ids from nobody's"),
        ("writes", "UPDATE server SET title = title || '.' WHERE id = ? RETURNING ''", "changed another tenant's rows"),
    ] {
        let house = House::new().await;
        let ways = [register(), vec![faulty(house.raw().await, name, sql); 5]].concat();
        let violation = walk(&house, &ways, 500, 3).await.unwrap_err();
        assert!(violation.contains(found), "{name}: {violation}");
    }
}

#[tokio::test]
async fn another_tenants_cursor_shows_only_ones_own() {
    let house = House::new().await;
    let (one, two) = (house.tenant("one").await, house.tenant("two").await);
    let theirs = two.create_server(&actor(), server("a")).await.unwrap().value.spec.id;
    let mine = one.create_server(&actor(), server("b")).await.unwrap().value.spec.id;
    two.create_server(&actor(), server("c")).await.unwrap();
    let page = ServerPage { after: Some(theirs), limit: 500, ..Default::default() };
    let seen: Vec<_> = one.servers(page).await.unwrap().into_iter().map(|record| record.spec.id).collect();
    assert_eq!(seen, [mine]);
}

#[tokio::test]
async fn a_key_for_another_tenant_is_not_stored() {
    let house = House::new().await;
    let (one, two) = (house.tenant("one").await, house.tenant("two").await);
    assert!(matches!(one.create_key(&actor(), key(two.id(), 1)).await, Err(StoreError::CrossTenant)));
    let none = store::KeyPage { limit: 10, ..Default::default() };
    assert!(one.keys(none.clone()).await.unwrap().is_empty() && two.keys(none).await.unwrap().is_empty());
}

#[tokio::test]
async fn quotas_and_names_of_one_tenant_are_no_ones_elses() {
    let house = House::new().await;
    let (one, two) = (house.tenant("one").await, house.tenant("two").await);
    for tenant in [&one, &two] {
        tenant.create_server(&actor(), server("notes")).await.unwrap();
    }
    let intended = house.store.platform().intended().await.unwrap();
    for tenant in [&one, &two] {
        let servers = intended
            .resources
            .iter()
            .filter(|resource| matches!(resource, Resource::Server(_)) && resource.tenant() == Some(tenant.id()));
        assert_eq!(servers.count(), 1);
    }
}
