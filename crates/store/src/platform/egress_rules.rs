//! Egress rules: what platform admins allow beyond the default address policy.

use model::{EgressRuleId, Generation, ResourceName};
use sea_orm::{ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

use super::PlatformStore;
use super::tenants::{live, tenant_at};
use crate::bounds::{EGRESS_RULES, room_for_one};
use crate::change::{Change, Deed, Notice};
use crate::entity::egress_rule::{Column, Entity};
use crate::generation::expect;
use crate::listing::{holds, page_size};
use crate::{Actor, Committed, EgressRulePage, EgressRuleRecord, NewEgressRule, StoreError, row_text};

impl PlatformStore {
    /// Makes a rule: `RuleTaken` if the same one stands, whatever its reason; `Bound` if there are 1000;
    /// `NotFound` if its tenant isn't.
    pub async fn create_egress_rule(
        &self,
        actor: &Actor,
        new: NewEgressRule,
    ) -> Result<Committed<EgressRuleRecord>, StoreError> {
        let change = Change::begin(&self.store).await?;
        let intended = match new.tenant {
            Some(tenant) => tenant_at(&change, live(), tenant, None).await?.is_live(),
            None => true,
        };
        let same = Condition::all()
            .add(match new.tenant {
                Some(tenant) => Column::TenantId.eq(tenant.0),
                None => Column::TenantId.is_null(),
            })
            .add(match new.ports {
                Some(ports) => Column::Ports.eq(row_text::ports(ports)),
                None => Column::Ports.is_null(),
            })
            .add(Column::Host.eq(new.host.to_string()))
            .add(Column::Http.eq(new.http));
        if Entity::find().filter(same).count(&change.tx).await? > 0 {
            return Err(StoreError::RuleTaken);
        }
        room_for_one(&change.tx, Entity::find(), "egress rules", EGRESS_RULES).await?;
        let record = EgressRuleRecord::new(actor, new, change.now);
        Entity::insert(record.clone().into_row()).exec_without_returning(&change.tx).await?;
        let deed = deed("egress.create", &record, false);
        let notice = notice(&record, intended);
        change.commit(actor, deed, [notice], record).await
    }

    /// A rule.
    pub async fn egress_rule(&self, id: EgressRuleId) -> Result<Option<EgressRuleRecord>, StoreError> {
        let row = Entity::find_by_id(id.0).one(&self.store.inner.read).await?;
        row.map(EgressRuleRecord::try_from).transpose()
    }

    /// Rules in the order of their making.
    pub async fn egress_rules(&self, page: EgressRulePage) -> Result<Vec<EgressRuleRecord>, StoreError> {
        let db = &self.store.inner.read;
        let mut query = Entity::find().order_by_asc(Column::Id).limit(page_size(page.limit));
        if let Some(after) = page.after {
            query = query.filter(Column::Id.gt(after.0));
        }
        if let Some(tenant) = page.tenant {
            query = query.filter(Column::TenantId.eq(tenant.0));
        }
        if let Some(text) = page.search.filter(|text| !text.is_empty()) {
            query = query.filter(holds(db.get_database_backend(), &[Column::Host, Column::Reason], &text));
        }
        query.all(db).await?.into_iter().map(EgressRuleRecord::try_from).collect()
    }

    /// Takes a rule away, urgently and for good. With `expected`, only at that generation, else `Stale`.
    pub async fn delete_egress_rule(
        &self,
        actor: &Actor,
        id: EgressRuleId,
        expected: Option<Generation>,
    ) -> Result<Committed<()>, StoreError> {
        let change = Change::begin(&self.store).await?;
        let row = Entity::find_by_id(id.0).one(&change.tx).await?.ok_or(StoreError::NotFound)?;
        let record = EgressRuleRecord::try_from(row)?;
        expect(record.generation, expected)?;
        Entity::delete_by_id(id.0).exec(&change.tx).await?;
        let gone = Notice { urgent: true, ..notice(&record, false) };
        change.commit(actor, deed("egress.delete", &record, true), [gone], ()).await
    }
}

fn deed(action: &'static str, record: &EgressRuleRecord, gone: bool) -> Deed {
    let told = Some(record.redacted());
    let (before, after) = if gone { (told, None) } else { (None, told) };
    Deed { tenant: record.rule.tenant, action, object: ResourceName::Egress(record.rule.id).to_string(), before, after }
}

fn notice(record: &EgressRuleRecord, intended: bool) -> Notice {
    let name = ResourceName::Egress(record.rule.id);
    Notice { tenant: record.rule.tenant, name, removed: !intended, urgent: false }
}
