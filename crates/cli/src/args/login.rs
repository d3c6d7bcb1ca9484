//! `gatehouse login` and `gatehouse logout`.

use clap::Args;

use super::ConnectionOf;

const EXAMPLES: &str = "\
Examples:
  gatehouse login notes                            your own connection, or everybody's with a key of nobody
  gatehouse login notes --scope global             everybody's, as an admin
  gatehouse login notes --scope user --for ann     a link for ann: only she can go on with it

Open the link in a browser and sign in to Gatehouse, then at the server's own sign-in. The command waits until that is
done, ten minutes at most.";

/// `gatehouse login`.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Login {
    #[command(flatten)]
    pub(crate) of: ConnectionOf,
    /// Print the link and end; don't wait for the sign-in
    #[arg(long, visible_alias = "no-browser")]
    pub(crate) no_wait: bool,
}
