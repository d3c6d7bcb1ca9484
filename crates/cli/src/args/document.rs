//! `gatehouse export` and `gatehouse apply`.

use std::path::PathBuf;

use clap::Args;

const EXPORTED: &str = "\
What is in it: departments, users, servers, issuers and keys of the tenant; with --all-tenants all tenants
with their settings, and the egress rules. What has its default value is left out. No ids, no times of change,
no secrets: keys are there as what they are (label, role, scopes, user, servers, end), not as what they open,
and of an issuer's client only that it has a secret (`client_secret: held`).

Examples:
  gatehouse export > tenant.yaml
  gatehouse export --all-tenants > house.yaml
  gatehouse export | gatehouse apply - --dry-run        says that nothing is to be done";

/// What to write.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXPORTED)]
pub(crate) struct Export {
    /// All tenants, their settings and the egress rules, for platform admins
    #[arg(long)]
    pub(crate) all_tenants: bool,
}

const APPLIED: &str = "\
A record in the document is declared whole: what it does not say has its default value. A section that is
not there says nothing. What is here and not in the document stays; with --prune it is removed from the
sections that the document has (and can be restored for 90 days), but never the tenant or the user
that this key belongs to. New servers are not probed and new issuers not fetched first:
`gatehouse server test NAME` and `gatehouse issuer refresh NAME` do.

Keys: a document holds no secrets, so keys are only made when asked with --create-keys, and their texts
are printed once. A key is known by its user and label; one that is here already is never changed or
revoked, with --prune neither.

An issuer's `client_secret` says where a secret is: `env:VARIABLE` or `file:PATH`, from the document's folder
on; the file must be closed to others. It is read and sent only where there is none yet; `gatehouse issuer set`
replaces one. The same goes for `client_secret` and `private_key` in a server's `auth`. A server's `credential`
is the one for everybody: it is sent when the server is made and when its `auth` changes; `gatehouse connection
set` replaces one. A server without `auth` in the document keeps the settings that it has.

Each record is written only as it was when the plan was made. A change that fails ends the run: what was
done is told and stays done, and the same command goes on from there.

Examples:
  gatehouse apply house.yaml --dry-run
  gatehouse apply house.yaml
  gatehouse apply - --yes < tenant.yaml
  gatehouse apply house.yaml --prune --create-keys";

/// What to make so.
#[derive(Debug, Clone, Args)]
#[command(after_help = APPLIED)]
pub(crate) struct Apply {
    /// The document; `-` reads standard input
    #[arg(value_name = "FILE|-")]
    pub(crate) file: PathBuf,
    /// Show the plan and end
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Don't ask
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Remove what the document's sections don't name
    #[arg(long)]
    pub(crate) prune: bool,
    /// Make the keys that are not here yet and print them once
    #[arg(long)]
    pub(crate) create_keys: bool,
}
