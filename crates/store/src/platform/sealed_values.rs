//! Everything that the vault sealed, page by page, to be sealed anew under another key.
//!
//! A page begins where the one before ended, whatever was written meanwhile; what is put in the place of a value is put
//! only if that is still there, and in a writer's turn: no change can write back what it read before.

use std::fmt;

use model::TenantId;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::PlatformStore;
use crate::StoreError;
use crate::bounds;
use crate::change::Change;
use crate::entity::{connection, issuer, sealed, server, upstream_client};

/// The most rows of one page.
const MAX_PAGE: u32 = 200;
/// Separates the parts of a cursor; no part but the last can hold it.
const MARK: char = '/';

/// A sealed value and where it belongs.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedValue {
    /// Whose it is; the nil id for the platform.
    pub tenant: TenantId,
    /// `connection`, `server`, `upstream_client`, `issuer`, or `sealed` for what the platform keeps by name.
    pub kind: &'static str,
    /// The record's id (of an upstream's client the server's); nil for what is kept by name.
    pub record: Uuid,
    /// `credential`, `token`, `auth_secret` or `client_secret`; the issuer of an upstream's client, and the name of what is
    /// kept by name.
    pub field: String,
    /// For which version it was sealed, where the record counts them; else 0.
    pub version: i64,
    /// What the vault made of it.
    pub sealed: Vec<u8>,
}

/// Some sealed values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedPage {
    /// Up to two of each row.
    pub values: Vec<SealedValue>,
    /// Where the next page begins; `None` at the end. An empty page may have a next one.
    pub next: Option<String>,
}

/// A value that was sealed anew.
#[derive(Debug, Clone)]
pub struct Resealed {
    /// The value as it was read.
    pub value: SealedValue,
    /// What the vault made of it now, for the same place and version.
    pub sealed: Vec<u8>,
}

/// Without the sealed bytes.
impl fmt::Debug for SealedValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedValue")
            .field("tenant", &self.tenant)
            .field("kind", &self.kind)
            .field("record", &self.record)
            .field("field", &self.field)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// The tables with sealed values, in the order in which they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Connection,
    Server,
    UpstreamClient,
    Issuer,
    Sealed,
}

impl Source {
    const ALL: [Self; 5] = [Self::Connection, Self::Server, Self::UpstreamClient, Self::Issuer, Self::Sealed];

    fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Server => "server",
            Self::UpstreamClient => "upstream_client",
            Self::Issuer => "issuer",
            Self::Sealed => "sealed",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == word)
    }

    fn next(self) -> Option<Self> {
        Self::ALL.into_iter().skip_while(|source| *source != self).nth(1)
    }
}

/// After which row of which table a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor {
    source: Source,
    after: Option<(Uuid, Uuid, String)>,
}

impl Cursor {
    fn parse(text: Option<&str>) -> Option<Self> {
        let Some(text) = text else { return Some(Self { source: Source::Connection, after: None }) };
        let mut parts = text.splitn(4, MARK);
        let source = Source::parse(parts.next()?)?;
        let after = match parts.next() {
            None => None,
            Some(tenant) => Some((tenant.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.to_owned())),
        };
        Some(Self { source, after })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.source.as_str())?;
        match &self.after {
            Some((tenant, record, field)) => write!(f, "{MARK}{tenant}{MARK}{record}{MARK}{field}"),
            None => Ok(()),
        }
    }
}

