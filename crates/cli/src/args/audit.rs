//! `gatehouse audit …`.

use clap::{Args, Subcommand};

use super::span::Instant;

const EXAMPLES: &str = "\
Examples:
  gatehouse audit ls --since 24h
  gatehouse audit ls --since 2026-01-01 --until 2026-02-01 --action server.delete
  gatehouse audit ls --actor 0123456789abcdef --limit 1000 --json";

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum AuditVerb {
    /// List changes, the newest first
    #[command(visible_alias = "list")]
    Ls(AuditLs),
}

/// Which changes to list.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct AuditLs {
    /// Only from then on: 2026-01-31, 2026-01-31T12:00:00Z, or 24h for so long ago
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<Instant>,
    /// Only before
    #[arg(long, value_name = "WHEN")]
    pub(crate) until: Option<Instant>,
    /// Only of this key or user
    #[arg(long)]
    pub(crate) actor: Option<String>,
    /// Only this kind of change, as the list shows it
    #[arg(long)]
    pub(crate) action: Option<String>,
    /// Only changes of this object, as the list shows it
    #[arg(long)]
    pub(crate) object: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
}
