//! Commands for proxies that are attached to another replica: asked by row, taken once, answered by row.

use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::PlatformStore;
use crate::StoreError;
use crate::entity::command::{ActiveModel, Column, Entity, Model};

/// The most rows that one call answers.
const MAX_ROWS: u64 = 1_000;

/// A command that nobody has taken yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCommand {
    /// Names it.
    pub id: Uuid,
    /// The proxy that is to do it.
    pub node: String,
    /// What is to be done, as the link writes it.
    pub body: Vec<u8>,
    /// Until when an answer is waited for; microseconds since 1970.
    pub deadline_at: i64,
}

/// How far a command has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedCommand {
    /// Names it.
    pub id: Uuid,
    /// The replica that has taken it: from then on it may have been done.
    pub taken_by: Option<String>,
    /// What came of it, as the link writes it.
    pub answer: Option<Vec<u8>>,
}

impl PlatformStore {
    /// Writes down a command of `replica` for the proxy `node`.
    pub async fn put_command(
        &self,
        replica: &str,
        node: &str,
        body: Vec<u8>,
        deadline_at: i64,
    ) -> Result<Uuid, StoreError> {
        let id = Uuid::now_v7();
        let row = ActiveModel {
            id: Set(id),
            node: Set(node.to_owned()),
            replica: Set(replica.to_owned()),
            body: Set(body),
            taken_by: Set(None),
            created_at: Set(self.store.now()),
            deadline_at: Set(deadline_at),
            answer: Set(None),
            answered_at: Set(None),
        };
        Entity::insert(row).exec_without_returning(&self.store.inner.write).await?;
        Ok(id)
    }

    /// The commands that nobody has taken and somebody still waits for, oldest first, at most 1000.
    pub async fn open_commands(&self) -> Result<Vec<OpenCommand>, StoreError> {
        let rows = Entity::find()
            .filter(Column::TakenBy.is_null())
            .filter(Column::DeadlineAt.gt(self.store.now()))
            .order_by_asc(Column::Id)
            .limit(MAX_ROWS)
            .all(&self.store.inner.read)
            .await?;
        let open =
            |row: Model| OpenCommand { id: row.id, node: row.node, body: row.body, deadline_at: row.deadline_at };
        Ok(rows.into_iter().map(open).collect())
    }

    /// Takes a command for `replica`; `false` if another has it, or it was withdrawn. Of any number of
    /// replicas that try, one succeeds: nothing is ever done twice.
    pub async fn take_command(&self, id: Uuid, replica: &str) -> Result<bool, StoreError> {
        let taken = Entity::update_many()
            .col_expr(Column::TakenBy, Expr::value(replica))
            .filter(Column::Id.eq(id))
            .filter(Column::TakenBy.is_null())
            .exec(&self.store.inner.write)
            .await?;
        Ok(taken.rows_affected == 1)
    }

    /// Answers a command that `replica` has taken; `false` if nobody waits for it any more.
    pub async fn answer_command(&self, id: Uuid, replica: &str, answer: Vec<u8>) -> Result<bool, StoreError> {
        let answered = Entity::update_many()
            .col_expr(Column::Answer, Expr::value(answer))
            .col_expr(Column::AnsweredAt, Expr::value(self.store.now()))
            .filter(Column::Id.eq(id))
            .filter(Column::TakenBy.eq(replica))
            .exec(&self.store.inner.write)
            .await?;
        Ok(answered.rows_affected == 1)
    }

    /// How far the commands of `replica` have come, at most 1000.
    pub async fn asked_commands(&self, replica: &str) -> Result<Vec<AskedCommand>, StoreError> {
        let rows = Entity::find()
            .filter(Column::Replica.eq(replica))
            .order_by_asc(Column::Id)
            .limit(MAX_ROWS)
            .all(&self.store.inner.read)
            .await?;
        let asked = |row: Model| AskedCommand { id: row.id, taken_by: row.taken_by, answer: row.answer };
        Ok(rows.into_iter().map(asked).collect())
    }

    /// Takes back a command; `false` if a replica has taken it.
    pub async fn withdraw_command(&self, id: Uuid) -> Result<bool, StoreError> {
        let withdrawn = Entity::delete_many()
            .filter(Column::Id.eq(id))
            .filter(Column::TakenBy.is_null())
            .exec(&self.store.inner.write)
            .await?;
        Ok(withdrawn.rows_affected == 1)
    }

    /// Drops commands that were answered or given up.
    pub async fn drop_commands(&self, ids: Vec<Uuid>) -> Result<(), StoreError> {
        if !ids.is_empty() {
            Entity::delete_many().filter(Column::Id.is_in(ids)).exec(&self.store.inner.write).await?;
        }
        Ok(())
    }

    /// Drops commands whose deadline lies before `before` (microseconds since 1970), whoever wrote them;
    /// answers how many.
    pub async fn purge_commands(&self, before: i64) -> Result<u64, StoreError> {
        let purged = Entity::delete_many().filter(Column::DeadlineAt.lt(before)).exec(&self.store.inner.write).await?;
        Ok(purged.rows_affected)
    }
}
