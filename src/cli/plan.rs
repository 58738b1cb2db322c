//! `plan`: shows what a release would do. It changes nothing.

use clap::Args;

use super::arguments::{Global, Output, PlaybookArguments, SelectionArguments};
use super::connect::connected;
use super::exit::Exit;
use super::open::{Missing, open};
use super::{ci, output, page};
use crate::ops::plan::{check_selection, plan};
use crate::ops::{Refusal, Session};
use crate::plan::{Plan, Selection};
use crate::release::{Finished, Outcome, PlannedAction};
use crate::spec::Spec;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    playbook: PlaybookArguments,
    #[command(flatten)]
    selection: SelectionArguments,
    /// Exit with 6 if there are changes
    #[arg(long)]
    detailed_exitcode: bool,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    let mut session = open(&arguments.playbook, global, Missing::from(&arguments.selection))?;
    let selection = Selection::from(&arguments.selection);
    check_selection(&selection, &*session.spec()?)?;
    let spec = session.spec_with_artifact()?;
    let (plan, spec) = connected(&session, global, async |connections, terminal| {
        plan(&session, connections, terminal, &spec, &selection).await
    })?;
    let exit = match plan.refusals.is_empty() {
        false => Exit::of(Outcome::Refused),
        true if arguments.detailed_exitcode && plan.count(PlannedAction::Update) > 0 => {
            Exit::CHANGES
        }
        true => Exit::DONE,
    };
    Ok(match output::form(global) {
        Output::Jsonl => output::print(&lines(&plan, &session, &spec, &selection, exit), exit),
        Output::Auto | Output::Tty | Output::Plain => {
            let page = page::plan(&plan, &session, &spec, &selection);
            ci::summarise_page(global, "rollgate plan", &page);
            output::show(&page, exit)
        }
    })
}

fn lines(plan: &Plan, session: &Session, spec: &Spec, selection: &Selection, exit: Exit) -> String {
    let mut lines = output::lines();
    plan.tell(spec, &session.file.display().to_string(), &mut lines);
    let (result, reason) = match (plan.refusals.as_slice(), plan.count(PlannedAction::Update)) {
        ([], 0) => (Outcome::Nothing, Some(plan.idle())),
        ([], _) => (Outcome::Done, None),
        (refusals, _) => (Outcome::Refused, Some(refusals.join("; "))),
    };
    let next = match result {
        Outcome::Done => vec![(
            if spec.is_restart { "restart" } else { "release" }.to_owned(),
            session.command_for("deploy", selection),
        )],
        _ => Vec::new(),
    };
    let finished = Finished::unstarted(result, exit.0, reason);
    lines.finish(Finished { nodes: plan.by_will(), next, ..finished })
}
