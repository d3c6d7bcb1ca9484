//! `gatehouse-control certificate`: the plane's CA, and certificates for its proxies.

use std::path::PathBuf;

use clap::Subcommand;
use control::pki::{Pki, PkiError};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make the plane's CA and control's certificate in the folder of `pki_dir`; what is there stays
    Authority {
        /// The folder; made if it isn't there.
        #[arg(long, env = "GATEHOUSE_PKI_DIR")]
        pki_dir: PathBuf,
    },
    /// Write the three files that a proxy needs for the link: ca.pem, proxy.pem and proxy.key
    Issue(Issue),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Issue {
    /// The folder with the plane's CA.
    #[arg(long, env = "GATEHOUSE_PKI_DIR")]
    pki_dir: PathBuf,
    /// The pool that the certificate names: a proxy that holds it gets the tenants of this pool.
    #[arg(long, default_value = control::pki::DEFAULT_POOL)]
    pool: String,
    /// The folder to write to; made if it isn't there.
    #[arg(long)]
    out: PathBuf,
    /// Days for which it is valid.
    #[arg(long, default_value_t = 825, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Keep a certificate of this plane and pool that is there and valid for so many days more.
    #[arg(long, value_name = "DAYS")]
    keep: Option<u32>,
}

/// Makes what was asked for.
pub(crate) fn run(command: &Command) -> Result<(), PkiError> {
    match command {
        Command::Authority { pki_dir } => Pki::found(pki_dir),
        Command::Issue(Issue { pki_dir, pool, out, days, keep }) => {
            let made = Pki::load(pki_dir)?.issue_into(out, pool, *days, *keep)?;
            tracing::info!(%pool, out = %out.display(), "{}", if made { "certificate issued" } else { "certificate kept" });
            Ok(())
        }
    }
}
