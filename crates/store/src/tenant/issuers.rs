//! A tenant's identity providers: create, read, list, change, delete.

use model::{Generation, IssuerId, ResourceName};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DeleteMany, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Select, UpdateMany,
};

use super::TenantStore;
use crate::bounds::{ISSUERS, room_for_one};
use crate::change::{Change, Deed, Notice};
use crate::entity::issuer::{Column, Entity, Model};
use crate::generation::expect;
use crate::issuer_record::takes_trust;
use crate::listing::{holds, page_size};
use crate::{Actor, Committed, IssuerPage, IssuerPatch, IssuerRecord, NewIssuer, StoreError, TenantRecord};

impl TenantStore {
    /// The tenant's identity providers.
    pub(super) fn scoped_issuers(&self) -> Select<Entity> {
        Entity::find().filter(self.own_issuers())
    }

    /// The same for writes.
    pub(super) fn scoped_issuer_update(&self) -> UpdateMany<Entity> {
        Entity::update_many().filter(self.own_issuers())
    }

    /// The same for erasing.
    pub(super) fn scoped_issuer_deletion(&self) -> DeleteMany<Entity> {
        Entity::delete_many().filter(self.own_issuers())
    }

    fn own_issuers(&self) -> Condition {
        Condition::all().add(Column::TenantId.eq(self.tenant.0))
    }

    fn issuer_record(&self, row: Model) -> Result<IssuerRecord, StoreError> {
        let record = IssuerRecord::try_from(row)?;
        self.check(record.tenant)?;
        Ok(record)
    }

    async fn one_issuer(
        &self,
        db: &impl ConnectionTrait,
        query: Select<Entity>,
    ) -> Result<Option<IssuerRecord>, StoreError> {
        query.one(db).await?.map(|row| self.issuer_record(row)).transpose()
    }

    /// Makes an identity provider: `NameTaken`, `IssuerTaken`, or `Bound` if there are 20 already.
    pub async fn create_issuer(&self, actor: &Actor, new: NewIssuer) -> Result<Committed<IssuerRecord>, StoreError> {
        let (change, tenant) = self.begin().await?;
        if let Some(fetched) = &new.fetched {
            fetched.check_size()?;
        }
        let record = IssuerRecord::new(self.tenant, new, change.now);
        self.check_issuer_is_unique(&change, &record).await?;
        room_for_one(&change.tx, self.scoped_issuers(), "issuers", ISSUERS).await?;
        Entity::insert(record.clone().into_row()).exec_without_returning(&change.tx).await?;
        let notices = self.issuer_notice(&tenant, None, &record);
        change.commit(actor, self.issuer_deed("issuer.create", None, Some(&record)), notices, record).await
    }

    /// An identity provider.
    pub async fn issuer(&self, id: IssuerId) -> Result<Option<IssuerRecord>, StoreError> {
        self.one_issuer(&self.store.inner.read, self.scoped_issuers().filter(Column::Id.eq(id.0))).await
    }

    /// An identity provider by its slug.
    pub async fn issuer_named(&self, name: &str) -> Result<Option<IssuerRecord>, StoreError> {
        self.one_issuer(&self.store.inner.read, self.scoped_issuers().filter(Column::Name.eq(name))).await
    }

    /// Identity providers in the order of their making.
    pub async fn issuers(&self, page: IssuerPage) -> Result<Vec<IssuerRecord>, StoreError> {
        let mut query = self.scoped_issuers().order_by_asc(Column::Id).limit(page_size(page.limit));
        if let Some(after) = page.after {
            query = query.filter(Column::Id.gt(after.0));
        }
        if let Some(enabled) = page.enabled {
            query = query.filter(Column::Enabled.eq(enabled));
        }
        if let Some(text) = page.search.filter(|text| !text.is_empty()) {
            query = query.filter(holds(self.backend(), &[Column::Name, Column::Title, Column::Issuer], &text));
        }
        let rows = query.all(&self.store.inner.read).await?;
        rows.into_iter().map(|row| self.issuer_record(row)).collect()
    }

