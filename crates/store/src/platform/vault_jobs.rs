//! Work on everything that is sealed, which takes long: how far it is, and which replica does it.
//!
//! Who does it says so by the database's clock; whoever finds it without an owner goes on where it was.

use std::time::Duration;

use model::TenantId;
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{ActiveValue::Set, ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::PlatformStore;
use crate::StoreError;
use crate::change::Change;
use crate::entity::vault_job::{ActiveModel, Column, Entity, Model};
use crate::tenant::connection_tokens::database_now;

/// The most jobs that are shown.
const SHOWN: u64 = 500;

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobState {
    /// Under way, or to be taken up again.
    Running,
    /// At its end.
    Done,
    /// Given up.
    Failed,
}

impl JobState {
    const ALL: [Self; 3] = [Self::Running, Self::Done, Self::Failed];

    /// The word for REST, rows and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// A job as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultJob {
    /// What is done: the caller's word.
    pub what: String,
    /// For which tenant; `None` for all.
    pub tenant: Option<TenantId>,
    /// How far it is: the caller's own.
    pub cursor: Option<String>,
    /// How many are done.
    pub done: u64,
    /// How many there were to do when it began.
    pub total: u64,
    /// Who does it.
    pub owner: Uuid,
    /// Where it is.
    pub state: JobState,
    /// Why it was given up.
    pub failure: Option<String>,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// Microseconds since 1970.
    pub updated_at: i64,
}

/// Whose a job is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobTaken {
    /// The caller's: from its beginning, or from where another one left it.
    Taken(VaultJob),
    /// Another one does it.
    Busy(VaultJob),
}

impl PlatformStore {
    /// Takes a job for a while: a new one, one that is at its end and begins again, one that its owner has left, or one's
    /// own.
    pub async fn take_vault_job(
        &self,
        what: &str,
        tenant: Option<TenantId>,
        owner: Uuid,
        total: u64,
        length: Duration,
    ) -> Result<JobTaken, StoreError> {
        let change = Change::begin(&self.store).await?;
        let backend = self.store.inner.read.get_database_backend();
        let those = || Entity::find().filter(place(what, tenant));
        let before = those().one(&change.tx).await?;
        let lost =
            Condition::any().add(Column::Owner.eq(owner)).add(Expr::col(Column::UntilAt).lte(database_now(backend)));
        let running = Column::State.eq(JobState::Running.as_str());
        let free = those().filter(Condition::any().add(running.not()).add(lost)).one(&change.tx).await?.is_some();
        match &before {
            Some(job) if !free => {
                let job = VaultJob::try_from(job.clone())?;
                return change.nothing(JobTaken::Busy(job)).await.map(|nothing| nothing.value);
            }
            Some(job) if job.state == JobState::Running.as_str() => (),
            _ => {
                Entity::delete_many().filter(place(what, tenant)).exec(&change.tx).await?;
                let row = ActiveModel {
                    what: Set(what.to_owned()),
                    tenant_id: Set(tenant.map_or(Uuid::nil(), |tenant| tenant.0)),
                    cursor: Set(None),
                    done: Set(0),
                    total: Set(i64::try_from(total).unwrap_or(i64::MAX)),
                    owner: Set(owner),
                    until_at: Set(0),
                    state: Set(JobState::Running.as_str().to_owned()),
                    failure: Set(None),
                    created_at: Set(change.now),
                    updated_at: Set(change.now),
                };
                Entity::insert(row).exec_without_returning(&change.tx).await?;
            }
        }
        let taken = Entity::update_many()
            .col_expr(Column::Owner, Expr::value(owner))
            .col_expr(Column::UntilAt, database_now(backend).add(micros(length)))
            .filter(place(what, tenant))
            .exec_with_returning(&change.tx)
            .await?;
        let job = taken.into_iter().next().ok_or(StoreError::NotFound)?;
        change.quietly().await?;
        Ok(JobTaken::Taken(VaultJob::try_from(job)?))
    }

    /// Notes how far a job is, and keeps it for a while longer; says no if another one has it by now.
    pub async fn advance_vault_job(
        &self,
        job: &VaultJob,
        cursor: Option<&str>,
        done: u64,
        length: Duration,
    ) -> Result<bool, StoreError> {
        let backend = self.store.inner.read.get_database_backend();
        let written = Entity::update_many()
            .col_expr(Column::Cursor, Expr::value(cursor.map(str::to_owned)))
            .col_expr(Column::Done, Expr::value(i64::try_from(done).unwrap_or(i64::MAX)))
            .col_expr(Column::UntilAt, database_now(backend).add(micros(length)))
            .col_expr(Column::UpdatedAt, Expr::value(self.store.now()))
            .filter(place(&job.what, job.tenant))
            .filter(Column::Owner.eq(job.owner))
            .filter(Column::State.eq(JobState::Running.as_str()))
            .exec(&self.store.inner.write)
            .await?;
        Ok(written.rows_affected == 1)
    }

    /// Ends a job: done, or given up for a reason. Says no if another one has it by now.
    pub async fn end_vault_job(&self, job: &VaultJob, failure: Option<&str>) -> Result<bool, StoreError> {
        let state = if failure.is_some() { JobState::Failed } else { JobState::Done };
        let written = Entity::update_many()
            .col_expr(Column::State, Expr::value(state.as_str()))
            .col_expr(Column::Failure, Expr::value(failure.map(str::to_owned)))
            .col_expr(Column::UpdatedAt, Expr::value(self.store.now()))
            .filter(place(&job.what, job.tenant))
            .filter(Column::Owner.eq(job.owner))
            .filter(Column::State.eq(JobState::Running.as_str()))
            .exec(&self.store.inner.write)
            .await?;
        Ok(written.rows_affected == 1)
    }

    /// All jobs, the one that went on last first; at most 500.
    pub async fn vault_jobs(&self) -> Result<Vec<VaultJob>, StoreError> {
        let query = Entity::find().order_by_desc(Column::UpdatedAt).order_by_asc(Column::What).limit(SHOWN);
        query.all(&self.store.inner.read).await?.into_iter().map(VaultJob::try_from).collect()
    }
}

fn place(what: &str, tenant: Option<TenantId>) -> Condition {
    let tenant = tenant.map_or(Uuid::nil(), |tenant| tenant.0);
    Condition::all().add(Column::What.eq(what)).add(Column::TenantId.eq(tenant))
}

fn micros(length: Duration) -> i64 {
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX)
}

impl TryFrom<Model> for VaultJob {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        let number = |number: i64| u64::try_from(number).map_err(|_| corrupt("vault_job.done"));
        let state = JobState::ALL.into_iter().find(|state| state.as_str() == row.state);
        Ok(Self {
            what: row.what,
            tenant: (!row.tenant_id.is_nil()).then_some(TenantId(row.tenant_id)),
            cursor: row.cursor,
            done: number(row.done)?,
            total: number(row.total)?,
            owner: row.owner,
            state: state.ok_or(corrupt("vault_job.state"))?,
            failure: row.failure,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}
