//! `deploy`: starts a new release.

use std::path::PathBuf;

use clap::Args;

use super::arguments::{Global, PlaybookArguments, SelectionArguments, VariableArguments};
use super::complete;
use super::connect::{LockArguments, connected};
use super::exit::Exit;
use super::open::{Missing, open, open_planned};
use super::report;
use crate::ops::deploy::{Request, deploy};
use crate::ops::plan::check_selection;
use crate::ops::{Bound, Refusal, Session, plan_file};
use crate::plan::Selection;

/// What a plan file decides.
const PLANNED: [&str; 8] = [
    "variables",
    "variable_files",
    "only",
    "skip",
    "limit",
    "include_held",
    "allow_unhealthy",
    "restart",
];

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The playbook
    #[arg(value_name = "FILE", required_unless_present = "plan", add = complete::playbooks())]
    file: Option<PathBuf>,
    /// Run exactly this plan, made by `plan --out`, or refuse if anything was changed since; takes its playbook,
    /// variables and nodes from the plan, and asks no question
    #[arg(long, value_name = "PLAN", conflicts_with_all = PLANNED, value_hint = clap::ValueHint::FilePath)]
    plan: Option<PathBuf>,
    #[command(flatten)]
    variables: VariableArguments,
    #[command(flatten)]
    selection: SelectionArguments,
    #[command(flatten)]
    lock: LockArguments,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    let (mut session, selection, bound) = inputs(arguments, global)?;
    check_selection(&selection, &*session.spec()?)?;
    let spec = session.spec_with_artifact()?;
    let lock_wait = arguments.lock.wait();
    let request = Request { selection, yes: arguments.yes, lock_wait, bound };
    let ending = connected(&session, global, async |connections, terminal| {
        deploy(&session, connections, terminal, &spec, &request).await
    })?;
    Ok(report::end(ending, global))
}

/// The inputs of the release: from the command line, or from a plan.
fn inputs(
    arguments: &Arguments,
    global: &Global,
) -> Result<(Session, Selection, Option<Bound>), Refusal> {
    let file = arguments.file.clone();
    let Some(plan) = &arguments.plan else {
        let (file, variables) = (file.unwrap_or_default(), arguments.variables.clone());
        let missing = Missing::from(&arguments.selection);
        let session = open(&PlaybookArguments { file, variables }, global, missing)?;
        return Ok((session, Selection::from(&arguments.selection), None));
    };
    let bound = Bound::new(plan_file::read(plan)?, file.as_deref(), global.state_dir.as_deref());
    let session = open_planned(&bound, global)?;
    Ok((session, bound.file.plan.selection.clone(), Some(bound)))
}
