//! Everything that a database holds of one tenant, past the store: every column of every row of every table
//! that names a tenant, found by the schema itself, so that no table can be forgotten.

use model::TenantId;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement};

use crate::DATABASE;
use crate::house::{House, Kind};

/// Looks at tenants' rows.
pub(crate) struct Eye {
    db: DatabaseConnection,
    /// One query for all tables; `TENANT` stands for the id.
    query: String,
}

impl Eye {
    pub(crate) async fn on(house: &House) -> Self {
        let db = house.raw().await;
        let columns = match DATABASE {
            Kind::Sqlite => {
                "SELECT m.name AS t, c.name AS c FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'"
            }
            Kind::Postgres => {
                "SELECT table_name::text AS t, column_name::text AS c FROM information_schema.columns \
                 WHERE table_schema = 'public'"
            }
        };
        let mut tables: Vec<(String, Vec<String>)> = Vec::new();
        for row in db.query_all_raw(statement(columns)).await.unwrap() {
            let (table, column): (String, String) = (row.try_get("", "t").unwrap(), row.try_get("", "c").unwrap());
            match tables.iter_mut().find(|(name, _)| *name == table) {
                Some((_, columns)) => columns.push(column),
                None => tables.push((table, vec![column])),
            }
        }
        let parts: Vec<String> = tables.iter().filter_map(|(table, columns)| rows_of(table, columns)).collect();
        assert!(parts.len() >= 10, "tables that name a tenant: {parts:?}");
        Self { db, query: format!("SELECT {}", parts.join(" || ")) }
    }

    /// The rows as text.
    pub(crate) async fn sees(&self, tenant: TenantId) -> String {
        let id = match DATABASE {
            Kind::Sqlite => format!("X'{}'", tenant.to_string().replace('-', "")),
            Kind::Postgres => format!("'{tenant}'"),
        };
        let row = self.db.query_one_raw(statement(&self.query.replace("TENANT", &id))).await.unwrap().unwrap();
        row.try_get_by_index(0).unwrap()
    }
}

fn rows_of(table: &str, columns: &[String]) -> Option<String> {
    let tenant = if table == "tenant" { "id" } else { "tenant_id" };
    columns.iter().find(|column| *column == tenant)?;
    Some(match DATABASE {
        Kind::Sqlite => {
            let texts: Vec<_> = columns.iter().map(|column| format!("quote(\"{column}\")")).collect();
            format!(
                "(SELECT '\n{table}: ' || coalesce(group_concat(r, '\n'), '') FROM \
                 (SELECT {} AS r FROM \"{table}\" WHERE \"{tenant}\" = TENANT ORDER BY 1))",
                texts.join(" || ',' || ")
            )
        }
        Kind::Postgres => format!(
            "(SELECT E'\\n{table}: ' || coalesce(string_agg(r::text, E'\\n' ORDER BY r::text), '') \
             FROM \"{table}\" r WHERE \"{tenant}\" = TENANT)"
        ),
    })
}

fn statement(sql: &str) -> Statement {
    let backend = if DATABASE == Kind::Sqlite { DbBackend::Sqlite } else { DbBackend::Postgres };
    Statement::from_string(backend, sql)
}
