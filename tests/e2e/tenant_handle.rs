//! Forgetting the tenant is not expressible: checked on the store, and on stores that break it.

use tests::packages::repository;
use tests::tenant_handle::{Source, objections, sources};

#[test]
fn the_store_has_no_way_around_the_handle() {
    let sources = sources(&repository().join("crates/store/src"));
    assert!(sources.iter().any(|source| source.path == "tenant/servers.rs"), "the rule looks at the right place");
    assert_eq!(objections(&sources), Vec::<String>::new());
}

#[test]
fn each_way_around_the_handle_is_objected_to() {
    let scoped = "use crate::entity::server::{Column, Entity};\nimpl TenantStore {\n    fn scoped_servers(&self) {\n        \
        Entity::find().filter(Column::TenantId.eq(self.tenant.0))\n    }\n}\n";
    for (path, text, objection) in [
        ("tenant/servers.rs", scoped.to_owned(), None),
        (
            "tenant/servers.rs",
            scoped.replace("self.tenant.0", "other"),
            Some("tenant/servers.rs: `scoped_servers` does not filter by the tenant"),
        ),
        (
            "tenant/servers.rs",
            scoped.replace("fn scoped_servers", "pub async fn servers"),
            Some("tenant/servers.rs: `servers` queries without a scope"),
        ),
        (
            "tenant/servers.rs",
            "impl Store {\n    pub fn all_servers(&self) {}\n}\n".to_owned(),
            Some("tenant/servers.rs: `all_servers` is public and no method of the handle"),
        ),
        (
            "platform/servers.rs",
            "impl PlatformStore {\n    pub async fn servers(&self) {\n        server::Entity::find()\n    }\n}\n"
                .to_owned(),
            Some("platform/servers.rs: `servers` does find on a tenant's data"),
        ),
        (
            "platform/keys.rs",
            "impl PlatformStore {\n    async fn forget(&self) {\n        api_key::Entity::delete_many()\n    }\n}\n"
                .to_owned(),
            Some("platform/keys.rs: `forget` does delete on a tenant's data"),
        ),
        (
            "platform/tenants.rs",
            "impl PlatformStore {\n    fn peek(&self) {\n        Statement::from_string(sql)\n    }\n}\n".to_owned(),
            Some("platform/tenants.rs: `peek` speaks SQL past the entities"),
        ),
        ("lib.rs", "pub mod entity;\n".to_owned(), Some("lib.rs: entities leave the crate: pub mod entity;")),
        ("platform/outbox.rs", "fn all() {\n    outbox::Entity::find()\n}\n".to_owned(), None),
    ] {
        let found = objections(&[Source { path: path.to_owned(), text }]);
        assert_eq!(found, objection.into_iter().collect::<Vec<_>>(), "{path}");
    }
}
