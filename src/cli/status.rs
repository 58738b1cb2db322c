//! `status`: shows the current state of each node, the last release, and the next command. It changes nothing.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;

use super::arguments::{Global, Output, PlaybookArguments};
use super::connect::connected;
use super::exit::Exit;
use super::open::{Missing, open};
use super::{output, page};
use crate::gateway::Observation;
use crate::lock::Process;
use crate::ops::Refusal;
use crate::ops::lock_state::LockState;
use crate::ops::status::{Status, status};
use crate::release::{Finished, Lines, Outcome};
use crate::report::NodeView;
use crate::spec::Spec;
use crate::survey::NodeFacts;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    playbook: PlaybookArguments,
    /// For monitoring: exit with 0 if all is well, 1 if a node is out (also one that `node out` holds), unhealthy or on
    /// another version, 2 while a release runs, 3 if something cannot be read
    #[arg(long)]
    exit_code: bool,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    let session = open(&arguments.playbook, global, Missing::Open)?;
    let spec = session.spec()?;
    let status = connected(&session, global, async |connections, terminal| {
        status(&session, connections, terminal, &spec).await
    })?;
    let next = status.next(&session, &spec);
    let exit = if arguments.exit_code { Exit::at(status.level(&spec)) } else { Exit::DONE };
    Ok(match output::form(global) {
        Output::Jsonl => {
            let mut lines = output::lines();
            tell(&status, &spec, &mut lines);
            let finished = Finished::unstarted(Outcome::Done, exit.0, None);
            output::print(&lines.finish(Finished { next, ..finished }), exit)
        }
        Output::Auto | Output::Tty | Output::Plain => {
            output::show(&page::status(&status, &spec, &next, jiff::Timestamp::now()), exit)
        }
    })
}

/// Writes the JSON events for programs.
fn tell(status: &Status, spec: &Spec, lines: &mut Lines) {
    let problem = &status.fleet.registry_problem;
    lines.tell("registry.status", None, None, json!({ "problem": problem }));
    for (name, seen) in &status.fleet.gateways {
        let data = match seen {
            Ok(seen) => json!({
                "gateway": name,
                "routed": seen.serving(),
                "workers": seen.workers.len(),
                "reads": seen.reads,
            }),
            Err(problem) => json!({ "gateway": name, "problem": problem }),
        };
        lines.tell("gateway.status", None, None, data);
    }
    let nothing = NodeFacts::default();
    for node in &spec.nodes {
        let view = NodeView::of(&status.fleet, spec, &node.name);
        let facts = status.fleet.nodes.get(&node.name).unwrap_or(&nothing);
        let part = status.history.of(&node.name);
        let seen_by = |seen: &Observation| seen.routes_to(&node.address);
        let gateways = status.fleet.gateways.iter();
        let routed: BTreeMap<_, _> =
            gateways.map(|(name, seen)| (name, seen.as_ref().ok().map(seen_by))).collect();
        let mut data = json!({
            "address": node.address,
            "version": view.version,
            "process": view.process,
            "down": facts.mark.is_down(),
            "routed": routed,
            "problem": facts.problem,
            "registry_problem": facts.registry_problem,
            "health_problem": facts.health.problem,
            "held": facts.held.as_ref().map(|held| &held.hold),
            "last_release": page::state(status, &node.name, view.place),
            "last_release_id": part.and_then(|(release, _)| release.started.as_ref())
                .map(|started| started.inputs.release()),
        });
        let entries = facts.entries(spec.places(&node.address));
        if !entries.is_empty() {
            data["entries"] = json!(entries);
        }
        lines.tell("node.status", Some(&node.name), None, data);
    }
    for problem in &status.history.problems {
        lines.tell("journal.status", None, None, json!({ "problem": problem }));
    }
    let lock = match &status.lock {
        LockState::Free => None,
        LockState::Held(Some(holder), process) => {
            let mut data = serde_json::to_value(holder).unwrap_or_default();
            if *process == Process::Runs {
                data["runs"] = true.into();
            }
            Some(data)
        }
        LockState::Left(holder) => {
            let mut left = serde_json::to_value(holder).unwrap_or_default();
            left["ended"] = true.into();
            Some(left)
        }
        LockState::Held(None, _) => Some(json!({ "problem": "held by an unknown process" })),
        LockState::Unknown(problem) => Some(json!({ "problem": problem })),
    };
    if let Some(data) = lock {
        lines.tell("lock.status", None, None, data);
    }
    if let Some((release, started)) = status.last() {
        let finished = release.finished.as_ref();
        let data = json!({
            "id": started.inputs.release(),
            "command": started.command,
            "actor": started.actor,
            "plan": started.plan,
            "from": started.from,
            "to": started.to,
            "result": finished.map(|finished| finished.result),
            "exit_code": finished.map(|finished| finished.exit_code),
            "reason": finished.and_then(|finished| finished.reason.as_ref()),
        });
        lines.tell("release.status", None, None, data);
    }
}
