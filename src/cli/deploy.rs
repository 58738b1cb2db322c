//! `deploy`: the release.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use dialoguer::Confirm;
use tokio::sync::watch;

use super::open::{Missing, Opened, Reach, block_on};
use super::output::{self, Refusal};
use super::{Exit, Global, PlaybookArguments, SelectionArguments, plan, signals};
use crate::engine::journal::Journal;
use crate::engine::{Engine, Mode, Stop};
use crate::event::{Outcome, Planned, Started, Will};
use crate::plan::Plan;
use crate::registry::Kv;
use crate::report::{Report, say, say_in_time};
use crate::spec::Spec;
use crate::survey::{PATIENCE, survey};
use crate::text::count;
use crate::world::Live;

/// For the look at everything after a release that did not go well.
const LAST_LOOK: Duration = Duration::from_secs(3);

/// The same when somebody waits for the end.
const HURRIED_LOOK: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    playbook: PlaybookArguments,
    #[command(flatten)]
    selection: SelectionArguments,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Exit {
    attempt(arguments, global).unwrap_or_else(|refusal| {
        let exit = output::complain(&refusal);
        output::end_unstarted(global, output::outcome_of(exit), exit)
    })
}

fn attempt(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    let mut opened = Opened::new(&arguments.playbook, global, Missing::Refuse)?;
    let spec = opened.spec_with_artifact()?;
    let selection = plan::checked(&arguments.selection, &spec)?;
    block_on(async {
        let stop = signals::listen()
            .map_err(|error| Refusal::new(Exit::INTERNAL, format!("no signals: {error}")))?;
        let reach = opened.reach()?;
        let result = prepare(arguments, global, &opened, &spec, &selection, &reach, stop).await;
        reach.world.close().await;
        result
    })?
}

async fn prepare(
    arguments: &Arguments,
    global: &Global,
    opened: &Opened,
    spec: &Arc<Spec>,
    selection: &crate::plan::Selection,
    reach: &Reach,
    mut stop: watch::Receiver<Stop>,
) -> Result<Exit, Refusal> {
    let fleet = tokio::select! {
        biased;
        _ = stop.changed() => {
            return Err(Refusal::stopped());
        }
        fleet = survey(&reach.world, &reach.consul, spec, PATIENCE) => fleet,
    };
    let plan = Plan::new(spec, &fleet, selection);
    let file = opened.file.display().to_string();
    if !plan.refusals.is_empty() {
        let refusals: Vec<_> =
            plan.refusals.iter().map(|refusal| format!("  {refusal}\n")).collect();
        let text = format!("error: refused, nothing was changed:\n{}", refusals.concat());
        return Err(Refusal { exit: Exit::REFUSED, text: reach.redactor.redact(&text) }
            .hint(format!("`{}` shows every node", opened.command("plan"))));
    }
    if plan.count(Will::Update) == 0 {
        if !global.quiet {
            say(&format!("Nothing to do: {}.\n", idle(&plan)));
        }
        return Ok(output::end_unstarted(global, Outcome::Nothing, Exit::DONE));
    }
    may_write(reach, spec, &plan).await?;
    tokio::select! {
        biased;
        _ = stop.changed() => {
            return Err(Refusal::stopped());
        }
        confirmed = confirm(arguments, &plan, spec, &file) => confirmed?,
    }
    let started = Started {
        service: spec.service.clone(),
        command: "deploy".into(),
        from: plan.from.clone(),
        to: spec.version.clone(),
        actor: actor(),
        file,
        arguments: repeated(global, arguments.yes),
        selection: selected(&arguments.selection),
        playbook: serde_json::to_value(&opened.loaded.playbook).unwrap_or_default(),
        inputs: opened.inputs.clone(),
        nodes: plan.planned(),
    };
    release(global, opened, spec, reach, stop, Mode::Deploy, started).await
}

fn idle(plan: &Plan) -> String {
    let parts =
        [(plan.count(Will::Skip), "as it should be"), (plan.count(Will::LeftOut), "left out")];
    let parts: Vec<_> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{} {what}", count(*number, "node")))
        .collect();
    parts.join(", ")
}

/// Refuses a token that may read and not write, before anything depends on it.
async fn may_write(reach: &Reach, spec: &Spec, plan: &Plan) -> Result<(), Refusal> {
    let refused = |problem: String| {
        Refusal::new(Exit::REFUSED, reach.redactor.redact(&problem)).hint("nothing was changed")
    };
    let kv = Kv::new(reach.consul.clone(), spec.prefix.clone());
    let first = plan.rows.iter().find(|row| row.planned.will == Will::Update);
    let Some(first) = first else { return Ok(()) };
    kv.may_write(&first.address).await.map_err(|error| refused(error.to_string()))
}

