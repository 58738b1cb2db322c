//! `status`: each node as it is now, the last release, and what to type next. Changes nothing.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::history::History;
use super::open::{Missing, Opened, block_on};
use super::output::{self, Refusal};
use super::signals::Signals;
use super::{Exit, Global, Output, PlaybookArguments, hold, plan};
use crate::gateway::Observation;
use crate::lock::Holder;
use crate::next;
use crate::release::Release;
use crate::release::{Finished, Lines, Outcome, Started};
use crate::report::{NodeView, Place, state_now};
use crate::shell::quote;
use crate::spec::Spec;
use crate::survey::{Fleet, NodeFacts};
use crate::table::Table;
use crate::text;

/// How long Consul may take to tell of the lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    playbook: PlaybookArguments,
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Exit {
    attempt(arguments, global).unwrap_or_else(|refusal| output::refuse(refusal, global))
}

fn attempt(arguments: &Arguments, global: &Global) -> Result<Exit, Refusal> {
    let opened = Opened::new(&arguments.playbook, global, Missing::Open)?;
    let spec = opened.spec()?;
    let (fleet, history, lock) = block_on(async {
        let reach = opened.reach()?;
        let mut signals = Signals::listen(global)?;
        let seen = async {
            let fleet = plan::look(&opened, &reach, &spec, &mut signals).await?;
            let reachable = fleet.registry_problem.is_none();
            let history = History::read(&opened, &reach, reachable);
            let history = signals.unless_stopped(plan::JOURNALS, history).await?;
            let client = reach.shared_in_passing(LOCK_PATIENCE);
            let lock = hold::look(&opened, client.as_ref());
            let lock = signals.unless_stopped(hold::LOOK, lock).await?;
            Ok::<_, Refusal>((fleet, history, lock))
        };
        let seen = seen.await;
        reach.world.close().await;
        seen
    })??;
    let lock = match &lock {
        Ok(Some(seen)) if seen.session.is_some() => Lock::Held(seen.holder.as_ref()),
        Ok(_) => Lock::Free,
        Err(problem) => Lock::Unknown(problem),
    };
    let seen = Seen { fleet: &fleet, spec: &spec, history: &history, lock };
    let next = seen.next(&opened);
    let text = match output::form(global) {
        Output::Jsonl => {
            let mut lines = output::lines();
            seen.tell(&mut lines);
            let finished = Finished::unstarted(Outcome::Done, Exit::DONE.0, None);
            lines.finish(Finished { next, ..finished })
        }
        Output::Auto | Output::Tty | Output::Plain => text::page(&seen.page(&next)),
    };
    Ok(output::print(&text, Exit::DONE))
}

/// What there is to tell.
struct Seen<'a> {
    fleet: &'a Fleet,
    spec: &'a Spec,
    history: &'a History,
    lock: Lock<'a>,
}

