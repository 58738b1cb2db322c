//! `deploy`: starts a release.

use clap::Args;

use super::arguments::{Global, PlaybookArguments, SelectionArguments};
use super::connect::{LockArguments, connected};
use super::exit::Exit;
use super::open::{Missing, open};
use super::report;
use crate::ops::Refusal;
use crate::ops::deploy::{Request, deploy};
use crate::ops::plan::check_selection;
use crate::plan::Selection;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    playbook: PlaybookArguments,
    #[command(flatten)]
    selection: SelectionArguments,
    #[command(flatten)]
    lock: LockArguments,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    let mut session = open(&arguments.playbook, global, Missing::from(&arguments.selection))?;
    let selection = Selection::from(&arguments.selection);
    check_selection(&selection, &*session.spec()?)?;
    let spec = session.spec_with_artifact()?;
    let lock_wait = arguments.lock.wait();
    let request = Request { selection, yes: arguments.yes, lock_wait };
    let ending = connected(&session, global, async |connections, terminal| {
        deploy(&session, connections, terminal, &spec, &request).await
    })?;
    Ok(report::end(ending, global))
}
