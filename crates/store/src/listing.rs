//! What all lists share: how long a page may be, and what a search finds.

use sea_orm::sea_query::{Expr, ExprTrait, Func};
use sea_orm::{ColumnTrait, Condition, DbBackend};

/// The most records that one page answers.
const MAX_PAGE: u32 = 500;

/// How many records to read for a page of `limit`.
pub(crate) fn page_size(limit: u32) -> u64 {
    u64::from(limit.clamp(1, MAX_PAGE))
}

/// Whether one of the columns holds the text, whatever the case. The text is looked for as it stands:
/// `%`, `_` and `\` mean themselves. The database lowers both sides, so that they are lowered alike.
pub(crate) fn holds<C: ColumnTrait>(backend: DbBackend, columns: &[C], text: &str) -> Condition {
    columns.iter().fold(Condition::any(), |any, column| {
        let (column, text) = (Func::lower(Expr::col(*column)), Func::lower(Expr::value(text)));
        any.add(position(backend, Expr::expr(column), Expr::expr(text)).gt(0))
    })
}

/// Whether the JSON list in the column has exactly this text as an element, which must not be `,`.
pub(crate) fn lists<C: ColumnTrait>(backend: DbBackend, column: C, text: &str) -> Condition {
    let element = serde_json::Value::from(text);
    let at = |mark: &str| position(backend, Expr::col(column), Expr::value(format!("{mark}{element}")));
    Condition::any().add(at("[").eq(1)).add(at(",").gt(0))
}

/// Where the text stands in the column, from 1; 0 for nowhere.
fn position(backend: DbBackend, column: Expr, text: Expr) -> Expr {
    let name = if backend == DbBackend::Postgres { "strpos" } else { "instr" };
    Expr::expr(Func::cust(name).arg(column).arg(text))
}
