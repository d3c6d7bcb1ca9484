//! `gatehouse issuer …`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};

use super::role::RoleWord;

const EXAMPLES: &str = "\
Examples:
  gatehouse issuer add corp https://id.example.com --client-id gatehouse --client-secret-file secret --sign-in
  gatehouse issuer add corp https://id.example.com --audience api://gatehouse --departments-claim groups
  gatehouse issuer set corp --role-claim realm_access.roles --role gatehouse-admins=tenant_admin
  gatehouse issuer refresh corp        fetches its document and its keys now
  gatehouse issuer disable corp        its tokens are refused at once

A claim is named as the issuer names it; dots lead into objects.
The client's secret is never typed: a file holds it (`-` is standard input), or a variable of the environment.";

/// What to do with identity providers.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum IssuerVerb {
    /// Add an identity provider (OpenID Connect); its document and keys are fetched first
    Add(IssuerAdd),
    /// List identity providers
    #[command(visible_alias = "list")]
    Ls,
    /// Show one identity provider
    Show {
        /// Name or id of the issuer
        issuer: String,
    },
    /// Change an identity provider; what isn't named stays
    Set(IssuerSet),
    /// Remove identity providers for good: their tokens are refused at once
    #[command(visible_alias = "remove")]
    Rm {
        /// Names or ids
        #[arg(required = true)]
        issuers: Vec<String>,
    },
    /// Believe an identity provider again
    Enable {
        /// Name or id of the issuer
        issuer: String,
    },
    /// Refuse all tokens of an identity provider and keep its record
    Disable {
        /// Name or id of the issuer
        issuer: String,
    },
    /// Fetch its document and its keys now
    Refresh {
        /// Name or id of the issuer
        issuer: String,
    },
}

/// A new identity provider.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct IssuerAdd {
    /// Its slug: 1 to 32 of a-z, 0-9 and -
    pub(crate) name: String,
    /// What it calls itself, letter by letter: the claim `iss`
    #[arg(value_name = "URL")]
    pub(crate) issuer: String,
    #[command(flatten)]
    pub(crate) record: IssuerRecord,
    /// Save it though its document can't be fetched now
    #[arg(long)]
    pub(crate) unchecked: bool,
}

/// What to change of an identity provider.
#[derive(Debug, Clone, Args)]
pub(crate) struct IssuerSet {
    /// Name or id of the issuer
    pub(crate) issuer: String,
    /// New slug
    #[arg(long)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) record: IssuerRecord,
    /// No client any more: nobody signs in with it
    #[arg(long, conflicts_with = "client_id")]
    pub(crate) no_client_id: bool,
    /// A client without a secret
    #[arg(long, conflicts_with_all = ["client_secret_file", "client_secret_env"])]
    pub(crate) no_client_secret: bool,
    /// Only the URL that it was asked for counts as audience of a token
    #[arg(long, conflicts_with = "audiences")]
    pub(crate) no_audiences: bool,
    /// Its tokens say nothing of departments
    #[arg(long, conflicts_with = "departments_claim")]
    pub(crate) no_departments_claim: bool,
    /// Its tokens say nothing of roles
    #[arg(long, conflicts_with_all = ["role_claim", "roles"])]
    pub(crate) no_role_claim: bool,
    /// No scope is asked for
    #[arg(long, conflicts_with = "scope")]
    pub(crate) no_scope: bool,
}

/// What is known of an identity provider besides its name and URL.
#[derive(Debug, Clone, Args)]
pub(crate) struct IssuerRecord {
    /// Name for people
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// The client that control is there, for signing in
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// File that holds the client's secret; `-` reads standard input
    #[arg(long, value_name = "FILE|-")]
    pub(crate) client_secret_file: Option<PathBuf>,
    /// Variable of the environment that holds the client's secret
    #[arg(long, value_name = "VARIABLE", conflicts_with = "client_secret_file")]
    pub(crate) client_secret_env: Option<String>,
    /// Audience of tokens for MCP clients, beside the URL they are presented at; repeat for more
    #[arg(long = "audience", value_name = "AUD")]
    pub(crate) audiences: Vec<String>,
    /// How its tokens may be signed, repeat for more [default: all three]
    #[arg(long = "algorithm", value_name = "ALG", value_parser = ["RS256", "ES256", "EdDSA"])]
    pub(crate) algorithms: Vec<String>,
    /// Claim of the login [default: preferred_username]
    #[arg(long, value_name = "CLAIM")]
    pub(crate) login_claim: Option<String>,
    /// Claim of what it calls a user for ever [default: sub]
    #[arg(long, value_name = "CLAIM")]
    pub(crate) external_id_claim: Option<String>,
    /// Claim of the departments, in their order
    #[arg(long, value_name = "CLAIM")]
    pub(crate) departments_claim: Option<String>,
    /// Claim of the role
    #[arg(long, value_name = "CLAIM")]
    pub(crate) role_claim: Option<String>,
    /// What a value of the role's claim stands for, repeat for more; the strongest counts
    #[arg(long = "role", value_name = "VALUE=ROLE")]
    pub(crate) roles: Vec<RoleOf>,
    /// Scope that an access token must have
    #[arg(long)]
    pub(crate) scope: Option<String>,
    /// Whether people without a record come in [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) unknown_users: Option<bool>,
    /// Whether the sign-in page offers it [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) sign_in: Option<bool>,
    /// Whether MCP clients may present its tokens [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub(crate) mcp: Option<bool>,
}

/// A value of a claim and the role that it stands for: `admins=tenant_admin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoleOf {
    pub(crate) value: String,
    pub(crate) role: &'static str,
}

impl FromStr for RoleOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        use clap::ValueEnum as _;
        // The value may hold an equals sign, a role never.
        let (value, role) = text.rsplit_once('=').ok_or("expected VALUE=ROLE")?;
        if value.is_empty() {
            return Err("expected a value before the equals sign".to_owned());
        }
        let role = RoleWord::from_str(role, false)
            .map_err(|_| "the role is one of viewer, user, tenant_admin, platform_admin".to_owned())?;
        Ok(Self { value: value.to_owned(), role: role.as_str() })
    }
}
