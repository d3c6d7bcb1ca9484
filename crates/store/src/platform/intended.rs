//! The whole intended state, as one consistent read.

use model::{Resource, ResourceName, Revision, ServerId, TenantId};
use sea_orm::{
    ColumnTrait, Condition, DbBackend, EntityTrait, IsolationLevel, QueryFilter, TransactionOptions, TransactionTrait,
};

use super::{PlatformStore, revision};
use crate::entity::{api_key, server, tenant};
use crate::{KeyRecord, ServerRecord, StoreError, TenantRecord};

impl PlatformStore {
    /// All tenants, enabled live servers, and keys that are neither revoked nor expired, as they were
    /// at one revision; and the names of those that can't be read. One bad row holds up no other: a
    /// revocation must reach the proxies whatever else is wrong.
    pub async fn intended(&self) -> Result<(Revision, Vec<Resource>, Vec<ResourceName>), StoreError> {
        let db = &self.store.inner.read;
        // A SQLite transaction reads one snapshot by itself; PostgreSQL must be asked for one.
        let isolation_level =
            (db.get_database_backend() == DbBackend::Postgres).then_some(IsolationLevel::RepeatableRead);
        let tx = db.begin_with_options(TransactionOptions { isolation_level, ..Default::default() }).await?;
        let revision = revision::read(&tx).await?;
        let tenants = tenant::Entity::find().all(&tx).await?;
        let servers = server::Entity::find()
            .filter(server::Column::Enabled.eq(true))
            .filter(server::Column::DeletedAt.is_null())
            .all(&tx)
            .await?;
        let unexpired = Condition::any()
            .add(api_key::Column::ExpiresAt.is_null())
            .add(api_key::Column::ExpiresAt.gt(self.store.now()));
        let keys =
            api_key::Entity::find().filter(api_key::Column::RevokedAt.is_null()).filter(unexpired).all(&tx).await?;
        tx.rollback().await?;

        let tenants = tenants.into_iter().map(|row| {
            let name = ResourceName::Tenant(TenantId(row.id));
            (name.to_string(), Some(name), TenantRecord::try_from(row).map(|record| Resource::Tenant(record.spec)))
        });
        let servers = servers.into_iter().map(|row| {
            let name = ResourceName::Server(ServerId(row.id));
            (name.to_string(), Some(name), ServerRecord::try_from(row).map(|record| Resource::Server(record.spec)))
        });
        let keys = keys.into_iter().map(|row| {
            let name = row.id.parse().ok().map(ResourceName::Key);
            let text = format!("key/{}", row.id.escape_debug());
            (text, name, KeyRecord::try_from(row).map(|record| Resource::Key(record.verifier)))
        });
        let (mut resources, mut unreadable) = (Vec::new(), Vec::new());
        for (text, name, read) in tenants.chain(servers).chain(keys) {
            match read {
                Ok(resource) => resources.push(resource),
                Err(error) => {
                    tracing::error!(name = text, %error, alarm = true, "a stored record can't be read and is held back");
                    unreadable.extend(name);
                }
            }
        }
        Ok((revision, resources, unreadable))
    }
}