    /// Changes an identity provider; what that takes from people leaves proxies urgently, and where nobody may sign in
    /// any more, the sessions that began there end, and the grants that were made in them. With `expected`, only at that
    /// generation, else `Stale`. A patch that changes nothing commits nothing.
    pub async fn change_issuer(
        &self,
        actor: &Actor,
        id: IssuerId,
        expected: Option<Generation>,
        patch: IssuerPatch,
    ) -> Result<Committed<IssuerRecord>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let before = self.issuer_at(&change, id, expected).await?;
        let mut after = before.patched(patch);
        if after == before {
            return change.nothing(before).await;
        }
        self.check_issuer_is_unique(&change, &after).await?;
        after.generation = Generation(before.generation.0 + 1);
        after.updated_at = change.now;
        self.write_issuer(&change, &after).await?;
        let mut notices: Vec<_> = self.issuer_notice(&tenant, Some(&before), &after).into_iter().collect();
        if !after.enabled || !after.sign_in {
            notices.extend(self.close_way(&change, &tenant, Some(id)).await?);
        }
        let deed = self.issuer_deed("issuer.change", Some(&before), Some(&after));
        change.commit(actor, deed, notices, after).await
    }

    /// Takes an identity provider away, urgently and for good, and ends the sessions that began there and the grants
    /// that were made in them. With `expected`, only at that generation, else `Stale`.
    pub async fn delete_issuer(
        &self,
        actor: &Actor,
        id: IssuerId,
        expected: Option<Generation>,
    ) -> Result<Committed<()>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let record = self.issuer_at(&change, id, expected).await?;
        self.scoped_issuer_deletion().filter(Column::Id.eq(id.0)).exec(&change.tx).await?;
        let mut notices = self.close_way(&change, &tenant, Some(id)).await?;
        notices.push(self.notice(ResourceName::Issuer(id), false, true));
        change.commit(actor, self.issuer_deed("issuer.delete", Some(&record), None), notices, ()).await
    }

    pub(super) async fn issuer_at(
        &self,
        change: &Change,
        id: IssuerId,
        expected: Option<Generation>,
    ) -> Result<IssuerRecord, StoreError> {
        let query = self.scoped_issuers().filter(Column::Id.eq(id.0));
        let record = self.one_issuer(&change.tx, query).await?.ok_or(StoreError::NotFound)?;
        expect(record.generation, expected)?;
        Ok(record)
    }

    /// Writes every column. The change holds the writers' turn, so the row is where it was read.
    pub(super) async fn write_issuer(&self, change: &Change, after: &IssuerRecord) -> Result<(), StoreError> {
        let row = after.clone().into_row();
        self.scoped_issuer_update().set(row).filter(Column::Id.eq(after.id.0)).exec(&change.tx).await?;
        Ok(())
    }

    async fn check_issuer_is_unique(&self, change: &Change, record: &IssuerRecord) -> Result<(), StoreError> {
        let others = || self.scoped_issuers().filter(Column::Id.ne(record.id.0));
        if others().filter(Column::Name.eq(record.name.as_str())).count(&change.tx).await? > 0 {
            return Err(StoreError::NameTaken);
        }
        if others().filter(Column::Issuer.eq(record.issuer.as_str())).count(&change.tx).await? > 0 {
            return Err(StoreError::IssuerTaken);
        }
        Ok(())
    }

    /// What proxies are told of an identity provider that has changed; nothing of what they don't hold.
    pub(super) fn issuer_notice(
        &self,
        tenant: &TenantRecord,
        before: Option<&IssuerRecord>,
        after: &IssuerRecord,
    ) -> Option<Notice> {
        let (had, has) = (before.and_then(IssuerRecord::intended), after.intended());
        let intended = tenant.is_live() && has.is_some();
        let urgent = takes_trust(had.as_ref(), has.as_ref());
        (had != has).then(|| self.notice(ResourceName::Issuer(after.id), intended, urgent))
    }

    fn issuer_deed(&self, action: &'static str, before: Option<&IssuerRecord>, after: Option<&IssuerRecord>) -> Deed {
        Deed {
            tenant: Some(self.tenant),
            action,
            object: after.or(before).map(IssuerRecord::object).unwrap_or_default(),
            before: before.map(IssuerRecord::redacted),
            after: after.map(IssuerRecord::redacted),
        }
    }
}
