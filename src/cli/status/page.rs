//! `status` as text for people.

use std::fmt::Write;

use jiff::Timestamp;

use super::rows::{Columns, Rows, STATE};
use super::state::{is_outdated, is_past};
use crate::lock::Process;
use crate::mark::Mark;
use crate::ops::lock_state::LockState;
use crate::ops::locking::{described, freed};
use crate::ops::status::Status;
use crate::release::{Outcome, Release, Started, at_work};
use crate::report::{NodeView, serving};
use crate::spec::Spec;
use crate::survey::{MissingKey, alike};
use crate::text::{self, NAMES_TOLD, count, few, harmless};

/// The widest state of a node in a step that takes up to 120 s: `confirm_out, 120s of 120s`.
const WIDEST_STEP: usize = 25;

/// The state of each node, the last release, the lock, and the next commands.
pub struct Page<'a> {
    /// What was found.
    pub status: &'a Status,
    /// The playbook.
    pub spec: &'a Spec,
    /// The next commands and their purposes.
    pub next: &'a [(String, String)],
    /// The time.
    pub now: Timestamp,
    /// The width of the terminal, if it is one.
    pub width: Option<usize>,
    /// Nodes that need no attention share a row although they are few.
    pub together: bool,
    /// Every node has a row of its own, with its address.
    pub verbose: bool,
    /// The requests in flight are shown.
    pub counts: bool,
}

impl Page<'_> {
    /// Renders the page.
    #[must_use]
    pub fn render(&self) -> String {
        let Self { status, spec, next, now, .. } = *self;
        let view = |node| NodeView::of(&status.fleet, spec, node);
        let views: Vec<_> = spec.nodes.iter().map(|node| view(&node.name)).collect();
        let mut text = format!("{}: {}\n", spec.service, serving(spec, &status.fleet));
        for (heading, told) in releases(status, now) {
            let _ = writeln!(text, "{heading} {}", text::line(&told, 400));
        }
        text += "\n";
        text += &self.table(&views);
        let unproved = spec.told_unproved("VERSION");
        if let Some(told) = unproved.filter(|_| views.iter().any(|view| view.version.is_some())) {
            let _ = writeln!(text, "{told}");
        }
        text += &held(status, spec);
        text += &differing(status, spec);
        for (names, problem) in problems(status, spec, &views) {
            let names = few(names, NAMES_TOLD).join(", ");
            let _ = writeln!(text, "\n{names}: {}", text::line(&problem, 600));
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

    fn table(&self, views: &[NodeView]) -> String {
        let rows = Rows::of(self.status, self.spec, views, self.now);
        let together = (rows.are_many || self.together) && !self.verbose;
        let all = Columns { address: self.verbose, requests: self.counts && rows.count_requests() };
        let (mut table, mut requests) = (rows.render(all, together, None), String::new());
        let mut widest = table.lines().map(|line| line.chars().count()).max();
        if self.status.running().is_some() {
            // The columns stay the same in all steps of a release.
            widest = widest.max(table.find(STATE).map(|at| at + WIDEST_STEP));
        }
        if let Some(width) = self.width.filter(|width| widest > Some(*width)) {
            table = rows.render(Columns { requests: false, ..all }, together, Some(width));
            if all.requests {
                requests = format!("\nIn flight  {}\n", rows.told_requests());
            }
        }
        if together {
            table += " (nodes that need no attention are together; `-v` shows each)\n";
        }
        table + &requests
    }
}

/// Where gateways, or the workers of one, differ about a node.
fn differing(status: &Status, spec: &Spec) -> String {
    let told = spec
        .nodes
        .iter()
        .filter_map(|node| Some((node.name.clone(), status.fleet.differing(node)?)));
    let lines = alike(spec, told).into_iter().map(|(names, told)| {
        format!(
            "Gateways differ  {}: {}\n",
            few(names, NAMES_TOLD).join(", "),
            text::line(&told, 400)
        )
    });
    let lines: String = lines.collect();
    if lines.is_empty() { lines } else { format!("\n{lines}") }
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

/// How far a release has come. The steps of its nodes are in the table.
fn progress(release: &Release, now: Timestamp) -> String {
    let (done, all) = release.progress();
    let failed = match release.failures() {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    let left = match (release.time_left(now), &release.stopping) {
        (_, Some(reason)) => format!(", stopping: {reason}"),
        (Some(left), None) => format!(", about {} left", text::duration(left)),
        (None, None) => String::new(),
    };
    let time = since(release.begun, now);
    format!("in progress for {time}, {done} of {} done{failed}{left}", count(all, "node"))
}

/// How a release ended, and when.
fn how_it_ended(release: &Release, now: Timestamp) -> String {
    let ago = since(release.latest, now);
    match &release.finished {
        Some(finished) => {
            format!("{} {ago} ago, exit {}", finished.result.in_words(), finished.exit_code)
        }
        None => {
            format!("interrupted {ago} ago (rollgate ended in the middle){}", steps(release))
        }
    }
}

/// The steps of the nodes in progress.
fn steps(release: &Release) -> String {
    let at = at_work(release, None);
    if at.is_empty() { at } else { format!("; {at}") }
}

fn since(then: Option<Timestamp>, now: Timestamp) -> String {
    text::elapsed(then.unwrap_or(now), now)
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
        let is_outdated =
            is_outdated(status, &node.name, view.place) || is_past(status, spec, &node.name);
        let health = facts.health.problem.as_ref().filter(|_| !is_outdated);
        let mixed = facts.mixed().map(|mixed| {
            format!("{mixed}; a release or `node in` marks it up in all of them, `node out` down")
        });
        // Without any key, each node's key is missing.
        let missing = facts.missing_key.as_ref().map(MissingKey::mend);
        let registry = facts.registry_told().or(missing).or(mixed);
        let requests = status.requests.get(&node.name).and_then(|count| count.as_ref().err());
        let requests = requests.map(|why| format!("requests in flight are not counted: {why}"));
        let found = [facts.problem.clone(), registry, health.cloned(), requests];
        problems.extend(found.into_iter().flatten().map(|problem| (node.name.clone(), problem)));
    }
    problems
}
