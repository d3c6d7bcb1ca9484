//! The life of a key: replaced, revoked, used.

use model::KeyId;
use sea_orm::{ActiveValue::Set, ColumnTrait, Condition, PaginatorTrait, QueryFilter};

use super::TenantStore;
use crate::change::{Change, Deed, begin_write};
use crate::entity::api_key::{ActiveModel, Column};
use crate::platform::last_admin::LastAdmin;
use crate::{Actor, Committed, KeyRecord, KeyRotation, Rotated, StoreError};

impl TenantStore {
    /// Makes a key in the place of a live one, which ends with the grace. Of a chain at most two live:
    /// `ChainFull` if the key is replaced already, or replaces another, and both live.
    pub async fn rotate_key(
        &self,
        actor: &Actor,
        id: KeyId,
        rotation: KeyRotation,
    ) -> Result<Committed<Rotated>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let before = self.live_key_at(&change, id, None).await?;
        self.check_chain(&change, &before).await?;
        let made = before.rotated(&rotation, change.now);
        let last_admin = LastAdmin::look(&self.store, &change).await?;
        self.scoped_key_update()
            .set(made.old.clone().into_changes())
            .filter(Column::Id.eq(id.as_str()))
            .exec(&change.tx)
            .await?;
        self.insert_key(&change, made.new.clone(), rotation.evidence).await?;
        last_admin.stays(&change).await?;
        let old = self.key_notice(&change, &tenant, Some(&before), &made.old).await?;
        let new = self.key_notice(&change, &tenant, None, &made.new).await?;
        let deed = Deed {
            tenant: Some(self.tenant),
            action: "key.rotate",
            object: new.name.to_string(),
            before: Some(before.redacted()),
            after: Some(made.new.redacted()),
        };
        change.commit(actor, deed, [old, new], made).await
    }

    /// Nothing dead comes back to life, so a live key's parent and children are all that can live of its
    /// chain besides itself.
    async fn check_chain(&self, change: &Change, key: &KeyRecord) -> Result<(), StoreError> {
        let child = Condition::any().add(Column::Replaces.eq(key.verifier.id.as_str()));
        let kin = match key.replaces {
            Some(parent) => child.add(Column::Id.eq(parent.as_str())),
            None => child,
        };
        let live = self.scoped_live_keys(change.now).filter(kin).count(&change.tx).await?;
        if live == 0 { Ok(()) } else { Err(StoreError::ChainFull) }
    }

    /// Revokes a key, urgently. Revoking it again changes nothing. `LastAdmin` if nobody could
    /// administer the platform without it.
    pub async fn revoke_key(&self, actor: &Actor, id: KeyId) -> Result<Committed<()>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let before = self.one_key(&change.tx, id).await?.ok_or(StoreError::NotFound)?;
        if before.revoked_at.is_some() {
            return change.nothing(()).await;
        }
        let mut after = KeyRecord { revoked_at: Some(change.now), ..before.clone() };
        let last_admin = LastAdmin::look(&self.store, &change).await?;
        self.write_key(&change, &mut after).await?;
        last_admin.stays(&change).await?;
        let committed = self.commit_key(change, &tenant, actor, "key.revoke", Some(before), after).await?;
        Ok(Committed { value: (), revision: committed.revision })
    }

    /// Notes when keys were used, microseconds since 1970, in one transaction. Never moves back; an
    /// unknown key is ignored. No change of intended state, so no revision and no audit row.
    pub async fn keys_used(&self, uses: &[(KeyId, i64)]) -> Result<(), StoreError> {
        if uses.is_empty() {
            return Ok(());
        }
        let tx = begin_write(&self.store).await?;
        for (id, at) in uses {
            self.scoped_key_update()
                .set(ActiveModel { last_used_at: Set(Some(*at)), ..Default::default() })
                .filter(Column::Id.eq(id.as_str()))
                .filter(Condition::any().add(Column::LastUsedAt.is_null()).add(Column::LastUsedAt.lt(*at)))
                .exec(&tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
