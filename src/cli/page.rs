//! The results of commands as text for people.

use std::fmt::Write;

use jiff::Timestamp;

use crate::diagnostic::render;
use crate::ops::lock::{Broken, Found};
use crate::ops::locking::described;
use crate::ops::status::{LockState, Status};
use crate::ops::{Ending, Refusal, Run, Session};
use crate::plan::Plan;
use crate::release::{Outcome, Phase, PlannedAction, RotationState};
use crate::report::{NodeView, Place, Report, state_now, state_of};
use crate::spec::Spec;
use crate::survey::NodeFacts;
use crate::table::Table;
use crate::text::{self, harmless};

/// Why a command does not start, and what to do next.
#[must_use]
pub fn refusal(refusal: &Refusal, colour: bool) -> String {
    let mut text = match (&refusal.invalid, &refusal.text) {
        // The rendered text keeps its colours.
        (Some(invalid), _) => render(invalid, colour),
        (None, Some(text)) => text::page(text),
        (None, None) => text::page(&format!("error: {}\n", refusal.reason)),
    };
    for hint in &refusal.hints {
        let _ = writeln!(text, "hint: {hint}");
    }
    text
}

/// The result of a command that was not refused.
#[must_use]
pub fn ending(ending: &Ending) -> String {
    match ending {
        Ending::Nothing(why) => format!("Nothing to do: {}.\n", harmless(why)),
        Ending::Ran(run) => ran(run),
    }
}

fn ran(run: &Run) -> String {
    let Run { ended, spec, journal, fleet, status } = run;
    let Some(finished) = &ended.release.finished else {
        return format!(
            "error: {}\nhint: `{status}` tells where each node stands\n",
            internal_error(run)
        );
    };
    let report = Report { release: &ended.release, spec, fleet: fleet.as_ref() };
    let mut text = report.render();
    if finished.result != Outcome::Done {
        let torn = match ended.unwritten {
            Some(_) => " (incomplete: its last events are missing)",
            None => "",
        };
        let _ =
            write!(text, "\njournal {}{torn}\nexit {}\n", journal.display(), finished.exit_code);
    }
    text
}

/// Why a release has no result.
pub(super) fn internal_error(run: &Run) -> String {
    let why = run.ended.failed.as_ref().map_or(String::new(), |error| format!(": {error:#}"));
    harmless(&format!("the release ended with an internal error{why}"))
}

/// The plan of a release.
#[must_use]
pub fn plan(plan: &Plan, session: &Session, spec: &Spec) -> String {
    let mut text = plan.render(spec, &session.file.display().to_string());
    if plan.refusals.is_empty() {
        text += &match plan.count(PlannedAction::Update) {
            0 => format!("Nothing to do: {}.\n", plan.idle()),
            _ => format!("Nothing was changed. To release: {}\n", session.command("deploy")),
        };
    }
    text
}

/// The state of each node, the last release, the lock, and the next commands.
#[must_use]
pub fn status(status: &Status, spec: &Spec, next: &[(String, String)], now: Timestamp) -> String {
    let headings = ["NODE", "ADDRESS", "VERSION", "PROCESS", "KEY", "GATEWAYS", "STATE"];
    let mut table = Table::new(&headings);
    let view = |node| NodeView::of(&status.fleet, spec, node);
    let views: Vec<_> = spec.nodes.iter().map(|node| view(&node.name)).collect();
    for (node, view) in spec.nodes.iter().zip(&views) {
        table.row(&[
            &node.name,
            &node.address,
            view.version.as_deref().unwrap_or("?"),
            view.process,
            view.key,
            &view.gateways,
            &state(status, &node.name, view.place).unwrap_or_else(|| "-".into()),
        ]);
    }
    let mut text = table.render();
    for (name, problem) in problems(status, spec, &views) {
        let _ = writeln!(text, "\n{name}: {}", text::line(&problem, 300));
    }
    match status.last() {
        None if matches!(status.lock, LockState::Unknown(_)) => {
            text += "\nNo release is recorded in the state folder. The journals in Consul were not read.\n";
        }
        None => text += "\nNo release is recorded in the state folder or in Consul.\n",
        Some((release, started)) => {
            let versions = match (&started.from, &started.to) {
                (Some(from), Some(to)) => format!(" {from} -> {to}"),
                _ => String::new(),
            };
            let how = match &release.finished {
                Some(finished) => {
                    format!("{}, exit {}", finished.result.in_words(), finished.exit_code)
                }
                None if status.running().is_some() => "in progress".to_owned(),
                None => "interrupted (rollgate was killed)".to_owned(),
            };
            let (id, command) = (started.inputs.release(), started.command);
            let last = format!("{id}: {command}{versions} by {}: {how}", started.actor);
            let _ = writeln!(text, "\nLast release {}", text::line(&last, 400));
        }
    }
    match &status.lock {
        LockState::Free => {}
        LockState::Held(holder) => {
            let who = described(holder.as_ref(), now);
            let _ = writeln!(text, "Lock  held by {who}");
        }
        LockState::Unknown(problem) => {
            let _ = writeln!(text, "Lock  unknown: {}", text::line(problem, 300));
        }
    }
    for (what, command) in next {
        let next = harmless(&format!("{what}: {command}"));
        let _ = writeln!(text, "Next  {next}");
    }
    text::page(&text)
}

