//! Logins at upstreams that are under way, and how they ended: what a browser was sent away for, as others see it.

use model::{ConnectionId, Holder, ServerId, TenantId};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait, Condition, DeleteMany, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    Select, UpdateMany,
};
use uuid::Uuid;

use super::TenantStore;
use crate::StoreError;
use crate::bounds::{LOGIN_ATTEMPTS, beyond};
use crate::change::begin_write;
use crate::connection_record::{holder_id, read_holder};
use crate::entity::login_attempt::{ActiveModel, Column, Entity, Model};
use crate::entity::server;

/// A login is under way no longer than this, microseconds.
const LIFE_MICROS: i64 = 600 * 1_000_000;

/// Where a login is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginState {
    /// Nobody has come back yet, and nobody can once it has expired.
    Pending,
    /// There is a token.
    Authorized(ConnectionId),
    /// There will be none.
    Failed {
        /// Why, a word for programs.
        error: String,
    },
}

/// How a login ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginOutcome {
    /// See [`LoginState::Authorized`].
    Authorized(ConnectionId),
    /// See [`LoginState::Failed`].
    Failed {
        /// Why, a word for programs.
        error: String,
    },
}

/// A login as it was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginAttempt {
    /// Its id; it opens nothing.
    pub id: Uuid,
    /// At which server's upstream.
    pub server: ServerId,
    /// For whom the connection will be.
    pub holder: Holder,
    /// Who began it: the caller's word.
    pub actor: String,
    /// Where it is.
    pub state: LoginState,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// When nobody can come back any more, microseconds since 1970.
    pub expires_at: i64,
}

/// A login to be begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLoginAttempt {
    /// See [`LoginAttempt::id`].
    pub id: Uuid,
    /// See [`LoginAttempt::server`].
    pub server: ServerId,
    /// See [`LoginAttempt::holder`].
    pub holder: Holder,
    /// See [`LoginAttempt::actor`].
    pub actor: String,
    /// See [`LoginAttempt::expires_at`]; later than 10 minutes from now is cut to it.
    pub expires_at: i64,
}

impl TenantStore {
    fn scoped_login_attempts(&self) -> Select<Entity> {
        Entity::find().filter(self.own_login_attempts())
    }

    fn scoped_login_attempt_update(&self) -> UpdateMany<Entity> {
        Entity::update_many().filter(self.own_login_attempts())
    }

    pub(super) fn scoped_login_attempt_deletion(&self) -> DeleteMany<Entity> {
        Entity::delete_many().filter(self.own_login_attempts())
    }

    fn own_login_attempts(&self) -> Condition {
        Condition::all().add(Column::TenantId.eq(self.tenant.0))
    }

    fn login_attempt_of(&self, row: Model) -> Result<LoginAttempt, StoreError> {
        self.check(TenantId(row.tenant_id))?;
        let corrupt = |what| StoreError::Corrupt { what };
        let state = match (row.state.as_str(), row.connection_id, row.error) {
            ("pending", _, _) => LoginState::Pending,
            ("authorized", Some(id), _) => LoginState::Authorized(ConnectionId(id)),
            ("failed", _, Some(error)) => LoginState::Failed { error },
            _ => return Err(corrupt("login_attempt.state")),
        };
        Ok(LoginAttempt {
            id: row.id,
            server: ServerId(row.server_id),
            holder: read_holder(&row.scope, row.holder_id).ok_or(corrupt("login_attempt.scope"))?,
            actor: row.actor,
            state,
            created_at: row.created_at,
            expires_at: row.expires_at,
        })
    }

    /// Begins a login. Of a tenant's logins the newest 10,000 are kept. `NotFound` for no live server.
    pub async fn create_login_attempt(&self, new: NewLoginAttempt) -> Result<LoginAttempt, StoreError> {
        let now = self.store.now();
        let row = Model {
            tenant_id: self.tenant.0,
            id: new.id,
            server_id: new.server.0,
            scope: new.holder.scope().as_str().to_owned(),
            holder_id: holder_id(new.holder),
            actor: new.actor,
            state: "pending".to_owned(),
            error: None,
            connection_id: None,
            created_at: now,
            expires_at: new.expires_at.min(now.saturating_add(LIFE_MICROS)),
        };
        let tx = begin_write(&self.store).await?;
        if self.scoped_servers().filter(server::Column::Id.eq(new.server.0)).count(&tx).await? == 0 {
            return Err(StoreError::NotFound);
        }
        Entity::insert(ActiveModel::from(row.clone()).reset_all()).exec_without_returning(&tx).await?;
        let newest_first = self.scoped_login_attempts().order_by_desc(Column::CreatedAt).order_by_desc(Column::Id);
        let old = beyond(&tx, newest_first, LOGIN_ATTEMPTS).await?;
        if !old.is_empty() {
            let old = Column::Id.is_in(old.into_iter().map(|row| row.id));
            self.scoped_login_attempt_deletion().filter(old).exec(&tx).await?;
        }
        tx.commit().await?;
        self.login_attempt_of(row)
    }

    /// A login, under way or ended, until an hour after its time.
    pub async fn login_attempt(&self, id: Uuid) -> Result<Option<LoginAttempt>, StoreError> {
        let row = self.scoped_login_attempts().filter(Column::Id.eq(id)).one(&self.store.inner.read).await?;
        row.map(|row| self.login_attempt_of(row)).transpose()
    }

    /// Ends a login; says no if it is none, or has ended. One that has expired can still fail or succeed: its browser
    /// may have come back in time and the upstream may be slow.
    pub async fn finish_login_attempt(&self, id: Uuid, outcome: LoginOutcome) -> Result<bool, StoreError> {
        let (state, connection, error) = match outcome {
            LoginOutcome::Authorized(connection) => ("authorized", Some(connection.0), None),
            LoginOutcome::Failed { error } => ("failed", None, Some(error)),
        };
        let ended = self
            .scoped_login_attempt_update()
            .col_expr(Column::State, Expr::value(state))
            .col_expr(Column::ConnectionId, Expr::value(connection))
            .col_expr(Column::Error, Expr::value(error))
            .filter(Column::Id.eq(id))
            .filter(Column::State.eq("pending"))
            .exec(&self.store.inner.write)
            .await?;
        Ok(ended.rows_affected == 1)
    }
}
