//! `gatehouse department …`.

use clap::{Args, Subcommand};

const EXAMPLES: &str = "\
Examples:
  gatehouse department create research --title 'Research and Development'
  gatehouse user set ann --department research --department board";

/// What to do with departments.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum DepartmentVerb {
    /// Create a department
    Create(DepartmentCreate),
    /// List departments
    #[command(visible_alias = "list")]
    Ls {
        /// Removed ones instead
        #[arg(long)]
        deleted: bool,
    },
    /// Show one department
    Show {
        /// Name or id of the department
        name: String,
    },
    /// Change a department; what isn't named stays
    Set(DepartmentSet),
    /// Remove departments; `restore` brings one back for 90 days
    #[command(visible_alias = "remove")]
    Rm {
        /// Names or ids
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Bring a removed department back
    Restore {
        /// Name or id of the department
        name: String,
    },
}

/// A new department.
#[derive(Debug, Clone, Args)]
pub(crate) struct DepartmentCreate {
    /// Its slug: 1 to 32 of a-z, 0-9 and -
    pub(crate) name: String,
    /// Free text for people
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// What another system calls it
    #[arg(long, value_name = "ID")]
    pub(crate) external_id: Option<String>,
}

/// What to change of a department.
#[derive(Debug, Clone, Args)]
pub(crate) struct DepartmentSet {
    /// Name or id of the department
    pub(crate) department: String,
    /// New slug
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Free text for people
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// What another system calls it
    #[arg(long, value_name = "ID")]
    pub(crate) external_id: Option<String>,
    /// No other system knows it any more
    #[arg(long, conflicts_with = "external_id")]
    pub(crate) no_external_id: bool,
}
