//! `status`: shows the current state of each node, the last release, and the next command. It changes nothing.

use std::collections::BTreeMap;
use std::fmt::Write;

use clap::Args;
use serde_json::json;

use super::arguments::{Global, Output, PlaybookArguments};
use super::connect::connected;
use super::exit::Exit;
use super::open::{Missing, open};
use super::output;
use crate::gateway::Observation;
use crate::ops::Refusal;
use crate::ops::locking::described;
use crate::ops::status::{LockState, Status, status};
use crate::release::{Finished, Lines, Outcome};
use crate::report::{NodeView, Place, state_now};
use crate::spec::Spec;
use crate::survey::NodeFacts;
use crate::table::Table;
use crate::text;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    playbook: PlaybookArguments,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    let session = open(&arguments.playbook, global, Missing::Open)?;
    let spec = session.spec()?;
    let status = connected(&session, global, async |connections, terminal| {
        status(&session, connections, terminal, &spec).await
    })?;
    let next = status.next(&session, &spec);
    let view = View { status: &status, spec: &spec };
    let text = match output::form(global) {
        Output::Jsonl => {
            let mut lines = output::lines();
            view.tell(&mut lines);
            let finished = Finished::unstarted(Outcome::Done, Exit::DONE.0, None);
            lines.finish(Finished { next, ..finished })
        }
        Output::Auto | Output::Tty | Output::Plain => text::page(&view.page(&next)),
    };
    Ok(output::print(&text, Exit::DONE))
}

/// The content of `status`, for people and for programs.
struct View<'a> {
    status: &'a Status,
    spec: &'a Spec,
}

impl View<'_> {
    fn page(&self, next: &[(String, String)]) -> String {
        let headings = ["NODE", "ADDRESS", "VERSION", "PROCESS", "KEY", "GATEWAYS", "STATE"];
        let mut table = Table::new(&headings);
        for node in &self.spec.nodes {
            let view = NodeView::of(&self.status.fleet, self.spec, &node.name);
            table.row(&[
                &node.name,
                &node.address,
                view.version.as_deref().unwrap_or("?"),
                view.process,
                view.key,
                &view.gateways,
                &self.state(&node.name, view.place).unwrap_or_else(|| "-".into()),
            ]);
        }
        let mut text = table.render();
        for (name, problem) in self.problems() {
            let _ = writeln!(text, "\n{name}: {}", text::line(&problem, 300));
        }
        match self.status.last() {
            None => text += "\nNo release is recorded in the state folder or in Consul.\n",
            Some((release, started)) => {
                let versions = match (&started.from, &started.to) {
                    (Some(from), Some(to)) => format!(" {from} -> {to}"),
                    _ => String::new(),
                };
                let how = match &release.finished {
                    Some(finished) => {
                        format!("{:?}, exit {}", finished.result, finished.exit_code).to_lowercase()
                    }
                    None if self.status.runs(started) => "in progress".to_owned(),
                    None => "interrupted (rollgate was killed)".to_owned(),
                };
                let (id, command) = (started.inputs.release(), started.command);
                let last = format!("{id}: {command}{versions} by {}: {how}", started.actor);
                let _ = writeln!(text, "\nLast release {}", text::line(&last, 400));
            }
        }
        match &self.status.lock {
            LockState::Free => {}
            LockState::Held(holder) => {
                let who = described(holder.as_ref(), jiff::Timestamp::now());
                let _ = writeln!(text, "Lock  held by {who}");
            }
            LockState::Unknown(problem) => {
                let _ = writeln!(text, "Lock  unknown: {}", text::line(problem, 300));
            }
        }
        for (what, command) in next {
            let next = text::harmless(&format!("{what}: {command}"));
            let _ = writeln!(text, "Next  {next}");
        }
        text
    }

    /// Describes the result of a node. It names the release if that is not the last one.
    fn state(&self, node: &str, place: Place) -> Option<String> {
        let (release, state) = self.status.history.of(node)?;
        let told = state_now(state, place);
        let started = release.started.as_ref()?;
        let id = started.inputs.release();
        let last = self.status.last().is_some_and(|(_, last)| last.inputs.release() == id);
        Some(if last { told } else { format!("{told} ({} {id})", started.command) })
    }

    fn problems(&self) -> Vec<(String, String)> {
        let unread = self.status.history.problems.iter();
        let mut problems: Vec<_> =
            unread.map(|problem| ("a past release".to_owned(), problem.clone())).collect();
        if let Some(problem) = &self.status.fleet.registry_problem {
            problems.push(("registry".to_owned(), problem.clone()));
        }
        for (name, seen) in &self.status.fleet.gateways {
            if let Err(problem) = seen {
                problems.push((name.clone(), problem.clone()));
            }
        }
        for node in &self.spec.nodes {
            let Some(facts) = self.status.fleet.nodes.get(&node.name) else { continue };
            let found = [&facts.problem, &facts.registry_problem, &facts.health.problem];
            problems.extend(
                found.into_iter().flatten().map(|problem| (node.name.clone(), problem.clone())),
            );
        }
        problems
    }

    /// Writes the JSON events for programs.
    fn tell(&self, lines: &mut Lines) {
        let problem = &self.status.fleet.registry_problem;
        lines.tell("registry.status", None, None, json!({ "problem": problem }));
        for (name, seen) in &self.status.fleet.gateways {
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
        for node in &self.spec.nodes {
            let view = NodeView::of(&self.status.fleet, self.spec, &node.name);
            let facts = self.status.fleet.nodes.get(&node.name).unwrap_or(&nothing);
            let part = self.status.history.of(&node.name);
            let seen_by = |seen: &Observation| seen.routes_to(&node.address);
            let gateways = self.status.fleet.gateways.iter();
            let routed: BTreeMap<_, _> =
                gateways.map(|(name, seen)| (name, seen.as_ref().ok().map(seen_by))).collect();
            let data = json!({
                "address": node.address,
                "version": view.version,
                "process": view.process,
                "down": facts.mark.is_down(),
                "routed": routed,
                "problem": facts.problem,
                "registry_problem": facts.registry_problem,
                "health_problem": facts.health.problem,
                "last_release": self.state(&node.name, view.place),
                "last_release_id": part.and_then(|(release, _)| release.started.as_ref())
                    .map(|started| started.inputs.release()),
            });
            lines.tell("node.status", Some(&node.name), None, data);
        }
        for problem in &self.status.history.problems {
            lines.tell("journal.status", None, None, json!({ "problem": problem }));
        }
        let lock = match &self.status.lock {
            LockState::Free => None,
            LockState::Held(Some(holder)) => Some(serde_json::to_value(holder).unwrap_or_default()),
            LockState::Held(None) => Some(json!({ "problem": "held by an unknown process" })),
            LockState::Unknown(problem) => Some(json!({ "problem": problem })),
        };
        if let Some(data) = lock {
            lines.tell("lock.status", None, None, data);
        }
        if let Some((release, started)) = self.status.last() {
            let finished = release.finished.as_ref();
            let data = json!({
                "id": started.inputs.release(),
                "command": started.command,
                "actor": started.actor,
                "from": started.from,
                "to": started.to,
                "result": finished.map(|finished| finished.result),
                "exit_code": finished.map(|finished| finished.exit_code),
                "reason": finished.and_then(|finished| finished.reason.as_ref()),
            });
            lines.tell("release.status", None, None, data);
        }
    }
}
