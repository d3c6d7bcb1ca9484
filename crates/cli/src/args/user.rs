//! `gatehouse user …`.

use clap::{Args, Subcommand};

use super::role::RoleWord;
use super::span::Span;

const EXAMPLES: &str = "\
Examples:
  gatehouse user create ann --title 'Ann Lee' --department research --department board
  gatehouse key create --user ann --label laptop --expires-in 90d
  gatehouse user disable ann           her keys are refused at once, her record stays
  gatehouse user set ann --no-departments
  gatehouse user link ann              a link with which she sets a password, once

The order of --department counts: where departments differ, the first one that has a say decides.";

/// What to do with users.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum UserVerb {
    /// Create a user; a key of their own comes from `gatehouse key create --user`
    Create(UserCreate),
    /// List users
    #[command(visible_alias = "list")]
    Ls(UserLs),
    /// Show one user
    Show {
        /// Login or id of the user
        login: String,
    },
    /// Change a user; what isn't named stays
    Set(UserSet),
    /// Remove users, whose keys are refused at once; `restore` brings one back for 90 days
    #[command(visible_alias = "remove")]
    Rm {
        /// Logins or ids
        #[arg(required = true)]
        logins: Vec<String>,
    },
    /// Bring a removed user back
    Restore {
        /// Login or id of the user
        login: String,
    },
    /// Make a link with which a user signs in once and sets a password
    Link {
        /// Login or id of the user
        login: String,
        /// How long the link serves, 15m to 24h [default: 24h]
        #[arg(long, value_name = "SPAN")]
        ttl: Option<Span>,
    },
    /// Let the keys of a user in again
    Enable {
        /// Login or id of the user
        login: String,
    },
    /// Refuse all keys and tokens of a user, end their sessions and what apps were allowed; the record stays
    Disable {
        /// Login or id of the user
        login: String,
    },
}

/// Which users to list.
#[derive(Debug, Clone, Args)]
pub(crate) struct UserLs {
    /// Only those whose login or title holds this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) search: Option<String>,
    /// Removed ones instead
    #[arg(long)]
    pub(crate) deleted: bool,
}

/// A new user.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UserCreate {
    /// How the user is known here, e.g. ann or ann@example.com
    pub(crate) login: String,
    /// Name for people
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// What another system calls the user
    #[arg(long, value_name = "ID")]
    pub(crate) external_id: Option<String>,
    /// Department of the user, repeat for more, in the order that counts
    #[arg(long = "department", value_name = "NAME")]
    pub(crate) departments: Vec<String>,
    /// What the user may do; a key may do less, never more [default: user]
    #[arg(long, value_enum)]
    pub(crate) role: Option<RoleWord>,
    /// Save the record and let none of its keys in
    #[arg(long)]
    pub(crate) disabled: bool,
}

/// What to change of a user.
#[derive(Debug, Clone, Args)]
pub(crate) struct UserSet {
    /// Login or id of the user
    pub(crate) user: String,
    /// New login
    #[arg(long)]
    pub(crate) login: Option<String>,
    /// Name for people
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// What another system calls the user
    #[arg(long, value_name = "ID")]
    pub(crate) external_id: Option<String>,
    /// No other system knows the user any more
    #[arg(long, conflicts_with = "external_id")]
    pub(crate) no_external_id: bool,
    /// All departments anew, repeat for more, in the order that counts
    #[arg(long = "department", value_name = "NAME")]
    pub(crate) departments: Vec<String>,
    /// In no department any more
    #[arg(long, conflicts_with = "departments")]
    pub(crate) no_departments: bool,
    /// What the user may do
    #[arg(long, value_enum)]
    pub(crate) role: Option<RoleWord>,
}
