//! `gatehouse vault …`.

use clap::Subcommand;

const EXAMPLES: &str = "\
Examples:
  gatehouse vault status
  gatehouse vault rotate kek
  gatehouse vault rotate tenant --tenant acme

Another key above all others: put its file first into control's configuration (kek_file), the old one into
kek_files_old, restart every control, run `gatehouse vault rotate kek`, and take the old one away when
`gatehouse vault status` shows no data keys under it. Everything is served meanwhile.";

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
    Kek,
    /// Give tenants new data keys, seal everything anew and destroy the old ones; with --tenant one tenant's only
    Tenant,
}
