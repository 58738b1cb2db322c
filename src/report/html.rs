//! A past release as one page of HTML: no script, no other file, no network.
//!
//! The template escapes every text. Before that, every text is made harmless: without secrets, control characters and
//! characters that change the direction of text.

mod axis;
mod lanes;
mod pool;
mod source;
mod times;

use askama::Template;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use super::past::nodes;
use super::story::{Note, state_then, why_planned};
use super::why::blocked;
use crate::release::{CommandKind, Outcome, RunState, Started, Summary};
use crate::suggestions::Repeated;
use crate::text::{self, count, harmless};

use axis::Axis;
use lanes::{Group, LEGEND, Lanes};
use pool::PoolView;
use source::{Row, is_bad};
use times::{TimeTable, times};

pub use source::StoryPage;

/// How a page begins, so that a later one may replace it.
pub const MARK: &str = "<meta name=\"generator\" content=\"rollgate ";

const STYLE: &str = include_str!("../../templates/release.css");

/// The largest number of nodes whose steps are printed on paper.
const SMALL: usize = 10;

/// The largest number of nodes whose plan is open.
const MEDIUM: usize = 40;

/// The values of the template.
#[derive(Template)]
#[template(path = "release.html")]
struct Page {
    generator: String,
    style: &'static str,
    style_hash: String,
    is_small: bool,
    is_medium: bool,
    title: String,
    result: String,
    result_class: &'static str,
    facts: Vec<(&'static str, String)>,
    sections: Vec<(&'static str, &'static str)>,
    ending: Option<String>,
    has_failed: bool,
    why: Vec<Why>,
    scale: String,
    legend: &'static [(&'static str, &'static str)],
    ticks: Vec<String>,
    pool: Option<PoolView>,
    groups: Vec<Group>,
    times: Vec<TimeTable>,
    plan_summary: String,
    plan: Vec<[String; 5]>,
    events: Vec<Row>,
    commands: Vec<(String, String)>,
    made: String,
}

/// Why nodes failed.
struct Why {
    heading: String,
    when: Option<String>,
    seen: Vec<(String, String)>,
    log: Vec<String>,
}

impl StoryPage<'_> {
    /// Renders the page.
    ///
    /// # Errors
    ///
    /// Never in practice: the text is written to memory.
    pub fn render(&self) -> Result<String, askama::Error> {
        let (story, summary) = (self.story, self.summary);
        let service = story.started().map_or("", |started| started.service.as_str());
        let worked_on = story.worked_on();
        let axis = Axis::new(&story.timeline.runs);
        let lanes = Lanes { page: self, axis: &axis, worked_on: &worked_on };
        let pool = PoolView::new(self, &axis);
        let why = self.why();
        let is_done = matches!(summary.state.outcome(), Some(Outcome::Done | Outcome::Nothing));
        let has_failed = !why.is_empty() && !is_done;
        let page = Page {
            generator: format!("rollgate {}", env!("CARGO_PKG_VERSION")),
            style: STYLE,
            style_hash: BASE64_STANDARD.encode(Sha256::digest(STYLE)),
            is_small: worked_on.len() <= SMALL,
            is_medium: story.release.planned().len() <= MEDIUM,
            title: harmless(&format!("Release {} of {service}", summary.id)),
            result: self.result(),
            result_class: class_of(summary.state),
            facts: self.facts(),
            sections: sections(has_failed, !worked_on.is_empty(), pool.is_some()),
            ending: Some(self.ending()).filter(|it| !is_only_reason(it, &why)),
            has_failed,
            why,
            scale: scale(&axis),
            legend: LEGEND,
            ticks: axis.ticks(|at| self.time(at)),
            pool,
            groups: lanes.groups(),
            times: times(self, &worked_on),
            plan_summary: self.plan_summary(),
            plan: self.plan(),
            events: self.events(),
            commands: self.commands(),
            made: format!(
                "Made by rollgate {} on {}.",
                env!("CARGO_PKG_VERSION"),
                self.date(self.now)
            ),
        };
        page.render()
    }

    fn result(&self) -> String {
        let Summary { command, what, state, took, .. } = self.summary;
        let exit = state.exit_code().map_or(String::new(), |code| format!(", exit code {code}"));
        let took = text::duration(*took);
        harmless(&format!("{}: {command}{what}, in {took}{exit}", capital(state.in_words())))
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let summary = self.summary;
        let by = |at, user: &str| harmless(&format!("{} by {user}", self.date(at)));
        let mut facts = vec![("Begun", by(summary.begun, &summary.actor))];
        facts.extend(self.story.resumed.iter().map(|(at, user)| ("Resumed", by(*at, user))));
        let has_ended = summary.state.outcome().is_some();
        facts.push((if has_ended { "Ended" } else { "Last event" }, self.date(summary.latest)));
        facts.push(("Nodes", nodes(summary.command, summary.nodes)));
        let offset = summary.begun.to_zoned(self.zone.clone()).strftime("%:z").to_string();
        facts.push(("Times", format!("local, UTC{offset}")));
        facts
    }

    /// How the release ended, in a sentence.
    fn ending(&self) -> String {
        let told = match (self.summary.state, &self.summary.reason) {
            (RunState::Ended(Outcome::Done | Outcome::Nothing, _), _) => {
                "Every node is in the planned state.".to_owned()
            }
            (RunState::Ended(..), Some(reason)) => format!("{}.", reason.trim_end_matches('.')),
            (RunState::Ended(..), None) => String::new(),
            (RunState::Running, at) => format!("It is in progress{}.", at_steps(at.as_deref())),
            (RunState::Interrupted, at) => {
                format!("rollgate ended in the middle{}.", at_steps(at.as_deref()))
            }
            (RunState::Unknown, at) => {
                let at = at_steps(at.as_deref());
                format!(
                    "It has no end{at}: the lock, which tells whether it is in progress, cannot be read."
                )
            }
        };
        harmless(&told)
    }

