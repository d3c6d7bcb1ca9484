//! What a browser was sent away for and is to come back with: round trips to issuers, and consents.

use std::fmt;

use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder};

use super::PlatformStore;
use crate::StoreError;
use crate::bounds::{ATTEMPTS, beyond};
use crate::entity::attempt::{ActiveModel, Column, Entity, Model};

/// An attempt lives no longer than this, microseconds.
const LIFE_MICROS: i64 = 600 * 1_000_000;

/// An attempt to be kept until the browser is back.
#[derive(Clone)]
pub struct NewAttempt {
    /// SHA-256 of what the browser brings back.
    pub hash: [u8; 32],
    /// What it is an attempt at; the caller's word.
    pub kind: String,
    /// The caller's own, as JSON. The caller bounds its size.
    pub payload: String,
    /// What binds it to one browser.
    pub binding: [u8; 32],
    /// Microseconds since 1970; later than 10 minutes from now is cut to it.
    pub expires_at: i64,
}

/// An attempt as it was kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Attempt {
    /// See [`NewAttempt::kind`].
    pub kind: String,
    /// See [`NewAttempt::payload`].
    pub payload: String,
    /// See [`NewAttempt::binding`]. To be compared by the caller.
    pub binding: [u8; 32],
    /// Microseconds since 1970.
    pub created_at: i64,
    /// Microseconds since 1970.
    pub expires_at: i64,
}

/// Without what it carries, which may be secret: that of a sign-in holds the code verifier.
impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl PlatformStore {
    /// Keeps an attempt. Of all attempts the newest 100,000 are kept: whoever floods pushes out others, but
    /// stops nobody from beginning.
    pub async fn create_attempt(&self, new: NewAttempt) -> Result<(), StoreError> {
        let now = self.store.now();
        let row = ActiveModel {
            sha256: Set(new.hash.to_vec()),
            kind: Set(new.kind),
            payload: Set(new.payload),
            binding: Set(new.binding.to_vec()),
            created_at: Set(now),
            expires_at: Set(new.expires_at.min(now.saturating_add(LIFE_MICROS))),
        };
        let db = &self.store.inner.write;
        Entity::insert(row).exec_without_returning(db).await?;
        let newest_first = Entity::find().order_by_desc(Column::CreatedAt).order_by_desc(Column::Sha256);
        let old = beyond(db, newest_first, ATTEMPTS).await?;
        if !old.is_empty() {
            let old = Column::Sha256.is_in(old.into_iter().map(|row| row.sha256));
            Entity::delete_many().filter(old).exec(db).await?;
        }
        Ok(())
    }

    /// An attempt that has not ended; it stays.
    pub async fn attempt(&self, hash: [u8; 32]) -> Result<Option<Attempt>, StoreError> {
        let query = Entity::find().filter(Column::Sha256.eq(hash.to_vec()));
        let row = query.filter(Column::ExpiresAt.gt(self.store.now())).one(&self.store.inner.read).await?;
        row.map(Attempt::try_from).transpose()
    }

    /// Takes an attempt that has not ended. Of any number who try, one has it. What is none is only looked up: strangers
    /// who make something up don't write.
    pub async fn take_attempt(&self, hash: [u8; 32]) -> Result<Option<Attempt>, StoreError> {
        if self.attempt(hash).await?.is_none() {
            return Ok(None);
        }
        let taken = Entity::delete_many()
            .filter(Column::Sha256.eq(hash.to_vec()))
            .filter(Column::ExpiresAt.gt(self.store.now()))
            .exec_with_returning(&self.store.inner.write)
            .await?;
        taken.into_iter().next().map(Attempt::try_from).transpose()
    }
}

impl TryFrom<Model> for Attempt {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        Ok(Self {
            kind: row.kind,
            payload: row.payload,
            binding: row.binding.try_into().map_err(|_| StoreError::Corrupt { what: "attempt.binding" })?,
            created_at: row.created_at,
            expires_at: row.expires_at,
        })
    }
}
