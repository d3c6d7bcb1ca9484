//! What proxies are told when a whole tenant comes or goes.

use model::ResourceName;
use sea_orm::{ColumnTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use super::TenantStore;
use crate::StoreError;
use crate::change::{Change, Notice};
use crate::entity::server::Column;

impl TenantStore {
    /// A notice for the tenant, each server that is mounted while it is active, and each key that opens
    /// something then. Its going is urgent.
    pub(crate) async fn notices_of_all(&self, change: &Change, live: bool) -> Result<Vec<Notice>, StoreError> {
        let bounds = self.bounds(&change.tx).await?;
        let keys = self.live_keys(&change.tx, None, change.now).await?;
        let keys = keys.iter().filter(|key| bounds.of(key).is_some());
        let servers = self.scoped_servers().filter(Column::Enabled.eq(true)).select_only().column(Column::Id);
        let servers: Vec<Uuid> = servers.into_tuple().all(&change.tx).await?;
        let names = std::iter::once(ResourceName::Tenant(self.tenant))
            .chain(servers.into_iter().map(|id| ResourceName::Server(model::ServerId(id))))
            .chain(keys.map(|key| ResourceName::Key(key.verifier.id)));
        Ok(names.map(|name| self.notice(name, live, !live)).collect())
    }
}