impl PlatformStore {
    /// The sealed values of all, or of one tenant (the nil id for what is kept by name), of at most 200 rows after the
    /// cursor. `Corrupt` for a cursor that is none.
    pub async fn sealed_values_after(
        &self,
        tenant: Option<TenantId>,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<SealedPage, StoreError> {
        let cursor = Cursor::parse(cursor).ok_or(StoreError::Corrupt { what: "cursor of sealed values" })?;
        let (source, limit) = (cursor.source, limit.clamp(1, MAX_PAGE));
        let (values, last) = match source {
            Source::Connection => self.sealed_of_connections(tenant, cursor, limit).await?,
            Source::Server => self.sealed_of_servers(tenant, cursor, limit).await?,
            Source::UpstreamClient => self.sealed_of_clients(tenant, cursor, limit).await?,
            Source::Issuer => self.sealed_of_issuers(tenant, cursor, limit).await?,
            Source::Sealed => self.sealed_by_name(tenant, cursor, limit).await?,
        };
        let next = match last {
            Some(after) => Some(Cursor { source, after: Some(after) }),
            None => source.next().map(|source| Cursor { source, after: None }),
        };
        Ok(SealedPage { values, next: next.map(|cursor| cursor.to_string()) })
    }

    /// How many there are of all, or of one tenant, for who shows how far such work is.
    pub async fn sealed_value_count(&self, tenant: Option<TenantId>) -> Result<u64, StoreError> {
        let db = &self.store.inner.read;
        let id = tenant.map(|tenant| tenant.0);
        let mut count = 0;
        for column in [connection::Column::Credential, connection::Column::Token] {
            let those = connection::Entity::find().filter(column.is_not_null());
            count += those.filter(of(connection::Column::TenantId, id)).count(db).await?;
        }
        let servers = server::Entity::find().filter(server::Column::AuthSecret.is_not_null());
        count += servers.filter(of(server::Column::TenantId, id)).count(db).await?;
        let clients = upstream_client::Entity::find().filter(upstream_client::Column::Secret.is_not_null());
        count += clients.filter(of(upstream_client::Column::TenantId, id)).count(db).await?;
        let issuers = issuer::Entity::find().filter(issuer::Column::ClientSecret.is_not_null());
        count += issuers.filter(of(issuer::Column::TenantId, id)).count(db).await?;
        if id.is_none_or(|id| id.is_nil()) {
            count += sealed::Entity::find().count(db).await?;
        }
        Ok(count)
    }

    /// Puts values in place of those that they were made of, in one turn; answers of how many these were still there.
    pub async fn replace_sealed_values(&self, resealed: Vec<Resealed>) -> Result<u64, StoreError> {
        let change = Change::begin(&self.store).await?;
        let mut replaced = 0;
        for Resealed { value, sealed } in resealed {
            bounds::fits_sealed(&sealed)?;
            replaced += self.replace(&change, value, sealed).await?;
        }
        change.quietly().await?;
        Ok(replaced)
    }

    async fn replace(&self, change: &Change, value: SealedValue, now: Vec<u8>) -> Result<u64, StoreError> {
        let SealedValue { tenant: TenantId(tenant), kind, record, field, sealed: before, .. } = value;
        let (source, now) = (Source::parse(kind), Expr::value(now));
        let written = match source {
            Some(Source::Connection) => {
                use connection::Column;
                let column = if field == "token" { Column::Token } else { Column::Credential };
                let those = connection::Entity::update_many().col_expr(column, now).filter(column.eq(before));
                those.filter(Column::TenantId.eq(tenant)).filter(Column::Id.eq(record)).exec(&change.tx).await?
            }
            Some(Source::Server) => {
                use server::Column;
                let those = server::Entity::update_many().col_expr(Column::AuthSecret, now);
                let those = those.filter(Column::AuthSecret.eq(before));
                those.filter(Column::TenantId.eq(tenant)).filter(Column::Id.eq(record)).exec(&change.tx).await?
            }
            Some(Source::UpstreamClient) => {
                use upstream_client::Column;
                let those = upstream_client::Entity::update_many().col_expr(Column::Secret, now);
                let those = those.filter(Column::Secret.eq(before)).filter(Column::Issuer.eq(field));
                those.filter(Column::TenantId.eq(tenant)).filter(Column::ServerId.eq(record)).exec(&change.tx).await?
            }
            Some(Source::Issuer) => {
                use issuer::Column;
                let those = issuer::Entity::update_many().col_expr(Column::ClientSecret, now);
                let those = those.filter(Column::ClientSecret.eq(before));
                those.filter(Column::TenantId.eq(tenant)).filter(Column::Id.eq(record)).exec(&change.tx).await?
            }
            Some(Source::Sealed) => {
                use sealed::Column;
                let those = sealed::Entity::update_many().col_expr(Column::Bytes, now);
                those.filter(Column::Bytes.eq(before)).filter(Column::Name.eq(field)).exec(&change.tx).await?
            }
            None => return Ok(0),
        };
        Ok(written.rows_affected)
    }

    async fn sealed_of_connections(
        &self,
        tenant: Option<TenantId>,
        cursor: Cursor,
        limit: u32,
    ) -> Result<Read, StoreError> {
        use connection::Column;
        let given = Condition::any().add(Column::Credential.is_not_null()).add(Column::Token.is_not_null());
        let rows = connection::Entity::find()
            .filter(given)
            .filter(of(Column::TenantId, tenant.map(|tenant| tenant.0)))
            .filter(after(Column::TenantId, Column::Id, &cursor))
            .order_by_asc(Column::TenantId)
            .order_by_asc(Column::Id)
            .limit(u64::from(limit))
            .all(&self.store.inner.read)
            .await?;
        let last = full(&rows, limit).map(|row| (row.tenant_id, row.id, String::new()));
        let mut values = Vec::new();
        for row in rows {
            let value = |field: &str, version: i64, sealed: Vec<u8>| SealedValue {
                tenant: TenantId(row.tenant_id),
                kind: Source::Connection.as_str(),
                record: row.id,
                field: field.to_owned(),
                version,
                sealed,
            };
            values.extend(row.credential.map(|sealed| value("credential", row.credential_version, sealed)));
            values.extend(row.token.map(|sealed| value("token", row.token_generation, sealed)));
        }
        Ok((values, last))
    }

    async fn sealed_of_servers(
        &self,
        tenant: Option<TenantId>,
        cursor: Cursor,
        limit: u32,
    ) -> Result<Read, StoreError> {
        use server::Column;
        let rows = server::Entity::find()
            .filter(Column::AuthSecret.is_not_null())
            .filter(of(Column::TenantId, tenant.map(|tenant| tenant.0)))
            .filter(after(Column::TenantId, Column::Id, &cursor))
            .order_by_asc(Column::TenantId)
            .order_by_asc(Column::Id)
            .limit(u64::from(limit))
            .all(&self.store.inner.read)
            .await?;
        let last = full(&rows, limit).map(|row| (row.tenant_id, row.id, String::new()));
        let values = rows.into_iter().filter_map(|row| {
            Some(SealedValue {
                tenant: TenantId(row.tenant_id),
                kind: Source::Server.as_str(),
                record: row.id,
                field: "auth_secret".to_owned(),
                version: row.auth_secret_version,
                sealed: row.auth_secret?,
            })
        });
        Ok((values.collect(), last))
    }

    async fn sealed_of_clients(
        &self,
        tenant: Option<TenantId>,
        cursor: Cursor,
        limit: u32,
    ) -> Result<Read, StoreError> {
        use upstream_client::Column;
        let mut later = after(Column::TenantId, Column::ServerId, &cursor);
        if let Some((tenant, server, issuer)) = &cursor.after {
            let same = Condition::all().add(Column::TenantId.eq(*tenant)).add(Column::ServerId.eq(*server));
            later = Condition::any().add(later).add(same.add(Column::Issuer.gt(issuer.as_str())));
        }
        let rows = upstream_client::Entity::find()
            .filter(Column::Secret.is_not_null())
            .filter(of(Column::TenantId, tenant.map(|tenant| tenant.0)))
            .filter(later)
            .order_by_asc(Column::TenantId)
            .order_by_asc(Column::ServerId)
            .order_by_asc(Column::Issuer)
            .limit(u64::from(limit))
            .all(&self.store.inner.read)
            .await?;
        let last = full(&rows, limit).map(|row| (row.tenant_id, row.server_id, row.issuer.clone()));
        let values = rows.into_iter().filter_map(|row| {
            Some(SealedValue {
                tenant: TenantId(row.tenant_id),
                kind: Source::UpstreamClient.as_str(),
                record: row.server_id,
                field: row.issuer,
                version: 0,
                sealed: row.secret?,
            })
        });
        Ok((values.collect(), last))
    }

    async fn sealed_of_issuers(
        &self,
        tenant: Option<TenantId>,
        cursor: Cursor,
        limit: u32,
    ) -> Result<Read, StoreError> {
        use issuer::Column;
        let rows = issuer::Entity::find()
            .filter(Column::ClientSecret.is_not_null())
            .filter(of(Column::TenantId, tenant.map(|tenant| tenant.0)))
            .filter(after(Column::TenantId, Column::Id, &cursor))
            .order_by_asc(Column::TenantId)
            .order_by_asc(Column::Id)
            .limit(u64::from(limit))
            .all(&self.store.inner.read)
            .await?;
        let last = full(&rows, limit).map(|row| (row.tenant_id, row.id, String::new()));
        let values = rows.into_iter().filter_map(|row| {
            Some(SealedValue {
                tenant: TenantId(row.tenant_id),
                kind: Source::Issuer.as_str(),
                record: row.id,
                field: "client_secret".to_owned(),
                version: 0,
                sealed: row.client_secret?,
            })
        });
        Ok((values.collect(), last))
    }

    async fn sealed_by_name(&self, tenant: Option<TenantId>, cursor: Cursor, limit: u32) -> Result<Read, StoreError> {
        use sealed::Column;
        if tenant.is_some_and(|tenant| !tenant.0.is_nil()) {
            return Ok((Vec::new(), None));
        }
        let mut query = sealed::Entity::find();
        if let Some((_, _, name)) = cursor.after {
            query = query.filter(Column::Name.gt(name));
        }
        let query = query.order_by_asc(Column::Name).limit(u64::from(limit));
        let rows = query.all(&self.store.inner.read).await?;
        let last = full(&rows, limit).map(|row| (Uuid::nil(), Uuid::nil(), row.name.clone()));
        let values = rows.into_iter().map(|row| SealedValue {
            tenant: TenantId(Uuid::nil()),
            kind: Source::Sealed.as_str(),
            record: Uuid::nil(),
            field: row.name,
            version: 0,
            sealed: row.bytes,
        });
        Ok((values.collect(), last))
    }
}

/// Values of a table, and after which row the next page begins if there may be more.
type Read = (Vec<SealedValue>, Option<(Uuid, Uuid, String)>);

fn full<T>(rows: &[T], limit: u32) -> Option<&T> {
    rows.last().filter(|_| rows.len() >= limit as usize)
}

/// Only those of one tenant.
fn of(column: impl ColumnTrait, tenant: Option<Uuid>) -> Condition {
    Condition::all().add_option(tenant.map(|tenant| column.eq(tenant)))
}

/// Those after the row of the cursor, in the order of tenants and records.
fn after(tenant: impl ColumnTrait, record: impl ColumnTrait, cursor: &Cursor) -> Condition {
    let Some((of, id, _)) = &cursor.after else { return Condition::all() };
    let same = Condition::all().add(tenant.eq(*of)).add(record.gt(*id));
    Condition::any().add(tenant.gt(*of)).add(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_whatever_a_name_holds() {
        for text in ["connection", "sealed", &format!("upstream_client/{0}/{0}/https://a.example/x/", Uuid::nil())] {
            assert_eq!(Cursor::parse(Some(text)).unwrap().to_string(), text);
        }
        for odd in ["", "nonsense", "connection/", "connection/x", "server/00000000-0000-0000-0000-000000000000"] {
            assert_eq!(Cursor::parse(Some(odd)), None, "{odd}");
        }
    }
}
