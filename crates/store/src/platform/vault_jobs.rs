//! Work on everything that is sealed, which takes long: how far it is, and which replica does it.
//!
//! Who does it says so by the database's clock; whoever finds it without an owner goes on where it was.

use std::time::Duration;

use model::{TenantId, UserId};
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, IntoActiveModel as _, QueryFilter, QueryOrder, QuerySelect, Select,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::PlatformStore;
use crate::change::{Change, Deed};
use crate::entity::vault_job::{Column, Entity, Model};
use crate::tenant::connection_tokens::database_now;
use crate::{Actor, StoreError};

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

impl PlatformStore {
    /// Begins a job that somebody asks for, or tells the one that is under way already. Who asked is kept with the job:
    /// its end is told of in their name, whoever gets it there.
    pub async fn begin_vault_job(
        &self,
        actor: &Actor,
        what: &str,
        tenant: Option<TenantId>,
        total: u64,
    ) -> Result<VaultJob, StoreError> {
        let change = Change::begin(&self.store).await?;
        if let Some(row) = running(what, tenant).one(&change.tx).await? {
            let job = VaultJob::try_from(row)?;
            return change.nothing(job).await.map(|nothing| nothing.value);
        }
        Entity::delete_many().filter(place(what, tenant)).exec(&change.tx).await?;
        let row = Model {
            what: what.to_owned(),
            tenant_id: tenant.map_or(Uuid::nil(), |tenant| tenant.0),
            cursor: None,
            done: 0,
            total: i64::try_from(total).unwrap_or(i64::MAX),
            owner: Uuid::nil(),
            until_at: 0,
            state: JobState::Running.as_str().to_owned(),
            failure: None,
            asked_by: asked_by(actor).to_string(),
            created_at: change.now,
            updated_at: change.now,
        };
        let job = VaultJob::try_from(row.clone())?;
        Entity::insert(row.into_active_model()).exec_without_returning(&change.tx).await?;
        let deed = deed("vault.rotate", &job, json!({ "total": job.total }));
        change.commit(actor, deed, [], job).await.map(|committed| committed.value)
    }

    /// Takes a job that is under way for a while: one that nobody has, one that its owner has left, or one's own. `None`
    /// if another one has it, or it is at its end.
    pub async fn take_vault_job(
        &self,
        what: &str,
        tenant: Option<TenantId>,
        owner: Uuid,
        length: Duration,
    ) -> Result<Option<VaultJob>, StoreError> {
        let backend = self.store.inner.read.get_database_backend();
        let free =
            Condition::any().add(Column::Owner.eq(owner)).add(Expr::col(Column::UntilAt).lte(database_now(backend)));
        let taken = Entity::update_many()
            .col_expr(Column::Owner, Expr::value(owner))
            .col_expr(Column::UntilAt, database_now(backend).add(micros(length)))
            .filter(place(what, tenant))
            .filter(Column::State.eq(JobState::Running.as_str()))
            .filter(free)
            .exec_with_returning(&self.store.inner.write)
            .await?;
        taken.into_iter().next().map(VaultJob::try_from).transpose()
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
        let change = Change::begin(&self.store).await?;
        let state = if failure.is_some() { JobState::Failed } else { JobState::Done };
        let ended = Entity::update_many()
            .col_expr(Column::State, Expr::value(state.as_str()))
            .col_expr(Column::Failure, Expr::value(failure.map(str::to_owned)))
            .col_expr(Column::UpdatedAt, Expr::value(change.now))
            .filter(place(&job.what, job.tenant))
            .filter(Column::Owner.eq(job.owner))
            .filter(Column::State.eq(JobState::Running.as_str()))
            .exec_with_returning(&change.tx)
            .await?;
        let Some(row) = ended.into_iter().next() else {
            return change.nothing(false).await.map(|nothing| nothing.value);
        };
        let actor = read_asked_by(&row.asked_by).ok_or(StoreError::Corrupt { what: "vault_job.asked_by" })?;
        let job = VaultJob::try_from(row)?;
        let after = json!({ "state": state.as_str(), "done": job.done, "failure": failure });
        change.commit(&actor, deed("vault.rotated", &job, after), [], true).await.map(|committed| committed.value)
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

fn running(what: &str, tenant: Option<TenantId>) -> Select<Entity> {
    Entity::find().filter(place(what, tenant)).filter(Column::State.eq(JobState::Running.as_str()))
}

fn deed(action: &'static str, job: &VaultJob, after: Value) -> Deed {
    Deed { tenant: job.tenant, action, object: format!("vault/{}", job.what), before: None, after: Some(after) }
}

/// Who asks, without where from: the end comes from nowhere.
fn asked_by(actor: &Actor) -> Value {
    json!({
        "tenant": actor.tenant.map(|tenant| tenant.0),
        "key": actor.key.as_ref().map(ToString::to_string),
        "user": actor.user.map(|user| user.0),
        "name": actor.name,
    })
}

fn read_asked_by(text: &str) -> Option<Actor> {
    let value: Value = serde_json::from_str(text).ok()?;
    let id = |name: &str| match value.get(name)? {
        Value::Null => Some(None),
        id => id.as_str()?.parse::<Uuid>().ok().map(Some),
    };
    let key = match value.get("key")? {
        Value::Null => None,
        key => Some(key.as_str()?.parse().ok()?),
    };
    Some(Actor {
        tenant: id("tenant")?.map(TenantId),
        key,
        user: id("user")?.map(UserId),
        ..Actor::system(value.get("name")?.as_str()?)
    })
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
