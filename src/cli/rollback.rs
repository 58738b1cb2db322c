//! `rollback`: brings nodes back to what they ran before a release, through the same engine and the same proofs.

use clap::Args;

use super::deploy::{agreed, repeated};
use super::history;
use super::hold::{self, LockArguments};
use super::open::{Missing, Opened, block_on};
use super::output::{self, Refusal};
use super::resume::{JOURNAL, find, tell_variables};
use super::signals::Signals;
use super::work::Work;
use super::{Exit, Global, PlaybookArguments, plan};
use crate::engine::Mode;
use crate::foreign::Recorded;
use crate::journal::history::Past;
use crate::plan::{NotUndone, missing_releases, restore_points};
use crate::plan::{Plan, Selection};
use crate::release::{CommandKind, Finished, Outcome, Started, Will};
use crate::report::say;
use crate::text::{count, harmless};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The playbook, which tells where to look; what is done comes from the release's journal
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: std::path::PathBuf,
    /// The release that is undone, or an unambiguous start of its id [default: the last `deploy`]
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Only these nodes
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    only: Vec<String>,
    #[command(flatten)]
    lock: LockArguments,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Exit {
    attempt(arguments, global).unwrap_or_else(|refusal| output::refuse(refusal, global))
}

fn attempt(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    let playbook = PlaybookArguments::of(&arguments.file);
    let opened = Opened::new(&playbook, global, Missing::Open)?;
    block_on(async {
        let reach = opened.reach()?;
        let signals = Signals::listen(global)?;
        let work =
            Work::begin(CommandKind::Rollback, global, &opened, &reach, &arguments.lock, signals);
        let result = match work.await {
            Ok(work) => {
                let (lock, mut signals) = work.into_parts();
                let past = find(&opened, &reach, arguments.id.as_deref(), |command| {
                    command == CommandKind::Deploy
                });
                let past = signals.unless_stopped(JOURNAL, past).await.flatten();
                let result = match past
                    .and_then(|past| Ok((rolling_back(arguments, &opened, &past)?, past)))
                {
                    Ok((opened, past)) => {
                        let work = Work::from_parts(global, &opened, &reach, lock.clone(), signals);
                        go_back(arguments, work, &past).await
                    }
                    Err(refusal) => Err(refusal),
                };
                lock.release().await;
                result
            }
            Err(refusal) => Err(refusal),
        };
        reach.world.close().await;
        result
    })?
}

/// What undoes a release: its playbook, filled in for what its nodes ran before.
fn rolling_back(arguments: &Arguments, opened: &Opened, past: &Past) -> Result<Opened, Refusal> {
    let refused =
        |problem: String| Refusal::new(Exit::REFUSED, problem).hint("nothing was changed");
    let Some(started) = &past.release.started else {
        return Err(refused(format!("release {} never began", past.id)));
    };
    if started.command.is_by_hand() {
        let hint = "name the release that is to be undone; `status` lists the last ones";
        let problem = format!("release {} is a `{}`", past.id, started.command);
        return Err(Refusal::new(Exit::REFUSED, problem).hint(hint));
    }
    let names: Vec<_> = past.release.in_order().map(|(name, _)| name).collect();
    if let Some(unknown) = arguments.only.iter().find(|only| !names.contains(&only.as_str())) {
        let problem = format!("release {} has no node `{unknown}`", past.id);
        return Err(Refusal::new(Exit::INVALID, problem)
            .hint(format!("its nodes are {}", names.join(", "))));
    }
    let mut rollback = opened.of_release(past)?;
    let playbook = &rollback.loaded.playbook;
    let toward = restore_points(&past.release, playbook, &arguments.only).map_err(|not| {
        let problem = match not {
            NotUndone::Unknown(nodes) => {
                format!("what {} ran before release {} is not known", nodes.join(", "), past.id)
            }
            NotUndone::Unfit(why) => {
                format!("what nodes ran before release {} is not restored: {why}", past.id)
            }
        };
        Refusal::new(Exit::REFUSED, problem)
            .hint("nothing was changed; `deploy` the version that you want, or take the others with --only")
    })?;
    rollback.inputs.release.clone_from(&opened.inputs.release);
    // What a later release finds of this one: the variables that it brings back.
    if let Some(most) = toward.iter().max_by_key(|target| target.nodes.len()) {
        rollback.inputs.variables.clone_from(&most.variables);
        rollback.inputs.artifact.clone_from(&most.artifact);
    }
    rollback.toward = toward;
    rollback.before = Vec::new();
    Ok(rollback)
}

async fn go_back(arguments: &Arguments, mut work: Work<'_>, past: &Past) -> Result<Exit, Refusal> {
    let (global, opened, reach) = (work.global, work.opened, work.reach);
    let nodes: Vec<_> =
        opened.toward.iter().flat_map(|target| target.nodes.iter().cloned()).collect();
    if nodes.is_empty() {
        return Ok(nothing(&work, format!("release {} has changed nothing", past.id)));
    }
    let spec = opened.spec()?;
    let fleet = work.look(&spec).await?;
    let selection = Selection { only: nodes, ..Selection::default() };
    let mut plan = Plan::new(&spec, &fleet, &selection);
    plan.refusals.extend(missing_releases(&spec, &fleet, &plan));
    if !plan.refusals.is_empty() {
        let problem = plan.refusals.join("; ");
        return Err(Refusal::new(Exit::REFUSED, problem).hint("nothing was changed"));
    }
    if plan.count(Will::Update) == 0 {
        return Ok(nothing(&work, plan.idle()));
    }
    tell_variables(global, &past.id, opened.toward.iter().map(|target| &target.variables));
    if !arguments.yes {
        let nodes = count(plan.count(Will::Update), "node");
        let to = spec.version.clone().unwrap_or_default();
        let question = format!("Undo release {}: {} {nodes} to {to}?", past.id, spec.service);
        work.answer(agreed(&question)).await??;
    }
    let way = history::way_back(opened, reach, &spec, &fleet);
    let way = work.unless_stopped(plan::JOURNALS, way).await?;
    let started = Started {
        service: spec.service.clone(),
        command: CommandKind::Rollback,
        from: plan.from.clone(),
        to: spec.version.clone(),
        actor: hold::actor(),
        file: arguments.file.display().to_string(),
        arguments: repeated(global, arguments.yes),
        selection: Vec::new(),
        playbook: opened.written(),
        inputs: Recorded::new(opened.inputs.clone()),
        nodes: plan.planned(),
        pool: fleet.pool(&spec),
        before: Recorded::new(way.targets),
        toward: Recorded::new(opened.toward.clone()),
    };
    work.release(&spec, Mode::Deploy, started).await
}

fn nothing(work: &Work<'_>, why: String) -> Exit {
    if !work.global.quiet {
        say(&format!("Nothing to do: {}.\n", harmless(&why)));
    }
    let finished = Finished::unstarted(Outcome::Nothing, Exit::DONE.0, Some(why));
    output::end(finished, output::lines(), work.global)
}
