//! `lock show` and `lock break`.

use clap::{Args, Subcommand};

use super::arguments::{Global, PlaybookArguments};
use super::connect::connected;
use super::exit::Exit;
use super::open::{Missing, open};
use super::{output, page};
use crate::ops::Refusal;
use crate::ops::lock::{break_lock, show};
use crate::report::print_stderr;

#[derive(Debug, Subcommand)]
pub(super) enum Arguments {
    /// Show which process holds the lock, since when, and at which step
    Show(Which),
    /// Take the lock from its holder, which then stops writing
    Break(Break),
}

#[derive(Debug, Args)]
pub(super) struct Which {
    #[command(flatten)]
    playbook: PlaybookArguments,
}

#[derive(Debug, Args)]
pub(super) struct Break {
    #[command(flatten)]
    playbook: PlaybookArguments,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    match arguments {
        Arguments::Show(which) => {
            let session = open(&which.playbook, global, Missing::Open)?;
            let found = connected(&session, global, async |connections, terminal| {
                show(&session, connections, terminal).await
            })?;
            Ok(output::show(&page::lock(&found), Exit::DONE))
        }
        Arguments::Break(which) => {
            let session = open(&which.playbook, global, Missing::Open)?;
            let broken = connected(&session, global, async |connections, terminal| {
                break_lock(&session, connections, terminal, which.yes).await
            })?;
            print_stderr(&page::broken(&broken));
            Ok(Exit::DONE)
        }
    }
}
