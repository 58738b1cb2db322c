//! `plan`: what would happen; changes nothing anywhere.

use std::sync::Arc;

use clap::Args;

use super::history;
use super::open::{Missing, Opened, Reach, block_on};
use super::output::{self, Refusal};
use super::signals::Signals;
use super::{Exit, Global, Output, PlaybookArguments, SelectionArguments};
use crate::plan::{Plan, Selection};
use crate::release::{Finished, Outcome, Will};
use crate::secret;
use crate::spec::Spec;
use crate::survey::{Fleet, PATIENCE, meet, survey, unfit};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    playbook: PlaybookArguments,
    #[command(flatten)]
    selection: SelectionArguments,
    /// Exit with 6 when there is something to do
    #[arg(long)]
    detailed_exitcode: bool,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Exit {
    attempt(arguments, global).unwrap_or_else(|refusal| output::refuse(refusal, global))
}

fn attempt(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    let mut opened = Opened::new(&arguments.playbook, global, Missing::Refuse)?;
    let selection = checked(&arguments.selection, &*opened.spec()?)?;
    let spec = opened.spec_with_artifact(global)?;
    let plan = block_on(async {
        let reach = opened.reach()?;
        let signals = Signals::listen(global)?;
        let plan = planned(&opened, &reach, &spec, &selection, signals).await;
        reach.world.close().await;
        plan
    })??;
    let file = opened.file.display().to_string();
    let exit = match plan.refusals.is_empty() {
        false => Exit::REFUSED,
        true if arguments.detailed_exitcode && plan.count(Will::Update) > 0 => Exit::CHANGES,
        true => Exit::DONE,
    };
    let text = match output::form(global) {
        Output::Jsonl => lines(&plan, &opened, &spec, exit),
        Output::Auto | Output::Tty | Output::Plain => {
            let mut text = plan.render(&spec, &file);
            if plan.refusals.is_empty() {
                text += "Nothing was changed. ";
                text += &format!("To release: {}\n", opened.command("deploy"));
            }
            secret::hide(&text)
        }
    };
    Ok(output::print(&text, exit))
}

fn lines(plan: &Plan, opened: &Opened, spec: &Spec, exit: Exit) -> String {
    let mut lines = output::lines();
    plan.tell(spec, &opened.file.display().to_string(), &mut lines);
    let (result, reason) = match (plan.refusals.as_slice(), plan.count(Will::Update)) {
        ([], 0) => (Outcome::Nothing, Some(plan.idle())),
        ([], _) => (Outcome::Done, None),
        (refusals, _) => (Outcome::Refused, Some(refusals.join("; "))),
    };
    let next = match result {
        Outcome::Done => vec![("release".to_owned(), opened.command("deploy"))],
        _ => Vec::new(),
    };
    let finished = Finished::unstarted(result, exit.0, reason);
    lines.finish(Finished { nodes: plan.by_will(), next, ..finished })
}

/// What a look at everything is called while it is waited for.
pub(super) const LOOK: &str = "looking at nodes, registry and gateways";

/// What a look at past journals is called.
pub(super) const JOURNALS: &str = "reading the journals of past releases";

/// What the first questions to gateways are called.
pub(super) const GATEWAYS: &str = "asking the gateways what they are";

/// Looks at everything, unless a signal asks to stop.
pub(super) async fn look(
    opened: &Opened,
    reach: &Reach,
    spec: &Arc<Spec>,
    signals: &mut Signals,
) -> Result<Fleet, Refusal> {
    let look = async {
        let mut fleet = survey(&reach.world, &reach.consul, spec, PATIENCE).await;
        history::take_for_out(opened, reach, &mut fleet).await;
        fleet
    };
    signals.unless_stopped(LOOK, Box::pin(look)).await
}

/// What would happen, by what is seen of everything.
async fn planned(
    opened: &Opened,
    reach: &Reach,
    spec: &Arc<Spec>,
    selection: &Selection,
    mut signals: Signals,
) -> Result<Plan, Refusal> {
    let fleet = look(opened, reach, spec, &mut signals).await?;
    let mut plan = Plan::new(spec, &fleet, selection);
    let way = history::way_back(opened, reach, spec, &fleet);
    plan.tell_way_back(&signals.unless_stopped(JOURNALS, way).await?);
    if plan.would_release() {
        let meeting = meet(&reach.world, &reach.consul, spec);
        let infos = signals.unless_stopped(GATEWAYS, meeting).await?;
        plan.refusals.extend(unfit(spec, &fleet, &infos));
    }
    Ok(plan)
}

/// The selection, if every name in it means something and some node is left.
pub(super) fn checked(arguments: &SelectionArguments, spec: &Spec) -> Result<Selection, Refusal> {
    let selection = Selection::from(arguments);
    let unknown = selection.unknown(spec);
    let message = if !unknown.is_empty() {
        format!("no node or tag is called {}", unknown.join(", "))
    } else if selection.limit == Some(0) {
        return Err(Refusal::new(Exit::INVALID, "`--limit 0` selects no node")
            .hint("leave it out to take all nodes"));
    } else if selection.is_empty(spec) {
        let named = [("only", &selection.only), ("skip", &selection.skip)];
        let named = named.iter().filter(|(_, names)| !names.is_empty());
        let named: Vec<_> =
            named.map(|(name, names)| format!("--{name} {}", names.join(","))).collect();
        format!("`{}` selects no node", named.join(" "))
    } else {
        return Ok(selection);
    };
    let names: Vec<_> = spec.nodes.iter().map(|node| node.name.as_str()).collect();
    Err(Refusal::new(Exit::INVALID, message).hint(format!("the nodes are {}", names.join(", "))))
}