async fn confirm(
    arguments: &Arguments,
    plan: &Plan,
    spec: &Spec,
    file: &str,
) -> Result<(), Refusal> {
    if arguments.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Refusal::new(
            Exit::INVALID,
            "there is no terminal to ask on; nothing was changed",
        )
        .hint("pass --yes to release without being asked"));
    }
    say(&plan.render(spec, file));
    let question = format!(
        "Release {} {} to {}?",
        spec.service,
        spec.version.as_deref().unwrap_or(""),
        count(plan.count(Will::Update), "node")
    );
    // Signals are heard while somebody thinks it over.
    let ask = || Confirm::new().with_prompt(question).default(false).interact_opt();
    let answer = tokio::task::spawn_blocking(ask).await;
    let answer = answer.map_err(|error| Refusal::new(Exit::INTERNAL, error.to_string()))?;
    match answer {
        Ok(Some(true)) => Ok(()),
        Ok(Some(false) | None) => {
            Err(Refusal { exit: Exit::STOPPED, text: "Nothing was changed.\n".into() })
        }
        Err(dialoguer::Error::IO(error)) if error.kind() == std::io::ErrorKind::Interrupted => {
            Err(Refusal { exit: Exit::STOPPED, text: "\nNothing was changed.\n".into() })
        }
        Err(error) => Err(Refusal::new(Exit::INTERNAL, format!("cannot ask: {error}"))),
    }
}

/// The options that a command to type next must repeat.
pub(super) fn repeated(global: &Global, yes: bool) -> Vec<String> {
    let mut arguments = Vec::new();
    if let Some(state) = &global.state_dir {
        arguments.extend(["--state-dir".into(), state.display().to_string()]);
    }
    if yes {
        arguments.push("--yes".into());
    }
    arguments
}

/// The selection as it was given.
fn selected(selection: &SelectionArguments) -> Vec<String> {
    let lists = [("--only", &selection.only), ("--skip", &selection.skip)];
    let mut arguments = Vec::new();
    for (option, names) in lists {
        if !names.is_empty() {
            arguments.extend([option.to_owned(), names.join(",")]);
        }
    }
    if let Some(limit) = selection.limit {
        arguments.extend(["--limit".to_owned(), limit.to_string()]);
    }
    arguments
}

/// Who releases: the CI job, or the user on this machine.
pub(super) fn actor() -> String {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(url) = variable("CI_JOB_URL").or_else(|| variable("BUILD_URL")) {
        return format!("ci:{url}");
    }
    if let (Some(server), Some(repository), Some(run)) =
        (variable("GITHUB_SERVER_URL"), variable("GITHUB_REPOSITORY"), variable("GITHUB_RUN_ID"))
    {
        return format!("ci:{server}/{repository}/actions/runs/{run}");
    }
    let user = variable("USER").or_else(|| variable("LOGNAME")).unwrap_or_else(|| "unknown".into());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{user}@{}", host.trim())
}

/// Runs a release to its end and reports it.
pub(super) async fn release(
    global: &Global,
    opened: &Opened,
    spec: &Arc<Spec>,
    reach: &Reach,
    stop: watch::Receiver<Stop>,
    mode: Mode,
    started: Started,
) -> Result<Exit, Refusal> {
    let id = opened.inputs.release.clone();
    let refused = |error: anyhow::Error| {
        Refusal::new(Exit::REFUSED, format!("{error:#}")).hint("nothing was changed")
    };
    let journal = Journal::create(&opened.state, &id).map_err(refused)?;
    let path = journal.path().display().to_string();
    let engine = Engine {
        world: reach.world.clone(),
        consul: reach.consul.clone(),
        spec: spec.clone(),
        mode,
        stop: stop.clone(),
        redactor: reach.redactor.clone(),
    };
    let mut sinks = output::sinks(global);
    let ended = engine.run(&id, started, journal, &mut sinks).await.map_err(refused)?;
    // The live view leaves the terminal before anything else is said.
    drop(sinks);
    let Some(finished) = &ended.release.finished else {
        let why = ended.failed.map_or(String::new(), |error| format!(": {error:#}"));
        let look = opened.command("status");
        say(&format!(
            "error: the release broke off{why}\nhint: `{look}` tells where each node stands\n"
        ));
        return Ok(output::end_unstarted(global, Outcome::Degraded, Exit(22)));
    };
    let exit = Exit(finished.exit_code);
    if finished.result != Outcome::Done || !global.quiet {
        let fleet = last_look(finished.result, reach, spec, &stop).await;
        let report = Report { release: &ended.release, spec, fleet: fleet.as_ref() };
        let mut text = reach.redactor.redact(&report.render());
        if finished.result != Outcome::Done {
            let torn = if ended.unwritten.is_some() { " (its end is missing)" } else { "" };
            text += &format!("\njournal {path}{torn}\nexit {}\n", exit.0);
        }
        say_in_time(text);
    }
    Ok(exit)
}

/// Looks at everything once more, so that the report says what is, not what should be.
async fn last_look(
    result: Outcome,
    reach: &Reach,
    spec: &Arc<Spec>,
    stop: &watch::Receiver<Stop>,
) -> Option<crate::survey::Fleet> {
    if result == Outcome::Done {
        return None;
    }
    let hurried = matches!(*stop.borrow(), Stop::Requested(_));
    let time = if hurried { HURRIED_LOOK } else { LAST_LOOK };
    let world: &Arc<Live> = &reach.world;
    Some(survey(world, &reach.consul, spec, time).await)
}

/// Every node as it is, but for those that are named.
pub(super) fn only(spec: &Spec, names: &[String], was_out: impl Fn(&str) -> bool) -> Vec<Planned> {
    let planned = spec.nodes.iter().filter(|node| names.contains(&node.name)).map(|node| Planned {
        node: node.name.clone(),
        will: Will::Update,
        why: String::new(),
        runs: None,
        was_out: was_out(&node.name),
    });
    planned.collect()
}
