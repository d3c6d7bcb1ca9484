//! The book of answers: a create that is sent twice happens once, on whichever replica, whatever dies.
//!
//! The way of a row: [`PlatformStore::claim`] writes it as *running* → the request carries the [`Claim`]
//! in its [`Actor`](crate::Actor), and its first change writes it as *made*, with the name of what was
//! made, **in the change's own transaction** → [`PlatformStore::keep_answer`] adds the answer: *done*.
//! A process that dies before the commit leaves *running*, which anyone may claim after 60 s; one that
//! dies after it leaves *made*, and the answer can be told again from the record itself. An owner that
//! was overtaken can't commit any more: `ClaimLost`.

use model::{KeyId, TenantId};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    TryInsertResult,
};

use super::PlatformStore;
use crate::change::begin_write;
use crate::entity::idempotency::{ActiveModel, Column, Entity, Model};
use crate::{StoreError, row_text};

/// After this, microseconds, an owner that has neither made nor finished anything counts as dead.
const STALE_MICROS: i64 = 60 * 1_000_000;
/// How long a row lives, microseconds.
pub(super) const KEPT_MICROS: i64 = 24 * 3600 * 1_000_000;
/// The most rows of one tenant; the oldest go first.
const MAX_ROWS: u64 = 10_000;

const RUNNING: &str = "running";
const MADE: &str = "made";
const DONE: &str = "done";

/// Where an answer stands in the book: keys of tenants and of people never meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The tenant that the request works on.
    pub tenant: TenantId,
    /// Who asks.
    pub key: KeyId,
    /// The `Idempotency-Key`, 1 to 255 printable ASCII characters.
    pub word: String,
}

/// The right to do the work of a request once. Put it into [`Actor::claim`](crate::Actor::claim).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    place: Place,
    /// Names this owner among all that ever had the place.
    since: i64,
}

/// An answer as it can be given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// 200 to 299.
    pub status: u16,
    /// In this order.
    pub headers: Vec<(String, String)>,
    /// Without secrets: what is shown once is `null` here. The caller bounds its size.
    pub body: Option<String>,
}

/// What the book knows of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It is the caller's to do: change with the claim in the actor, then `keep_answer`; or `release`.
    Fresh(Claim),
    /// Somebody does it at the moment.
    Running,
    /// It was done, and this was answered.
    Done(StoredAnswer),
    /// It was done, but the process died before its answer was kept. `object` names what was made as
    /// the audit does, e.g. `server/<id>`: the answer is that record as it is now. Once it is told,
    /// `keep_answer` with this claim keeps it.
    Made {
        /// The change's object.
        object: String,
        /// For `keep_answer`.
        claim: Claim,
    },
    /// Another request came with the same key.
    OtherRequest,
}

impl PlatformStore {
    /// Asks for the right to do a request with this fingerprint (method, path, body).
    pub async fn claim(&self, place: Place, fingerprint: [u8; 32]) -> Result<Seen, StoreError> {
        let now = self.store.now();
        let tx = begin_write(&self.store).await?;
        let row = ActiveModel {
            tenant_id: Set(place.tenant.0),
            key_id: Set(place.key.to_string()),
            idem_key: Set(place.word.clone()),
            fingerprint: Set(fingerprint.to_vec()),
            state: Set(RUNNING.to_owned()),
            status: Set(None),
            headers: Set(None),
            body: Set(None),
            created_at: Set(now),
        };
        let key = [Column::TenantId, Column::KeyId, Column::IdemKey];
        let inserted = Entity::insert(row.clone())
            .on_conflict(OnConflict::columns(key).do_nothing().to_owned())
            .try_insert()
            .exec_without_returning(&tx)
            .await?;
        // A conflict is told as an insert of no rows.
        if matches!(inserted, TryInsertResult::Inserted(1)) {
            forget_oldest(&tx, place.tenant).await?;
            tx.commit().await?;
            return Ok(Seen::Fresh(Claim { place, since: now }));
        }
        // Gone if its owner released it a moment ago: the client that is told so asks again.
        let Some(found) = Entity::find().filter(place.row()).one(&tx).await? else { return Ok(Seen::Running) };
        let age = now.saturating_sub(found.created_at);
        if age < KEPT_MICROS && !(found.state == RUNNING && age >= STALE_MICROS) {
            return found.seen(place, fingerprint);
        }
        // Later than the owner before, even if the clock was set back.
        let since = now.max(found.created_at + 1);
        let taken = Entity::update_many()
            .set(ActiveModel { created_at: Set(since), ..row })
            .filter(Claim { place: place.clone(), since: found.created_at }.row())
            .filter(Column::State.eq(found.state))
            .exec(&tx)
            .await?;
        tx.commit().await?;
        Ok(if taken.rows_affected == 1 { Seen::Fresh(Claim { place, since }) } else { Seen::Running })
    }