/// The lock of the service.
#[derive(Clone, Copy)]
enum Lock<'a> {
    Free,
    /// Held, by a process that may have left no word of itself.
    Held(Option<&'a Holder>),
    /// It cannot be looked at, and why.
    Unknown(&'a str),
}

impl Seen<'_> {
    fn page(&self, next: &[(String, String)]) -> String {
        let headings = ["NODE", "ADDRESS", "VERSION", "PROCESS", "KEY", "GATEWAYS", "STATE"];
        let mut table = Table::new(&headings);
        for node in &self.spec.nodes {
            let view = NodeView::of(self.fleet, self.spec, &node.name);
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
        match self.last() {
            None => text += "\nNo release is known here.\n",
            Some((release, started)) => {
                let versions = match (&started.from, &started.to) {
                    (Some(from), Some(to)) => format!(" {from} -> {to}"),
                    _ => String::new(),
                };
                let how = match &release.finished {
                    Some(finished) => {
                        format!("{:?}, exit {}", finished.result, finished.exit_code).to_lowercase()
                    }
                    None if self.runs(started) => "under way".to_owned(),
                    None => "not ended: it was cut off".to_owned(),
                };
                let (id, command) = (started.inputs.release(), started.command);
                let last = format!("{id}: {command}{versions} by {}: {how}", started.actor);
                let _ = writeln!(text, "\nLast release {}", text::line(&last, 400));
            }
        }
        match self.lock {
            Lock::Free => {}
            Lock::Held(holder) => {
                let who = hold::described(holder, jiff::Timestamp::now());
                let _ = writeln!(text, "Lock  held by {who}");
            }
            Lock::Unknown(problem) => {
                let _ = writeln!(text, "Lock  unknown: {}", text::line(problem, 300));
            }
        }
        for (what, command) in next {
            let next = text::harmless(&format!("{what}: {command}"));
            let _ = writeln!(text, "Next  {next}");
        }
        text
    }

    /// The last release, and what it started with.
    fn last(&self) -> Option<(&Release, &Started)> {
        let release = self.history.releases.first()?;
        Some((release, release.started.as_ref()?))
    }

    /// Whether a process works on this very release, or may do so.
    fn runs(&self, started: &Started) -> bool {
        match self.lock {
            Lock::Free | Lock::Unknown(_) => false,
            Lock::Held(None) => true,
            Lock::Held(Some(holder)) => holder.release == started.inputs.release(),
        }
    }

    /// What became of a node, and in which release if that is not the last.
    fn state(&self, node: &str, place: Place) -> Option<String> {
        let (release, state) = self.history.of(node)?;
        let told = state_now(state, place);
        let started = release.started.as_ref()?;
        let id = started.inputs.release();
        let last = self.last().is_some_and(|(_, last)| last.inputs.release() == id);
        Some(if last { told } else { format!("{told} ({} {id})", started.command) })
    }

    fn problems(&self) -> Vec<(String, String)> {
        let unread = self.history.problems.iter();
        let mut problems: Vec<_> =
            unread.map(|problem| ("a past release".to_owned(), problem.clone())).collect();
        if let Some(problem) = &self.fleet.registry_problem {
            problems.push(("registry".to_owned(), problem.clone()));
        }
        for (name, seen) in &self.fleet.gateways {
            if let Err(problem) = seen {
                problems.push((name.clone(), problem.clone()));
            }
        }
        for node in &self.spec.nodes {
            let Some(facts) = self.fleet.nodes.get(&node.name) else { continue };
            let found = [&facts.problem, &facts.registry_problem, &facts.health.problem];
            problems.extend(
                found.into_iter().flatten().map(|problem| (node.name.clone(), problem.clone())),
            );
        }
        problems
    }

    /// What to type next, and what for.
    fn next(&self, opened: &Opened) -> Vec<(String, String)> {
        let last = self.last();
        let finished = last.and_then(|(release, _)| Some((release, release.finished.as_ref()?)));
        // Made anew: a journal may be from elsewhere, and what stands here is typed.
        let mut next = finished.map_or_else(Vec::new, |(release, finished)| {
            next::commands(release, finished.result, &opened.repeated())
        });
        for node in &self.spec.nodes {
            if self.fleet.nodes.get(&node.name).is_some_and(|facts| facts.down == Some(true)) {
                let command = format!("{} {}", opened.command("node in"), quote(&node.name));
                next.push((format!("bring {} back as it is", node.name), command));
            }
        }
        if let Some((_, started)) = last.filter(|_| finished.is_none())
            && !self.runs(started)
        {
            next.push(("go on with it".into(), opened.command("resume")));
        }
        next
    }

    /// The same for programs.
    fn tell(&self, lines: &mut Lines) {
        let problem = &self.fleet.registry_problem;
        lines.tell("registry.status", None, None, json!({ "problem": problem }));
        for (name, seen) in &self.fleet.gateways {
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
            let view = NodeView::of(self.fleet, self.spec, &node.name);
            let facts = self.fleet.nodes.get(&node.name).unwrap_or(&nothing);
            let part = self.history.of(&node.name);
            let seen_by = |seen: &Observation| seen.routes_to(&node.address);
            let gateways = self.fleet.gateways.iter();
            let routed: BTreeMap<_, _> =
                gateways.map(|(name, seen)| (name, seen.as_ref().ok().map(seen_by))).collect();
            let data = json!({
                "address": node.address,
                "version": view.version,
                "process": view.process,
                "down": facts.down,
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
        for problem in &self.history.problems {
            lines.tell("journal.status", None, None, json!({ "problem": problem }));
        }
        let lock = match self.lock {
            Lock::Free => None,
            Lock::Held(Some(holder)) => Some(serde_json::to_value(holder).unwrap_or_default()),
            Lock::Held(None) => Some(json!({ "problem": "held by an unknown process" })),
            Lock::Unknown(problem) => Some(json!({ "problem": problem })),
        };
        if let Some(data) = lock {
            lines.tell("lock.status", None, None, data);
        }
        if let Some((release, started)) = self.last() {
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