    /// Every failure with what was seen. A resumed release also has those before that.
    fn why(&self) -> Vec<Why> {
        let story = self.story;
        let last = story.resumed.len() + 1;
        let failures = story.failures.iter().map(|failed| {
            let note = if failed.run < last { ", before the release was resumed" } else { "" };
            let same = failed.same();
            let (seen, log) = (same.failure.seen.iter(), same.failure.log.iter());
            Why {
                heading: harmless(&same.told()),
                when: Some(format!("At {}{note}", self.date(failed.at))),
                seen: seen.map(|(label, text)| (harmless(label), harmless(text))).collect(),
                log: log.map(|line| harmless(line)).collect(),
            }
        });
        let blocked = blocked(&story.release).map(|(node, why)| Why {
            heading: harmless(&format!("{node}: {why}")),
            when: None,
            seen: Vec::new(),
            log: Vec::new(),
        });
        failures.chain(blocked).collect()
    }

    fn plan_summary(&self) -> String {
        let planned = self.story.release.planned().len();
        let updates = self.summary.nodes.planned;
        format!("{}, {updates} to change", count(planned, "node"))
    }

    /// The plan for each node, and its state at the end.
    fn plan(&self) -> Vec<[String; 5]> {
        let is_restart = self.summary.command == CommandKind::Restart;
        let release = &self.story.release;
        let rows = release.planned().iter().map(|planned| {
            let node = release.nodes.get(&planned.node);
            let end = node.map_or("", |node| state_then(node, self.summary.state));
            [
                harmless(&planned.node),
                planned.will.in_words(is_restart).to_owned(),
                harmless(planned.runs.as_deref().unwrap_or("unknown")),
                end.to_owned(),
                harmless(&why_planned(planned)),
            ]
        });
        rows.collect()
    }

    /// What happened besides steps. Events of nodes are here, too, if they are not
    /// routine.
    fn events(&self) -> Vec<Row> {
        let is_routine =
            |note: &&Note| note.word == "batch" || (note.node.is_some() && note.word == "done");
        let notes = self.story.notes.iter().filter(|note| !is_routine(note));
        notes.map(|note| self.row_of(note)).collect()
    }

    fn row_of(&self, note: &Note) -> Row {
        let whose = note.node.as_ref().map_or(String::new(), |node| format!("{node}: "));
        Row {
            at: self.time(note.at),
            word: harmless(&note.word),
            took: String::new(),
            text: harmless(&format!("{whose}{}", note.text)),
            is_bad: is_bad(&note.word),
        }
    }

    /// The command that ran, those that were suggested at its end, and what to do now.
    fn commands(&self) -> Vec<(String, String)> {
        let ran = self.story.started().map(|it| (how_it_began(it), command_of(it)));
        let suggested = self
            .suggested
            .iter()
            .map(|(what, command)| (format!("Suggested at its end: {what}"), command.clone()));
        let next =
            self.next.iter().map(|(what, command)| (format!("Now: {what}"), command.clone()));
        let all = ran.into_iter().chain(suggested).chain(next);
        all.map(|(what, command)| (harmless(&what), harmless(&command))).collect()
    }
}

/// What the lanes show.
fn scale(axis: &Axis) -> String {
    match axis.runs() {
        0 | 1 => "Each node has a lane.".to_owned(),
        runs => {
            let runs = count(runs, "run");
            format!(
                "Each node has a lane. The release had {runs}; the time between them is left out."
            )
        }
    }
}

/// Whether the end only repeats why the nodes failed.
fn is_only_reason(ending: &str, why: &[Why]) -> bool {
    matches!(why, [only] if format!("{}.", only.heading.trim_end_matches('.')) == ending)
}

fn class_of(state: RunState) -> &'static str {
    match state {
        RunState::Ended(Outcome::Done | Outcome::Nothing, _) => "good",
        RunState::Ended(Outcome::Stopped | Outcome::Refused, _)
        | RunState::Running
        | RunState::Unknown => "warn",
        RunState::Ended(..) | RunState::Interrupted => "bad",
    }
}

fn sections(
    has_failed: bool,
    has_lanes: bool,
    has_pool: bool,
) -> Vec<(&'static str, &'static str)> {
    let all = [
        ("result", if has_failed { "Why" } else { "Result" }, true),
        ("timeline", "Timeline", has_lanes),
        ("capacity", "Capacity", has_lanes && has_pool),
        ("time", "Where the time went", has_lanes),
        ("plan", "Plan", true),
        ("events", "Events", true),
        ("commands", "Commands", true),
    ];
    all.into_iter().filter(|(.., is_there)| *is_there).map(|(id, name, _)| (id, name)).collect()
}

/// What the command line of a release is.
fn how_it_began(started: &Started) -> String {
    match &started.plan {
        Some(plan) => format!("It ran {}; without the plan, the command is", plan.told()),
        None => "It was started by".to_owned(),
    }
}

/// The command line of a release, as far as its journal has it.
fn command_of(started: &Started) -> String {
    let repeated = Repeated {
        file: started.file.clone(),
        arguments: started.arguments.clone(),
        variables: started.inputs.shown().collect(),
        ..Repeated::default()
    };
    let by_hand = started.nodes.iter().filter(|_| started.command.is_by_hand());
    let by_hand = by_hand.map(|planned| planned.node.as_str());
    let words = started.selection.iter().map(String::as_str).chain(by_hand);
    repeated.command(started.command.as_str(), words)
}

fn at_steps(at: Option<&str>) -> String {
    at.map_or(String::new(), |at| format!(" ({at})"))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests;
