//! A problem as the document describes it; `rest/problem.rs` writes it.

use serde::Serialize;
use utoipa::ToSchema;

/// What went wrong: `application/problem+json`. Some codes add a member, as problems.md says.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemView {
    /// `urn:gatehouse:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// A word or two for people.
    title: String,
    /// The answer's status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// Stable: programs tell problems apart by it.
    code: String,
    /// One sentence for people.
    detail: String,
    /// Under which the log and the audit have this request.
    trace_id: String,
    /// The fields that don't fit, each with its path.
    errors: Vec<FieldProblemView>,
}

/// What is wrong with one field.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FieldProblem)]
struct FieldProblemView {
    /// Its path, e.g. `headers.X-Team`.
    field: String,
    /// Stable code.
    code: String,
    /// One sentence for people.
    detail: String,
}
