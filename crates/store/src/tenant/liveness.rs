//! What proxies are told when a whole tenant comes or goes.

use model::{EgressRuleId, ResourceName, ServerId};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use super::TenantStore;
use crate::StoreError;
use crate::change::{Change, Notice};
use crate::entity::egress_rule;
use crate::entity::server::Column;

impl TenantStore {
    /// A notice for the tenant, each server that is mounted while it is active, each key that opens
    /// something then, and each egress rule that is for it alone. Its going is urgent.
    pub(crate) async fn notices_of_all(&self, change: &Change, live: bool) -> Result<Vec<Notice>, StoreError> {
        let bounds = self.bounds(&change.tx).await?;
        let keys = self.live_keys(&change.tx, None, change.now).await?;
        let keys = keys.iter().filter(|key| bounds.of(key).is_some());
        let servers = self.scoped_servers().filter(Column::Enabled.eq(true)).select_only().column(Column::Id);
        let servers: Vec<Uuid> = servers.into_tuple().all(&change.tx).await?;
        let rules = egress_rule::Entity::find().filter(egress_rule::Column::TenantId.eq(self.tenant.0));
        let rules = rules.select_only().column(egress_rule::Column::Id);
        let rules: Vec<Uuid> = rules.into_tuple().all(&change.tx).await?;
        let names = std::iter::once(ResourceName::Tenant(self.tenant))
            .chain(rules.into_iter().map(|id| ResourceName::Egress(EgressRuleId(id))))
            .chain(servers.into_iter().map(|id| ResourceName::Server(ServerId(id))))
            .chain(keys.map(|key| ResourceName::Key(key.verifier.id)));
        Ok(names.map(|name| self.notice(name, live, !live)).collect())
    }
}
