//! What became of rows of another system.

use serde::Serialize;
use utoipa::ToSchema;

use crate::rest::import::{Outcome, Told};

/// The report.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Imported)]
pub(crate) struct ImportedView {
    /// Rows that became something, or would have.
    pub(crate) imported: usize,
    /// Rows that there was nothing to do for.
    pub(crate) skipped: usize,
    /// Rows that could not become what they say.
    pub(crate) failed: usize,
    /// Row by row.
    pub(crate) rows: Vec<ImportedRowView>,
}

/// What became of a row.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ImportedRow)]
pub(crate) struct ImportedRowView {
    /// As it was sent.
    line: u64,
    /// `server`, `connection`, or `row` for what is neither.
    kind: &'static str,
    /// What the row calls its server.
    #[schema(required)]
    name: Option<String>,
    /// `imported`, `skipped` or `failed`.
    outcome: &'static str,
    /// Why it was not imported.
    #[schema(required)]
    reason: Option<String>,
    #[schema(required, format = "uuid")]
    server: Option<String>,
    #[schema(required, format = "uuid")]
    connection: Option<String>,
    /// What was passed over.
    warnings: Vec<String>,
}

impl From<Vec<Told>> for ImportedView {
    fn from(told: Vec<Told>) -> Self {
        let count = |outcome| told.iter().filter(|told| told.outcome == outcome).count();
        Self {
            imported: count(Outcome::Imported),
            skipped: count(Outcome::Skipped),
            failed: count(Outcome::Failed),
            rows: told.into_iter().map(ImportedRowView::from).collect(),
        }
    }
}

impl From<Told> for ImportedRowView {
    fn from(told: Told) -> Self {
        Self {
            line: told.line,
            kind: told.kind,
            name: told.name,
            outcome: match told.outcome {
                Outcome::Imported => "imported",
                Outcome::Skipped => "skipped",
                Outcome::Failed => "failed",
            },
            reason: told.reason,
            server: told.server.map(|id| id.to_string()),
            connection: told.connection,
            warnings: told.warnings,
        }
    }
}
