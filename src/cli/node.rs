//! `node out` and `node in`: the two halves of a release, by hand, with the same proofs.

use std::sync::Arc;

use clap::{Args, Subcommand};

use super::hold::{self, LockArguments};
use super::open::{Missing, Opened, block_on};
use super::output::{self, Refusal};
use super::signals::Signals;
use super::work::Work;
use super::{Exit, Global, PlaybookArguments, deploy, plan};
use crate::engine::Mode;
use crate::foreign::Recorded;
use crate::release::{CommandKind, Started};
use crate::spec::Spec;
use crate::survey::{Fleet, meet, unfit};
use crate::text::count;

#[derive(Debug, Subcommand)]
pub(super) enum Arguments {
    /// Take nodes out of rotation: marked down, proven out, drained; the service keeps running
    Out(Nodes),
    /// Bring nodes back into rotation: proven healthy, marked up, proven in
    In(Nodes),
}

#[derive(Debug, Args)]
pub(super) struct Nodes {
    #[command(flatten)]
    playbook: PlaybookArguments,
    /// The nodes
    #[arg(value_name = "NODE", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    lock: LockArguments,
    /// Accepted for scripts; these commands never ask
    #[arg(short, long, hide = true)]
    yes: bool,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Exit {
    let (mode, nodes) = match arguments {
        Arguments::Out(nodes) => (Mode::Out, nodes),
        Arguments::In(nodes) => (Mode::In, nodes),
    };
    attempt(mode, nodes, global).unwrap_or_else(|refusal| output::refuse(refusal, global))
}

fn attempt(mode: Mode, arguments: &Nodes, global: &Global) -> Result<Exit, Refusal> {
    let opened = Opened::new(&arguments.playbook, global, Missing::FromLast)?;
    let spec = opened.spec()?;
    let unknown: Vec<_> =
        arguments.names.iter().filter(|name| spec.node(name).is_none()).cloned().collect();
    if !unknown.is_empty() {
        let names: Vec<_> = spec.nodes.iter().map(|node| node.name.as_str()).collect();
        let message = format!("no node is called {}", unknown.join(", "));
        return Err(Refusal::new(Exit::INVALID, message)
            .hint(format!("the nodes are {}", names.join(", "))));
    }
    block_on(async {
        let reach = opened.reach()?;
        let command = if mode == Mode::Out { CommandKind::NodeOut } else { CommandKind::NodeIn };
        let signals = Signals::listen(global)?;
        let work = Work::begin(command, global, &opened, &reach, &arguments.lock, signals);
        let result = match work.await {
            Ok(work) => {
                let lock = work.lock.clone();
                let result = switch(mode, command, arguments, work, &spec).await;
                lock.release().await;
                result
            }
            Err(refusal) => Err(refusal),
        };
        reach.world.close().await;
        result
    })?
}

async fn switch(
    mode: Mode,
    command: CommandKind,
    arguments: &Nodes,
    mut work: Work<'_>,
    spec: &Arc<Spec>,
) -> Result<Exit, Refusal> {
    let (global, opened) = (work.global, work.opened);
    let fleet = work.look(spec).await?;
    let mut problem = objection(mode, spec, &fleet, &arguments.names);
    if problem.is_none() && mode == Mode::Out {
        let meeting = meet(&work.reach.world, &work.reach.consul, spec);
        let infos = work.unless_stopped(plan::GATEWAYS, meeting).await?;
        problem = unfit(spec, &fleet, &infos).into_iter().next();
    }
    if let Some(problem) = problem {
        return Err(Refusal::new(Exit::REFUSED, problem).hint("nothing was changed"));
    }
    let was_out = |name: &str| fleet.nodes.get(name).is_some_and(|facts| facts.down == Some(true));
    let taken_out = |name: &str| fleet.nodes.get(name)?.taken_out.clone();
    let started = Started {
        service: spec.service.clone(),
        command,
        from: None,
        to: None,
        actor: hold::actor(),
        file: opened.file.display().to_string(),
        arguments: deploy::repeated(global, false),
        selection: Vec::new(),
        playbook: opened.written(),
        inputs: Recorded::new(opened.inputs.clone()),
        nodes: deploy::only(spec, &arguments.names, was_out, taken_out),
        pool: fleet.pool(spec),
        before: Recorded::default(),
        toward: Recorded::default(),
    };
    work.release(spec, mode, started).await
}

/// What stands against touching these nodes: only what is needed to switch them, not what a release needs.
fn objection(mode: Mode, spec: &Spec, fleet: &Fleet, nodes: &[String]) -> Option<String> {
    if let Some(problem) = &fleet.registry_problem {
        return Some(problem.clone());
    }
    if mode == Mode::Out
        && let Some(problem) = too_few(spec, fleet, nodes)
    {
        return Some(problem);
    }
    let unreadable = fleet.gateways.iter().find_map(|(name, seen)| {
        seen.as_ref().err().map(|problem| format!("gateway {name} cannot be read: {problem}"))
    });
    unreadable.or_else(|| {
        nodes.iter().find_map(|name| {
            let problem = fleet.nodes.get(name)?.registry_problem.as_ref()?;
            Some(format!("{name}: {problem}"))
        })
    })
}

/// Whether a gateway would be left with too few nodes once all of these are out.
fn too_few(spec: &Spec, fleet: &Fleet, nodes: &[String]) -> Option<String> {
    let floor = spec.floor();
    fleet.gateways.iter().find_map(|(name, seen)| {
        let seen = seen.as_ref().ok()?;
        let (leave, stay): (Vec<_>, Vec<_>) =
            spec.nodes.iter().partition(|node| nodes.contains(&node.name));
        let costs = leave.iter().any(|node| seen.routes_somewhere_to(&node.address));
        let left = stay.iter().filter(|node| seen.routes_to(&node.address)).count();
        (costs && left < floor).then(|| {
            format!(
                "gateway {name} would route to {} only, fewer than {floor}",
                count(left, "node")
            )
        })
    })
}
