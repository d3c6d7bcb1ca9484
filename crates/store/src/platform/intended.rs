//! The whole intended state, as one consistent read.

use model::{Resource, Revision};
use sea_orm::{
    ColumnTrait, Condition, DbBackend, EntityTrait, IsolationLevel, QueryFilter, TransactionOptions, TransactionTrait,
};

use super::{PlatformStore, revision};
use crate::entity::{api_key, server, tenant};
use crate::{KeyRecord, ServerRecord, StoreError, TenantRecord};

impl PlatformStore {
    /// All tenants, enabled live servers, and keys that are neither revoked nor expired, as they were
    /// at one revision.
    pub async fn intended(&self) -> Result<(Revision, Vec<Resource>), StoreError> {
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

        let tenants = tenants.into_iter().map(|row| Ok(Resource::Tenant(TenantRecord::try_from(row)?.spec)));
        let servers = servers.into_iter().map(|row| Ok(Resource::Server(ServerRecord::try_from(row)?.spec)));
        let keys = keys.into_iter().map(|row| Ok(Resource::Key(KeyRecord::try_from(row)?.verifier)));
        let resources: Result<Vec<_>, StoreError> = tenants.chain(servers).chain(keys).collect();
        Ok((revision, resources?))
    }
}
