//! The results of commands as text for people.

mod past;

use std::fmt::Write;

use jiff::Timestamp;

use crate::diagnostic::render;
use crate::lock::Process;
use crate::mark::Mark;
use crate::ops::lock::{Broken, Found};
use crate::ops::lock_state::LockState;
use crate::ops::locking::{described, freed};
use crate::ops::plan::Preview;
use crate::ops::plan_file::ReadPlan;
use crate::ops::status::Status;
use crate::ops::{Ending, Refusal, Run, Session};
use crate::plan::Selection;
use crate::release::{
    NodeState, Outcome, Phase, PlannedAction, Release, RotationState, Started, at_work,
};
use crate::report::{NodeView, Place, Report, markdown, serving, state_now, state_of};
use crate::spec::Spec;
use crate::survey::{MissingKey, NodeFacts, alike};
use crate::table::Table;
use crate::text::{self, count, harmless};

pub use past::{past, unread};

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
    let Run { ended, spec, journal, fleet, repeated } = run;
    let Some(finished) = &ended.release.finished else {
        let status = repeated.command("status", []);
        return format!(
            "error: {}\nhint: `{status}` tells where each node stands\n",
            internal_error(run)
        );
    };
    let next = run.next();
    let report = Report { release: &ended.release, spec, fleet: fleet.as_ref(), next: &next };
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

/// The same result as Markdown, for the page of a CI job.
#[must_use]
pub fn summary(result: &Ending) -> String {
    match result {
        Ending::Ran(run) if run.ended.release.finished.is_some() => {
            let (release, spec) = (&run.ended.release, &run.spec);
            Report { release, spec, fleet: run.fleet.as_ref(), next: &run.next() }.markdown()
        }
        Ending::Nothing(_) | Ending::Ran(_) => markdown::page("rollgate", &ending(result)),
    }
}

/// Why a release has no result.
pub(super) fn internal_error(run: &Run) -> String {
    let why = run.ended.failed.as_ref().map_or(String::new(), |error| format!(": {error:#}"));
    harmless(&format!("the release ended with an internal error{why}"))
}

/// The plan of a release, and how it is run: as it was `saved`, if it was.
#[must_use]
pub fn plan(
    Preview { plan, spec, .. }: &Preview,
    session: &Session,
    selection: &Selection,
    saved: Option<&ReadPlan>,
) -> String {
    let mut text = plan.render(spec, &session.file.display().to_string());
    if !plan.refusals.is_empty() {
        return text;
    }
    let is_idle = plan.count(PlannedAction::Update) == 0;
    if is_idle {
        text += &format!("Nothing to do: {}.\n", plan.idle());
    }
    text += &match saved {
        Some(saved) => {
            let deploy = session.command_by_plan(&saved.path);
            format!("Nothing was changed. To run exactly this plan: {}\n", harmless(&deploy))
        }
        None if is_idle => return text,
        None => {
            let deploy = session.command_for("deploy", selection);
            let what = if spec.is_restart { "restart" } else { "release" };
            format!("Nothing was changed. To {what}: {deploy}\n")
        }
    };
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
            &cell(status, &node.name, view.place),
        ]);
    }
    let mut text = format!("{}: {}\n", spec.service, serving(spec, &status.fleet));
    for (heading, told) in releases(status, now) {
        let _ = writeln!(text, "{heading} {}", text::line(&told, 400));
    }
    text += "\n";
    text += &table.render();
    text += &held(status, spec);
    for (names, problem) in problems(status, spec, &views) {
        let _ = writeln!(text, "\n{}: {}", names.join(", "), text::line(&problem, 600));
    }
    if !next.is_empty() {
        text += "\n";
    }
    for (what, command) in next {
        let next = harmless(&format!("{what}: {command}"));
        let _ = writeln!(text, "Next  {next}");
    }
    text::page(&text)
}

/// The state of a node, in a few words.
fn cell(status: &Status, node: &str, place: Place) -> String {
    if status.fleet.nodes.get(node).is_some_and(|facts| facts.missing_key.is_some()) {
        return "KEY MISSING, action required".to_owned();
    }
    state(status, node, place).unwrap_or_else(|| "-".into())
}

/// The nodes that operators hold out of rotation, one per line.
fn held(status: &Status, spec: &Spec) -> String {
    let lines = spec.nodes.iter().filter_map(|node| {
        let facts = status.fleet.nodes.get(&node.name)?;
        let told = &facts.held.as_ref()?.told;
        let but = match facts.mark {
            Mark::Up => " (but it is marked up: `node out` takes it out, `node in` ends the hold)",
            Mark::Mixed => " (but one of its registries marks it up: `node out` takes it out, `node in` ends the hold)",
            Mark::Down | Mark::Unknown => "",
        };
        Some(format!("Held  {} {told}{but}\n", node.name))
    });
    let lines: String = lines.collect();
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}