    /// Keeps the answer of a request that succeeded; `ClaimLost` if another owner has overtaken it.
    pub async fn keep_answer(&self, claim: &Claim, answer: StoredAnswer) -> Result<(), StoreError> {
        let row = ActiveModel {
            state: Set(DONE.to_owned()),
            status: Set(i16::try_from(answer.status).ok()),
            headers: Set(Some(row_text::pairs(&answer.headers))),
            body: Set(answer.body),
            ..Default::default()
        };
        let kept = Entity::update_many()
            .set(row)
            .filter(claim.row())
            .filter(Column::State.is_in([RUNNING, MADE]))
            .exec(&self.store.inner.write)
            .await?;
        if kept.rows_affected == 1 { Ok(()) } else { Err(StoreError::ClaimLost) }
    }

    /// Gives a claim back: the request failed, has saved nothing, and may be sent again. What it has
    /// made after all stays.
    pub async fn release(&self, claim: &Claim) -> Result<(), StoreError> {
        let running = Column::State.eq(RUNNING);
        Entity::delete_many().filter(claim.row()).filter(running).exec(&self.store.inner.write).await?;
        Ok(())
    }
}

impl Place {
    fn row(&self) -> Condition {
        Condition::all()
            .add(Column::TenantId.eq(self.tenant.0))
            .add(Column::KeyId.eq(self.key.as_str()))
            .add(Column::IdemKey.eq(self.word.as_str()))
    }
}

impl Claim {
    fn row(&self) -> Condition {
        self.place.row().add(Column::CreatedAt.eq(self.since))
    }

    /// Writes into the change's transaction that the work is done. Later changes of the same request
    /// find that written.
    pub(crate) async fn made(&self, tx: &impl ConnectionTrait, object: &str) -> Result<(), StoreError> {
        let row = ActiveModel { state: Set(MADE.to_owned()), body: Set(Some(object.to_owned())), ..Default::default() };
        let running = Column::State.eq(RUNNING);
        let made = Entity::update_many().set(row).filter(self.row()).filter(running).exec(tx).await?;
        if made.rows_affected == 1 {
            return Ok(());
        }
        let still = Entity::find().filter(self.row()).filter(Column::State.eq(MADE)).one(tx).await?;
        still.map(drop).ok_or(StoreError::ClaimLost)
    }
}

impl Model {
    fn seen(self, place: Place, fingerprint: [u8; 32]) -> Result<Seen, StoreError> {
        if self.fingerprint != fingerprint {
            return Ok(Seen::OtherRequest);
        }
        let corrupt = StoreError::Corrupt { what: "idempotency" };
        match self.state.as_str() {
            RUNNING => Ok(Seen::Running),
            MADE => {
                let claim = Claim { place, since: self.created_at };
                Ok(Seen::Made { object: self.body.ok_or(corrupt)?, claim })
            }
            DONE => {
                let status = self.status.and_then(|status| u16::try_from(status).ok());
                let headers = self.headers.as_deref().and_then(row_text::read_pairs);
                let (Some(status), Some(headers)) = (status, headers) else { return Err(corrupt) };
                Ok(Seen::Done(StoredAnswer { status, headers, body: self.body }))
            }
            _ => Err(corrupt),
        }
    }
}

/// Keeps the book of a tenant within its bound.
async fn forget_oldest(db: &impl ConnectionTrait, tenant: TenantId) -> Result<(), StoreError> {
    let own = Column::TenantId.eq(tenant.0);
    let beyond =
        Entity::find().filter(own.clone()).order_by_desc(Column::CreatedAt).offset(MAX_ROWS).limit(1).one(db).await?;
    if let Some(row) = beyond {
        Entity::delete_many().filter(own).filter(Column::CreatedAt.lte(row.created_at)).exec(db).await?;
    }
    Ok(())
}
