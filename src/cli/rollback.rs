//! `rollback`: returns nodes to the version that they ran before a release.

use std::path::PathBuf;

use clap::Args;

use super::arguments::{Global, PlaybookArguments};
use super::complete;
use super::connect::{LockArguments, connected};
use super::exit::Exit;
use super::open::{Missing, open};
use super::report;
use crate::ops::Refusal;
use crate::ops::rollback::{Request, rollback};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The playbook, to find the release's journal; the steps come from the journal
    #[arg(value_name = "FILE", add = complete::playbooks())]
    file: PathBuf,
    /// The id of the release to roll back, or an unambiguous start of it [default: the last `deploy`]
    #[arg(value_name = "ID", add = complete::releases())]
    id: Option<String>,
    /// Roll back only these nodes, by name
    #[arg(long, value_name = "NODE", value_delimiter = ',', add = complete::nodes())]
    only: Vec<String>,
    /// Use the playbook's file as it is now, not the playbook in the journal
    #[arg(long)]
    use_current: bool,
    #[command(flatten)]
    lock: LockArguments,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    let session = open(&PlaybookArguments::of(&arguments.file), global, Missing::Open)?;
    let (id, only) = (arguments.id.clone(), arguments.only.clone());
    let Arguments { use_current, yes, .. } = *arguments;
    let request = Request { id, only, use_current, yes, lock_wait: arguments.lock.wait() };
    let ending = connected(&session, global, async |connections, terminal| {
        rollback(&session, connections, terminal, &request).await
    })?;
    Ok(report::end(ending, global))
}
