//! `deploy`: the release.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::sync::Arc;

use clap::Args;
use dialoguer::Confirm;

use super::history;
use super::hold::{self, LockArguments};
use super::open::{Missing, Opened, Reach, block_on};
use super::output::{self, Refusal};
use super::signals::Signals;
use super::work::Work;
use super::{Exit, Global, PlaybookArguments, SelectionArguments, plan};
use crate::consul::Error;
use crate::engine::Mode;
use crate::foreign::Recorded;
use crate::plan::{Plan, WayBack};
use crate::registry::Registry;
use crate::release::{CommandKind, Finished, Outcome, Planned, Started, Will};
use crate::report::say;
use crate::spec::{RegistrySpec, Spec, restored_nodes};
use crate::survey::{meet, unfit};

use crate::text::{count, harmless};

/// What a question to Consul's rights is called while it is waited for.
const RIGHTS: &str = "asking Consul whether the registry may be written";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    playbook: PlaybookArguments,
    #[command(flatten)]
    selection: SelectionArguments,
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
    let mut opened = Opened::new(&arguments.playbook, global, Missing::Refuse)?;
    let selection = plan::checked(&arguments.selection, &*opened.spec()?)?;
    let spec = opened.spec_with_artifact(global)?;
    block_on(async {
        let reach = opened.reach()?;
        let signals = Signals::listen(global)?;
        let work =
            Work::begin(CommandKind::Deploy, global, &opened, &reach, &arguments.lock, signals);
        let result = match work.await {
            Ok(work) => {
                let lock = work.lock.clone();
                let result = prepare(arguments, work, &spec, &selection).await;
                lock.release().await;
                result
            }
            Err(refusal) => Err(refusal),
        };
        reach.world.close().await;
        result
    })?
}

async fn prepare(
    arguments: &Arguments,
    mut work: Work<'_>,
    spec: &Arc<Spec>,
    selection: &crate::plan::Selection,
) -> Result<Exit, Refusal> {
    let (global, opened, reach) = (work.global, work.opened, work.reach);
    let fleet = work.look(spec).await?;
    let mut plan = Plan::new(spec, &fleet, selection);
    let way = history::way_back(opened, reach, spec, &fleet);
    let way = work.unless_stopped(plan::JOURNALS, way).await?;
    plan.tell_way_back(&way);
    if plan.would_release() {
        let infos =
            work.unless_stopped(plan::GATEWAYS, meet(&reach.world, &reach.consul, spec)).await?;
        plan.refusals.extend(unfit(spec, &fleet, &infos));
    }
    let spec = &with_way_back(opened, spec, &way)?;
    let file = opened.file.display().to_string();
    if !plan.refusals.is_empty() {
        let reason = plan.refusals.join("; ");
        let refusals: Vec<_> =
            plan.refusals.iter().map(|refusal| format!("  {}\n", harmless(refusal))).collect();
        let text = format!("error: refused, nothing was changed:\n{}", refusals.concat());
        return Err(Refusal::told(Exit::REFUSED, reason, text)
            .hint_at("shows every node", opened.command("plan")));
    }
    if plan.count(Will::Update) == 0 {
        let idle = plan.idle();
        if !global.quiet {
            say(&format!("Nothing to do: {}.\n", harmless(&idle)));
        }
        let finished = Finished::unstarted(Outcome::Nothing, Exit::DONE.0, Some(idle));
        return Ok(output::end(finished, output::lines(), global));
    }
    work.unless_stopped(RIGHTS, may_write(reach, spec, &plan)).await??;
    work.answer(confirm(arguments, &plan, spec, &file)).await??;
    let started = Started {
        service: spec.service.clone(),
        command: CommandKind::Deploy,
        from: plan.from.clone(),
        to: spec.version.clone(),
        actor: hold::actor(),
        file,
        arguments: repeated(global, arguments.yes),
        selection: selected(&arguments.selection),
        playbook: opened.written(),
        inputs: Recorded::new(opened.inputs.clone()),
        nodes: plan.planned(),
        before: Recorded::new(way.targets),
        toward: Recorded::default(),
        pool: fleet.pool(spec),
    };
    work.release(spec, Mode::Deploy, started).await
}

/// The same release, with what brings its nodes back.
fn with_way_back(opened: &Opened, spec: &Arc<Spec>, way: &WayBack) -> Result<Arc<Spec>, Refusal> {
    let back = restored_nodes(&opened.loaded.playbook, &opened.inputs, &way.targets)
        .map_err(|error| Refusal::new(Exit::INVALID, error.to_string()))?;
    Ok(Arc::new(Spec { back, ..(**spec).clone() }))
}

/// Refuses a token that may read and not write, before anything depends on it.
async fn may_write(reach: &Reach, spec: &Spec, plan: &Plan) -> Result<(), Refusal> {
    let registry = Registry::new(&reach.world, &reach.consul, spec);
    let updates = plan.rows.iter().filter(|row| row.planned.will == Will::Update);
    let addresses = updates.map(|row| row.address.as_str()).collect();
    registry.may_write(&addresses).await.map_err(|error| {
        let refusal = Refusal::new(Exit::REFUSED, error.to_string());
        let refusal = match (error, &spec.registry) {
            (Error::Refused { status: 403, .. }, RegistrySpec::ConsulKv { prefix }) => refusal
                .hint(format!(
                    "the token needs the rule key_prefix \"{prefix}\" {{ policy = \"write\" }}"
                )),
            _ => refusal,
        };
        refusal.hint("nothing was changed")
    })
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
    if on_terminal() {
        say(&plan.render(spec, file));
    }
    agreed(&format!(
        "Release {} {} to {}?",
        spec.service,
        spec.version.as_deref().unwrap_or(""),
        count(plan.count(Will::Update), "node")
    ))
    .await
}

fn on_terminal() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks a person; whoever does not agree, or cannot, changes nothing.
pub(super) async fn agreed(question: &str) -> Result<(), Refusal> {
    if !on_terminal() {
        return Err(Refusal::new(
            Exit::INVALID,
            "there is no terminal to ask on; nothing was changed",
        )
        .hint("pass --yes to go on without being asked"));
    }
    let question = harmless(question);
    // Signals are heard while somebody thinks it over.
    let ask = || Confirm::new().with_prompt(question).default(false).interact_opt();
    let answer = tokio::task::spawn_blocking(ask).await;
    let answer = answer.map_err(|error| Refusal::new(Exit::INTERNAL, error.to_string()))?;
    match answer {
        Ok(Some(true)) => Ok(()),
        Ok(Some(false) | None) => {
            Err(Refusal::told(Exit::STOPPED, "not confirmed", "Nothing was changed.\n"))
        }
        Err(dialoguer::Error::IO(error)) if error.kind() == std::io::ErrorKind::Interrupted => {
            Err(Refusal::told(Exit::STOPPED, "not confirmed", "\nNothing was changed.\n"))
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

/// Every node as it is, but for those that are named.
pub(super) fn only(
    spec: &Spec,
    names: &[String],
    was_out: impl Fn(&str) -> bool,
    taken_out: impl Fn(&str) -> Option<BTreeSet<String>>,
) -> Vec<Planned> {
    let planned = spec.nodes.iter().filter(|node| names.contains(&node.name)).map(|node| Planned {
        node: node.name.clone(),
        will: Will::Update,
        why: String::new(),
        runs: None,
        was_out: was_out(&node.name),
        taken_out: taken_out(&node.name).is_some(),
        strangers: taken_out(&node.name).unwrap_or_default(),
    });
    planned.collect()
}
