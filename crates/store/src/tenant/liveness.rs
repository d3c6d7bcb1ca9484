//! What proxies are told when a whole tenant comes or goes.

use model::{EgressRuleId, GrantId, IssuerId, ResourceName, ServerId, ToolsetId, UserId};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use super::TenantStore;
use crate::StoreError;
use crate::change::{Change, Notice};
use crate::entity::server::Column;
use crate::entity::{egress_rule, issuer, oauth_grant, toolset, user};

impl TenantStore {
    /// A notice for the tenant, each server that is mounted while it is active, each key that opens
    /// something then, each user, each identity provider that counts, each grant that was taken back, each egress rule
    /// that is for it alone, each toolset, and each connection, unless there are too many to be named: the tenant stands for them.
    /// Its going is urgent.
    pub(crate) async fn notices_of_all(&self, change: &Change, live: bool) -> Result<Vec<Notice>, StoreError> {
        let bounds = self.bounds(&change.tx).await?;
        let keys = self.live_keys(&change.tx, None, change.now).await?;
        let keys = keys.iter().filter(|key| bounds.of(key).is_some());
        let servers = self.scoped_servers().filter(Column::Enabled.eq(true)).select_only().column(Column::Id);
        let servers: Vec<Uuid> = servers.into_tuple().all(&change.tx).await?;
        let rules = egress_rule::Entity::find().filter(egress_rule::Column::TenantId.eq(self.tenant.0));
        let rules = rules.select_only().column(egress_rule::Column::Id);
        let rules: Vec<Uuid> = rules.into_tuple().all(&change.tx).await?;
        let users = self.scoped_all_users().select_only().column(user::Column::Id);
        let users: Vec<Uuid> = users.into_tuple().all(&change.tx).await?;
        let issuers = self.scoped_issuers().filter(issuer::Column::Enabled.eq(true)).select_only();
        let issuers: Vec<Uuid> = issuers.column(issuer::Column::Id).into_tuple().all(&change.tx).await?;
        let revoked = self.scoped_grants().filter(oauth_grant::Column::RevokedAt.is_not_null()).select_only();
        let revoked: Vec<Uuid> = revoked.column(oauth_grant::Column::Id).into_tuple().all(&change.tx).await?;
        let toolsets = self.scoped_toolsets().select_only().column(toolset::Column::Id);
        let toolsets: Vec<Uuid> = toolsets.into_tuple().all(&change.tx).await?;
        let connections = self.connections_of_live(&change.tx).await?;
        let names = std::iter::once(ResourceName::Tenant(self.tenant))
            .chain(rules.into_iter().map(|id| ResourceName::Egress(EgressRuleId(id))))
            .chain(servers.into_iter().map(|id| ResourceName::Server(ServerId(id))))
            .chain(keys.map(|key| ResourceName::Key(key.verifier.id)))
            .chain(users.into_iter().map(|id| ResourceName::User(UserId(id))))
            .chain(issuers.into_iter().map(|id| ResourceName::Issuer(IssuerId(id))))
            .chain(revoked.into_iter().map(|id| ResourceName::Revoked(GrantId(id))))
            .chain(toolsets.into_iter().map(|id| ResourceName::Toolset(ToolsetId(id))))
            .chain(connections.into_iter().map(ResourceName::Connection));
        Ok(names.map(|name| self.notice(name, live, !live)).collect())
    }
}
