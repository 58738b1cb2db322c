//! `lock show` and `lock break`.

use clap::{Args, Subcommand};

use super::arguments::{Global, PlaybookArguments};
use super::connect::connected;
use super::exit::Exit;
use super::open::{Missing, open};
use super::output;
use crate::ops::Refusal;
use crate::ops::lock::{Broken, Found, break_lock, show};
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
            let text = match found {
                Found::Held(who) => format!("held by {who}\n"),
                Found::Free(who) => format!("free; last held by {who}\n"),
                Found::Unused => "free\n".to_owned(),
            };
            Ok(output::show(&text, Exit::DONE))
        }
        Arguments::Break(which) => {
            let session = open(&which.playbook, global, Missing::Open)?;
            let broken = connected(&session, global, async |connections, terminal| {
                break_lock(&session, connections, terminal, which.yes).await
            })?;
            match broken {
                Broken::Free => print_stderr("The lock is free.\n"),
                Broken::From(who) => print_stderr(&format!("The lock was taken from {who}.\n")),
            }
            Ok(Exit::DONE)
        }
    }
}