/// Describes the result of a node. It names the release if that is not the last one.
pub(super) fn state(status: &Status, node: &str, place: Place) -> Option<String> {
    let (release, state) = status.history.of(node)?;
    let started = release.started.as_ref()?;
    let id = started.inputs.release();
    let last = status.last().is_some_and(|(_, last)| last.inputs.release() == id);
    // The journal is newer than the inspection.
    let told = match (last && status.running().is_some(), state.phase) {
        (true, Phase::Taken) => "in progress".to_owned(),
        (true, _) if is_outdated(status, node, place) => {
            format!("{} (inspected before that)", state_of(state))
        }
        (true, _) => state_of(state).to_owned(),
        (false, _) => state_now(state, place),
    };
    Some(if last { told } else { format!("{told} ({} {id})", started.command) })
}

/// Whether a running release has finished a node after its inspection.
fn is_outdated(status: &Status, node: &str, place: Place) -> bool {
    let Some((release, state)) = status.history.of(node) else { return false };
    let Some((_, started)) =
        status.running().filter(|(running, _)| std::ptr::eq(*running, release))
    else {
        return false;
    };
    let runs = status.fleet.nodes.get(node).and_then(NodeFacts::version);
    match (state.phase, state.rotation_state()) {
        (Phase::Done, RotationState::Updated) => {
            let other = started.to.is_some() && runs.is_some() && runs != started.to;
            place != Place::In || other
        }
        (Phase::RolledBack, RotationState::PutBack) => place != Place::In,
        _ => false,
    }
}

fn problems(status: &Status, spec: &Spec, views: &[NodeView]) -> Vec<(String, String)> {
    let unread = status.history.problems.iter();
    let mut problems: Vec<_> =
        unread.map(|problem| ("a past release".to_owned(), problem.clone())).collect();
    if let Some(problem) = &status.fleet.registry_problem {
        problems.push(("registry".to_owned(), problem.clone()));
    }
    for (name, seen) in &status.fleet.gateways {
        if let Err(problem) = seen {
            problems.push((name.clone(), problem.clone()));
        }
    }
    for (node, view) in spec.nodes.iter().zip(views) {
        let Some(facts) = status.fleet.nodes.get(&node.name) else { continue };
        let is_outdated = is_outdated(status, &node.name, view.place);
        let health = facts.health.problem.as_ref().filter(|_| !is_outdated);
        let found = [facts.problem.as_ref(), facts.registry_problem.as_ref(), health];
        problems.extend(
            found.into_iter().flatten().map(|problem| (node.name.clone(), problem.clone())),
        );
    }
    problems
}

/// The state of the lock.
#[must_use]
pub fn lock(found: &Found) -> String {
    match found {
        Found::Held(who) => format!("held by {who}\n"),
        Found::Free(who) => format!("free; last held by {who}\n"),
        Found::Unused => "free\n".to_owned(),
    }
}

/// The result of `lock break`.
#[must_use]
pub fn broken(broken: &Broken) -> String {
    match broken {
        Broken::Free => "The lock is free.\n".to_owned(),
        Broken::From(who) => format!("The lock is free; it was taken from {who}.\n"),
    }
}
