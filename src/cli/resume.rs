//! `resume`: resumes a release that was stopped, failed, or was interrupted.

use std::path::PathBuf;

use clap::Args;

use super::arguments::{Global, PlaybookArguments};
use super::complete;
use super::connect::{LockArguments, connected};
use super::exit::Exit;
use super::open::{Missing, open};
use super::report;
use crate::ops::Refusal;
use crate::ops::resume::{Request, resume};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The playbook, to find the release's journal; the steps come from the journal
    #[arg(value_name = "FILE", add = complete::playbooks())]
    file: PathBuf,
    /// The release's id or an unambiguous start of it [default: the last release]
    #[arg(value_name = "ID", add = complete::releases())]
    id: Option<String>,
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
    let Arguments { use_current, yes, .. } = *arguments;
    let (id, lock_wait) = (arguments.id.clone(), arguments.lock.wait());
    let request = Request { id, use_current, yes, lock_wait };
    let ending = connected(&session, global, async |connections, terminal| {
        resume(&session, connections, terminal, &request).await
    })?;
    Ok(report::end(ending, global))
}
