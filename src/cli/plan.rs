//! `plan`: shows what a release would do. It changes nothing.

use std::path::{Path, PathBuf};

use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::arguments::{Global, Output, PlaybookArguments, SelectionArguments};
use super::connect::connected;
use super::exit::Exit;
use super::open::{Missing, open};
use super::{ci, output, page};
use crate::ops::binding::bind;
use crate::ops::plan::{Preview, check_selection, plan};
use crate::ops::plan_file::{self, ReadPlan};
use crate::ops::{Caller, Identity, Refusal, Session};
use crate::plan::Selection;
use crate::release::{Finished, LineData, Outcome, PlannedAction};
use crate::report::print_stderr;
use crate::text::harmless;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    playbook: PlaybookArguments,
    #[command(flatten)]
    selection: SelectionArguments,
    /// Exit with 6 if there are changes
    #[arg(long)]
    detailed_exitcode: bool,
    /// Write the plan to this file, for `deploy --plan`; a refused plan is not written
    #[arg(long, value_name = "PLAN", value_hint = clap::ValueHint::FilePath)]
    out: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    if let Some(out) = &arguments.out {
        plan_file::check_place(out)?;
    }
    let mut session = open(&arguments.playbook, global, Missing::from(&arguments.selection))?;
    let selection = Selection::from(&arguments.selection);
    check_selection(&selection, &*session.spec()?)?;
    let spec = session.spec_with_artifact()?;
    let (preview, identity) = connected(&session, global, async |connections, terminal| {
        let preview = plan(&session, connections, terminal, &spec, &selection).await?;
        Ok((preview, terminal.identity().clone()))
    })?;
    let plan = &preview.plan;
    let exit = match plan.refusals.is_empty() {
        false => Exit::of(Outcome::Refused),
        true if arguments.detailed_exitcode && plan.count(PlannedAction::Update) > 0 => {
            Exit::CHANGES
        }
        true => Exit::DONE,
    };
    let (out, is_refused) = (arguments.out.as_deref(), !plan.refusals.is_empty());
    if let Some(out) = out.filter(|_| is_refused) {
        let out = harmless(&out.display().to_string());
        print_stderr(&format!("warning: the plan is refused, and {out} was not written\n"));
    }
    let out = out.filter(|_| !is_refused);
    let saved = out.map(|out| save(out, &session, &identity, &selection, &preview)).transpose()?;
    Ok(match output::form(global) {
        Output::Jsonl => {
            output::print(&lines(&preview, &session, &selection, saved.as_ref(), exit), exit)
        }
        Output::Auto | Output::Tty | Output::Plain => {
            let page = page::plan(&preview, &session, &selection, saved.as_ref());
            ci::summarise_page(global, "rollgate plan", &page);
            output::show(&page, exit)
        }
    })
}

fn save(
    out: &Path,
    session: &Session,
    identity: &Identity,
    selection: &Selection,
    preview: &Preview,
) -> Result<ReadPlan, Refusal> {
    let now = jiff::Timestamp::now();
    plan_file::write(out, bind(session, identity, now, selection, preview)?)
}

/// The plan file that was written.
#[derive(Serialize, JsonSchema)]
pub(super) struct SavedLine<'a> {
    /// Its path.
    file: String,
    /// The SHA-256 of its bytes.
    sha256: &'a str,
}

impl LineData for SavedLine<'_> {
    const KIND: &'static str = "plan.saved";
}

fn lines(
    Preview { plan, spec, .. }: &Preview,
    session: &Session,
    selection: &Selection,
    saved: Option<&ReadPlan>,
    exit: Exit,
) -> String {
    let mut lines = output::lines();
    plan.tell(spec, &session.file.display().to_string(), &mut lines);
    if let Some(ReadPlan { path, sha256, .. }) = saved {
        lines.tell(None, None, &SavedLine { file: path.display().to_string(), sha256 });
    }
    let (result, reason) = match (plan.refusals.as_slice(), plan.count(PlannedAction::Update)) {
        ([], 0) => (Outcome::Nothing, Some(plan.idle())),
        ([], _) => (Outcome::Done, None),
        (refusals, _) => (Outcome::Refused, Some(refusals.join("; "))),
    };
    let next = match result {
        Outcome::Done => vec![(
            if spec.is_restart { "restart" } else { "release" }.to_owned(),
            match saved {
                Some(saved) => session.command_by_plan(&saved.path),
                None => session.command_for("deploy", selection),
            },
        )],
        _ => Vec::new(),
    };
    let finished = Finished::unstarted(result, exit.0, reason);
    lines.finish(Finished { nodes: plan.by_will(), next, ..finished })
}
