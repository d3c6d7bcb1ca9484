//! `gatehouse vault …`.

use clap::Subcommand;

const EXAMPLES: &str = "\
Examples:
  gatehouse vault status
  gatehouse vault rotate kek
  gatehouse vault rotate tenant --tenant acme

`gatehouse vault rotate kek --help` says how the key above all others is replaced.";

const KEK_STEPS: &str = "\
Another key above all others takes three steps. Everything is served meanwhile:
  1. It is readable everywhere: name its file in kek_files_old of every control, beside kek_file, and restart them
     one after the other.
  2. It writes: make it kek_file, and the one of before kek_files_old, in every control, and restart them again.
     Whoever did so first is understood by those who have yet to.
  3. All data keys come under it: `gatehouse vault rotate kek`. When `gatehouse vault status` shows no data keys under
     the key of before, that one can be taken out of kek_files_old. Backups of before need it: keep it with them.";

/// The keys under which secrets are sealed.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum VaultVerb {
    /// Show which keys wrap data keys, and how far rotations are
    Status,
    /// Put new keys in place of old ones, while everything is served
    #[command(subcommand)]
    Rotate(RotateVerb),
}

/// Which keys.
#[derive(Debug, Clone, Copy, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum RotateVerb {
    /// Wrap all data keys under the first key of control's configuration
    #[command(after_help = KEK_STEPS)]
    Kek,
    /// Give tenants new data keys, seal everything anew and destroy the old ones; with --tenant one tenant's only
    Tenant,
}
