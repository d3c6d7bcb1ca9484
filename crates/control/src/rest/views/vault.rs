//! The keys above all secrets, and how far a change of them is.

use serde::Serialize;
use store::VaultJob;
use utoipa::ToSchema;

use super::instant;

/// The state of the vault.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Vault)]
pub(crate) struct VaultView {
    /// Those that the configuration names, the one that wraps first; then those that are missing.
    pub(crate) keks: Vec<KekView>,
    /// Rotations, the one that went on last first.
    pub(crate) jobs: Vec<JobView>,
}

/// A key that wraps data keys.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Kek)]
pub(crate) struct KekView {
    /// Tells it from others, and nothing of it.
    pub(crate) id: String,
    /// Whether it wraps.
    pub(crate) writes: bool,
    /// Whether the configuration of the replica that answers names it.
    pub(crate) configured: bool,
    /// Whether its holder answers now.
    pub(crate) healthy: bool,
    /// Data keys that only it opens: with none it can be put away. Backups of before need it.
    pub(crate) data_keys: u64,
}

/// A rotation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rotation)]
pub(crate) struct JobView {
    /// `kek` or `tenant`.
    what: String,
    /// Whose data key; null for all.
    #[schema(required)]
    tenant: Option<String>,
    /// `running`, `done` or `failed`.
    state: &'static str,
    /// Data keys or secrets that were looked at.
    done: u64,
    /// Of so many, as it began.
    total: u64,
    /// What could not be done.
    #[schema(required)]
    failure: Option<String>,
    #[schema(format = "date-time")]
    started_at: String,
    #[schema(format = "date-time")]
    updated_at: String,
}

impl From<&VaultJob> for JobView {
    fn from(job: &VaultJob) -> Self {
        Self {
            what: job.what.clone(),
            tenant: job.tenant.map(|tenant| tenant.to_string()),
            state: job.state.as_str(),
            done: job.done,
            total: job.total,
            failure: job.failure.clone(),
            started_at: instant(job.created_at),
            updated_at: instant(job.updated_at),
        }
    }
}
