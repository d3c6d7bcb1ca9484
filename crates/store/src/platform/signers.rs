//! The public halves of the keys under which control signs tokens. The private ones are sealed elsewhere.

use model::{ResourceName, SignerId, SignerSpec};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use serde_json::json;

use super::PlatformStore;
use crate::bounds::{SIGNERS, room_for_one};
use crate::change::{Change, Deed, Notice};
use crate::entity::signer::{ActiveModel, Column, Entity, Model};
use crate::{Actor, Committed, StoreError};

/// A signer as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignerRow {
    /// What proxies hold.
    pub spec: SignerSpec,
    /// When it was stored first, microseconds since 1970.
    pub created_at: i64,
}

impl PlatformStore {
    /// All signers, the oldest first.
    pub async fn signers(&self) -> Result<Vec<SignerRow>, StoreError> {
        let query = Entity::find().order_by_asc(Column::CreatedAt).order_by_asc(Column::Id);
        query.all(&self.store.inner.read).await?.into_iter().map(SignerRow::try_from).collect()
    }

    /// Makes tokens of this signer known, or lets it have another address or end; what is the same changes nothing.
    /// A key never becomes another: `Corrupt` if it has the id of one that it isn't. `Bound` if there are 16.
    pub async fn put_signer(&self, spec: SignerSpec) -> Result<Committed<SignerRow>, StoreError> {
        let change = Change::begin(&self.store).await?;
        let before = Entity::find_by_id(spec.id.0).one(&change.tx).await?.map(SignerRow::try_from).transpose()?;
        let created_at = before.as_ref().map_or(change.now, |row| row.created_at);
        let after = SignerRow { spec, created_at };
        match &before {
            Some(before) if *before == after => return change.nothing(after).await,
            Some(before) if before.spec.public != after.spec.public => {
                return Err(StoreError::Corrupt { what: "signer.public_key" });
            }
            Some(_) => {
                let those = Entity::update_many().filter(Column::Id.eq(after.spec.id.0));
                those.set(after.clone().into_row()).exec(&change.tx).await?;
            }
            None => {
                room_for_one(&change.tx, Entity::find(), "signers", SIGNERS).await?;
                Entity::insert(after.clone().into_row()).exec_without_returning(&change.tx).await?;
            }
        }
        let urgent = before.as_ref().is_some_and(|before| after.spec.until < before.spec.until);
        let deed = deed("signer.put", before.as_ref(), Some(&after));
        change.commit(&Actor::system("signing"), deed, [notice(after.spec.id, true, urgent)], after).await
    }

    /// Takes away the signers whose last token ended before `before`, microseconds since 1970; answers how many.
    pub async fn remove_signers(&self, before: i64) -> Result<Committed<u64>, StoreError> {
        let change = Change::begin(&self.store).await?;
        let due = Entity::find().filter(Column::UntilAt.lt(before)).all(&change.tx).await?;
        if due.is_empty() {
            return change.nothing(0).await;
        }
        Entity::delete_many().filter(Column::UntilAt.lt(before)).exec(&change.tx).await?;
        let ids: Vec<String> = due.iter().map(|row| row.id.to_string()).collect();
        let deed = Deed {
            tenant: None,
            action: "signer.remove",
            object: "signer".to_owned(),
            before: Some(json!({ "ids": ids })),
            after: None,
        };
        let gone: Vec<_> = due.iter().map(|row| notice(SignerId(row.id), false, true)).collect();
        let removed = due.len() as u64;
        change.commit(&Actor::system("signing"), deed, gone, removed).await
    }
}

fn notice(id: SignerId, intended: bool, urgent: bool) -> Notice {
    Notice { tenant: None, name: ResourceName::Signer(id), removed: !intended, urgent }
}

fn deed(action: &'static str, before: Option<&SignerRow>, after: Option<&SignerRow>) -> Deed {
    let told = |row: &SignerRow| json!({ "url": row.spec.url, "until": row.spec.until });
    let id = after.or(before).map(|row| ResourceName::Signer(row.spec.id).to_string());
    Deed { tenant: None, action, object: id.unwrap_or_default(), before: before.map(told), after: after.map(told) }
}

impl SignerRow {
    fn into_row(self) -> ActiveModel {
        ActiveModel {
            id: Set(self.spec.id.0),
            url: Set(self.spec.url),
            public_key: Set(self.spec.public.to_vec()),
            until_at: Set(self.spec.until),
            created_at: Set(self.created_at),
        }
    }
}

impl TryFrom<Model> for SignerRow {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let public = row.public_key.try_into().map_err(|_| StoreError::Corrupt { what: "signer.public_key" })?;
        let spec = SignerSpec { id: SignerId(row.id), url: row.url, public, until: row.until_at };
        Ok(Self { spec, created_at: row.created_at })
    }
}