/// Describes the last release, an unfinished one before it, and the lock.
fn releases(status: &Status, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    match status.last() {
        None if matches!(status.lock, LockState::Unknown(_)) => {
            let nothing = "none in the state folder; the journals in Consul were not read";
            lines.push(("Last release", nothing.to_owned()));
        }
        None => lines.push(("Last release", "none in the state folder or in Consul".to_owned())),
        Some((release, started)) => {
            let how = match status.running() {
                Some(_) => progress(release, now),
                None => how_it_ended(release, now),
            };
            let heading = if started.command.is_by_hand() { "Last change" } else { "Last release" };
            lines.push((heading, format!("{} by {}: {how}", identified(started), started.actor)));
        }
    }
    lines.extend(status.last().and_then(|(release, _)| why(release)));
    let by_hand = status.last().filter(|(_, started)| started.command.is_by_hand());
    if let Some((release, started)) = by_hand.and_then(|_| status.last_release()) {
        let (actor, how) = (&started.actor, how_it_ended(release, now));
        lines.push(("Last release", format!("{} by {actor}: {how}", identified(started))));
    }
    if let Some((release, started)) = status.unfinished() {
        let told = format!("{}: {}", identified(started), how_it_ended(release, now));
        lines.push(("Unfinished release", told));
    }
    match &status.lock {
        LockState::Free => {}
        LockState::Held(holder, process) => {
            let who = described(holder.as_ref(), *process, now);
            let freed = freed(holder.as_ref(), *process, now);
            let freed = freed.map_or(String::new(), |freed| format!("; {freed}"));
            lines.push(("Lock held by", format!("{who}{freed}")));
        }
        LockState::Left(holder) => {
            let who = described(Some(holder), Process::Ended, now);
            lines.push(("Lock left by", format!("{who}; that process has ended")));
        }
        LockState::Unknown(problem) => lines.push(("Lock unknown:", problem.clone())),
    }
    lines
}

/// Why a release has failed.
fn why(release: &Release) -> Option<(&'static str, String)> {
    let finished = release.finished.as_ref()?;
    let is_told = !matches!(finished.result, Outcome::Done | Outcome::Stopped);
    let reason = finished.reason.as_ref().filter(|_| is_told)?;
    Some(("Why ", reason.trim_start_matches("stopped: ").to_owned()))
}

/// `r1: deploy 1 -> 2`.
fn identified(started: &Started) -> String {
    let versions = started.versions();
    format!("{}: {}{versions}", started.inputs.release(), started.command)
}

/// How far a release has come.
fn progress(release: &Release, now: Timestamp) -> String {
    let updated = release.started.as_ref().map_or(0, |started| started.nodes.updates());
    let done = release.count(|node| node.phase == Phase::Done);
    let (time, at) = (since(release.begun, now), steps(release, Some(now)));
    format!("in progress for {time}, {done} of {} done{at}", count(updated, "node"))
}

/// How a release ended, and when.
fn how_it_ended(release: &Release, now: Timestamp) -> String {
    let ago = since(release.latest, now);
    match &release.finished {
        Some(finished) => {
            format!("{} {ago} ago, exit {}", finished.result.in_words(), finished.exit_code)
        }
        None => {
            format!("interrupted {ago} ago (rollgate ended in the middle){}", steps(release, None))
        }
    }
}

/// The steps of the nodes in progress, and since when.
fn steps(release: &Release, now: Option<Timestamp>) -> String {
    let at = at_work(release, now);
    if at.is_empty() { at } else { format!("; {at}") }
}

fn since(then: Option<Timestamp>, now: Timestamp) -> String {
    text::elapsed(then.unwrap_or(now), now)
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
        (false, Phase::Taken) => {
            let interrupted = NodeState { phase: Phase::Interrupted, ..state.clone() };
            state_now(&interrupted, place)
        }
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

/// The problems, each with what has it. Equal problems are one.
fn problems(status: &Status, spec: &Spec, views: &[NodeView]) -> Vec<(Vec<String>, String)> {
    alike(spec, each_problem(status, spec, views))
}

fn each_problem(status: &Status, spec: &Spec, views: &[NodeView]) -> Vec<(String, String)> {
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
        let mixed = facts.mixed().map(|mixed| {
            format!("{mixed}; a release or `node in` marks it up in all of them, `node out` down")
        });
        // Without any key, each node's key is missing.
        let missing = facts.missing_key.as_ref().map(MissingKey::mend);
        let registry = facts.registry_told().or(missing).or(mixed);
        let found = [facts.problem.clone(), registry, health.cloned()];
        problems.extend(found.into_iter().flatten().map(|problem| (node.name.clone(), problem)));
    }
    problems
}

/// The state of the lock.
#[must_use]
pub fn lock(found: &Found) -> String {
    match found {
        Found::Held(who) => format!("held by {who}\n"),
        Found::Left(who) => {
            format!(
                "held by {who}; its process has ended, so the next command on this machine takes the lock\n"
            )
        }
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
