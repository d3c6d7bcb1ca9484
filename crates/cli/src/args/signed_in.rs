//! `gatehouse session …` and `gatehouse grant …`: who is signed in, and which clients were let in.

use clap::Subcommand;

const SESSIONS: &str = "\
Examples:
  gatehouse session ls
  gatehouse session rm 01890000-0000-7000-8000-000000000000

An admin sees everybody's, others their own.";

/// What to do with sessions of people at control.
#[derive(Debug, Subcommand)]
#[command(after_help = SESSIONS)]
pub(crate) enum SessionVerb {
    /// List who is signed in
    #[command(visible_alias = "list")]
    Ls,
    /// End sessions at once
    #[command(visible_alias = "remove")]
    Rm {
        /// Ids of the sessions
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

const GRANTS: &str = "\
Examples:
  gatehouse grant ls
  gatehouse grant rm 01890000-0000-7000-8000-000000000000

An admin sees everybody's, others their own.";

/// What to do with clients that people have let in.
#[derive(Debug, Subcommand)]
#[command(after_help = GRANTS)]
pub(crate) enum GrantVerb {
    /// List which clients were let in, and for what
    #[command(visible_alias = "list")]
    Ls,
    /// Refuse clients everywhere, at once
    #[command(visible_alias = "remove")]
    Rm {
        /// Ids of the grants
        #[arg(required = true)]
        ids: Vec<String>,
    },
}
