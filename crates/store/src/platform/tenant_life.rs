//! The end of a tenant: deleted, restored or erased.

use model::{Generation, ResourceName, TenantId};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use super::PlatformStore;
use super::tenant_keys::has_keys;
use super::tenants::{deed, live, tenant_at, tombstones};
use crate::change::{Change, Notice};
use crate::entity::egress_rule;
use crate::entity::tenant::{Column, Entity};
use crate::{Actor, Committed, Restored, StoreError, TenantRecord};

impl PlatformStore {
    /// Deletes a tenant: its rows stay, its keys open nothing and its servers are unmounted, urgently; its connections
    /// are erased, and its data keys destroyed, so that nothing that was sealed for it can be read again.
    /// `LastAdmin` if nobody could administer the platform any more.
    pub async fn delete_tenant(
        &self,
        actor: &Actor,
        id: TenantId,
        expected: Option<Generation>,
    ) -> Result<Committed<()>, StoreError> {
        let change = Change::begin(&self.store).await?;
        let before = tenant_at(&change, live(), id, expected).await?;
        let after = TenantRecord { deleted_at: Some(change.now), ..before.clone() };
        let committed = self.write_and_commit_tenant(change, actor, "tenant.delete", before, after).await?;
        Ok(Committed { value: (), revision: committed.revision })
    }

    /// Brings a deleted tenant back with all it had but secrets; its name was kept for it. Restoring a live one
    /// changes nothing.
    pub async fn restore_tenant(
        &self,
        actor: &Actor,
        id: TenantId,
    ) -> Result<Committed<Restored<TenantRecord>>, StoreError> {
        let change = Change::begin(&self.store).await?;
        match tenant_at(&change, live(), id, None).await {
            Ok(record) => return change.nothing(Restored::whole(record)).await,
            Err(StoreError::NotFound) => (),
            Err(error) => return Err(error),
        }
        let before = tenant_at(&change, tombstones(), id, None).await?;
        let after = TenantRecord { deleted_at: None, ..before.clone() };
        // What they had sealed is gone with its keys.
        let enter_again = if has_keys(&change.tx, id).await? { vec!["secrets"] } else { Vec::new() };
        let Committed { value, revision } =
            self.write_and_commit_tenant(change, actor, "tenant.restore", before, after).await?;
        Ok(Committed { value: Restored { record: value, enter_again }, revision })
    }

    /// Erases a deleted tenant and all it had for good, but its audit; `StillLive` if it is not deleted.
    pub async fn purge_tenant(&self, actor: &Actor, id: TenantId) -> Result<Committed<()>, StoreError> {
        let change = Change::begin(&self.store).await?;
        match tenant_at(&change, live(), id, None).await {
            Ok(_) => return Err(StoreError::StillLive),
            Err(StoreError::NotFound) => (),
            Err(error) => return Err(error),
        }
        let record = tenant_at(&change, tombstones(), id, None).await?;
        let rules = egress_rule::Entity::find().filter(egress_rule::Column::TenantId.eq(id.0)).select_only();
        let rules: Vec<Uuid> = rules.column(egress_rule::Column::Id).into_tuple().all(&change.tx).await?;
        let names = std::iter::once(ResourceName::Tenant(id))
            .chain(rules.into_iter().map(|rule| ResourceName::Egress(model::EgressRuleId(rule))));
        let gone = |name| Notice { tenant: Some(id), name, removed: true, urgent: false };
        let notices: Vec<_> = names.map(gone).collect();

        self.store.tenant(id).erase_all(&change.tx).await?;
        let own = egress_rule::Column::TenantId.eq(id.0);
        egress_rule::Entity::delete_many().filter(own).exec(&change.tx).await?;
        Entity::delete_many().filter(Column::Id.eq(id.0)).exec(&change.tx).await?;
        change.commit(actor, deed("tenant.purge", Some(&record), None), notices, ()).await
    }
}
