//! A past release as text for people.

use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::words::{activity, state_then, why_planned};
use super::{Note, Story};
use crate::release::{
    CommandKind, NodeState, Part, Parts, Phase, Planned, RunState, Segment, SegmentEnd, Summary,
};
use crate::report::past::nodes;
use crate::report::why::{blocked, section};
use crate::table::Table;
use crate::text::{self, count};

/// The largest number of nodes whose steps are shown.
const NODES_WITH_STEPS: usize = 10;

/// The largest number of nodes in a table.
const NODES_IN_A_TABLE: usize = 40;

/// The indent of the text of a section.
const INDENT: usize = 8;

/// A past release as text.
pub struct StoryText<'a> {
    /// The release.
    pub story: &'a Story,
    /// The release in one line.
    pub summary: &'a Summary,
    /// How long a node must stay healthy.
    pub stays_healthy: Duration,
    /// The only node that is shown.
    pub node: Option<&'a str>,
    /// The next commands and their purposes.
    pub next: &'a [(String, String)],
    /// The zone of the times.
    pub zone: TimeZone,
}

impl StoryText<'_> {
    /// Renders the release.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = self.head();
        text += &self.why();
        text += &self.plan();
        text += &self.steps();
        text += &self.notes();
        text += &self.times();
        let widest = self.next.iter().map(|(what, _)| what.chars().count()).max().unwrap_or(0);
        for (what, command) in self.next {
            let (what, command) = (text::harmless(what), text::harmless(command));
            section(&mut text, "Next", &format!("{what:<widest$}  {command}"));
        }
        text::page(&text)
    }

    fn head(&self) -> String {
        let Summary { id, command, what, state, took, .. } = self.summary;
        let service = self.story.started().map_or("", |started| &started.service);
        let result = state.in_words().to_uppercase();
        let exit = state.exit_code().map_or(String::new(), |code| format!(", exit {code}"));
        let took = text::duration(*took);
        let head = format!("{result}  release {id} of {service}: {command}{what}, {took}{exit}");
        let mut text = format!("{}\n", text::harmless(&head));
        let begun = format!("{} by {}", self.date(self.summary.begun), self.summary.actor);
        section(&mut text, "Begun", &begun);
        for (at, actor) in &self.story.resumed {
            line(&mut text, "Resumed", &format!("{} by {actor}", self.date(*at)));
        }
        let ended = if state.outcome().is_some() { "Ended" } else { "Last" };
        let mut told = self.date(self.summary.latest);
        if let Some(at) = self.summary.reason.as_ref().filter(|_| state.outcome().is_none()) {
            told += &format!(" ({at})");
        }
        line(&mut text, ended, &told);
        line(&mut text, "Nodes", &nodes(*command, self.summary.nodes));
        if let Some(capacity) = self.capacity() {
            line(&mut text, "Pool", &capacity);
        }
        text
    }

    /// The lowest number of nodes in rotation.
    fn capacity(&self) -> Option<String> {
        let pool = self.story.started()?.pool?;
        let lowest = self.story.timeline.capacity.iter().map(|(_, routed)| *routed).min()?;
        let all = count(pool.nodes, "node");
        Some(format!("at least {lowest} of {all} in rotation (min_available {})", pool.min))
    }

    /// Why nodes failed. A resumed release also has the failures before that.
    fn why(&self) -> String {
        let story = self.story;
        let last = story.resumed.len() + 1;
        let mut text = String::new();
        for failed in story.failures.iter().filter(|it| it.nodes.iter().any(|it| self.shows(it))) {
            let when = if failed.run < last { " (before it was resumed)" } else { "" };
            text += &failed.same().section(when);
        }
        for (node, why) in blocked(&story.release).filter(|(node, _)| self.shows(node)) {
            section(&mut text, "Why", &format!("{node}, {why}"));
        }
        let is_told = !text.is_empty();
        match (&self.summary.reason, self.summary.state.outcome()) {
            (Some(reason), Some(_)) if !is_told => section(&mut text, "Why", reason),
            _ => {}
        }
        text
    }

    /// The plan for each node, and what became of it.
    fn plan(&self) -> String {
        let mut text = String::new();
        let mut table = Table::new(&["NODE", "PLAN", "RAN", "AT THE END", "WHY"]).indented(INDENT);
        let is_restart = self.summary.command == CommandKind::Restart;
        let planned: Vec<_> =
            self.story.release.planned().iter().filter(|it| self.shows(&it.node)).collect();
        let state = |planned: &Planned| self.story.release.nodes.get(&planned.node);
        let is_done = |planned: &&&Planned| {
            state(planned).is_some_and(|node| node.phase == Phase::Done) && planned.held.is_none()
        };
        let is_long = planned.len() > NODES_IN_A_TABLE;
        let rows = planned.iter().filter(|planned| !(is_long && is_done(planned)));
        let mut number = 0;
        for planned in rows {
            number += 1;
            let runs = planned.runs.as_deref().unwrap_or("?");
            let told = state(planned).map_or("", |node| state_then(node, self.summary.state));
            let will = planned.will.in_words(is_restart);
            table.row(&[&planned.node, will, runs, told, &why_planned(planned)]);
        }
        if planned.is_empty() {
            return text;
        }
        let done = planned.len() - number;
        let rest = match (done, number) {
            (0, _) => String::new(),
            (done, 0) => format!("{} done", count(done, "node")),
            (done, _) => format!("{} done; the others:", count(done, "node")),
        };
        section(&mut text, "Plan", &rest);
        if number > 0 {
            text += &table.render();
        }
        text
    }

    /// The steps of each node.
    fn steps(&self) -> String {
        let worked_on = self.worked_on();
        let is_done = |name: &&&str| {
            let state = self.story.release.nodes.get(**name);
            state.is_some_and(|node: &NodeState| node.phase == Phase::Done)
        };
        let is_long = worked_on.len() > NODES_WITH_STEPS;
        let shown: Vec<_> = worked_on
            .iter()
            .filter(|name| !(is_long && is_done(name)))
            .take(NODES_WITH_STEPS)
            .collect();
        let mut text = String::new();
        for name in &shown {
            section(&mut text, "Steps", name);
            text += &self.steps_of(name);
        }
        let more = worked_on.len() - shown.len();
        if more > 0 {
            let verb = if more == 1 { "is" } else { "are" };
            let told = format!("{} {verb} not shown; `--node` shows one", count(more, "more node"));
            section(&mut text, "Steps", &told);
        }
        text
    }

    fn steps_of(&self, name: &str) -> String {
        let segments = self.story.timeline.segments(name).iter();
        // A release in progress goes on after its last event.
        let goes_on = match self.summary.state {
            RunState::Running | RunState::Unknown => Some(self.summary.latest),
            RunState::Ended(..) | RunState::Interrupted => None,
        };
        let segments = segments.filter_map(|it| Some((it.from, step_line(it, goes_on)?)));
        let notes = self.story.notes.iter().filter(|note| note.node.as_deref() == Some(name));
        let notes = notes.map(|Note { at, word, text, .. }| match word.as_str() {
            // Their text is how long it took.
            "done" | "rolled back" => (*at, format!("{word:<12} {text:>6}")),
            _ => (*at, format!("{word:<12} {:>6}  {text}", "")),
        });
        let mut lines: Vec<_> = notes.chain(segments).collect();
        lines.sort_by_key(|(at, _)| *at);
        lines.iter().map(|(at, line)| self.timed(*at, line)).collect()
    }

    /// What concerned the whole release: resumes, warnings, changes of the lock.
    fn notes(&self) -> String {
        let notes = self.story.notes.iter().filter(|note| note.node.is_none());
        let lines: String = notes
            .map(|Note { at, word, text, .. }| self.timed(*at, &format!("{word:<12} {text}")))
            .collect();
        let mut text = String::new();
        section(&mut text, "Events", "");
        text + &lines
    }

    /// Where the time of each node went.
    fn times(&self) -> String {
        let parts = |name: &&str| self.story.timeline.parts(name, self.stays_healthy);
        let mut rows: Vec<_> =
            self.worked_on().into_iter().map(|name| (name, parts(&name))).collect();
        let all = rows.iter().fold(Parts::default(), |sum, (_, parts)| sum.and(parts));
        let number = rows.len();
        if number == 0 {
            return String::new();
        }
        if number > NODES_IN_A_TABLE {
            rows.sort_by_key(|(_, parts)| std::cmp::Reverse(parts.total()));
            rows.truncate(NODES_WITH_STEPS);
        }
        let mut table = Table::new(&[
            "NODE", "ALL", "STOP", "START", "READY", "STAYS", "RUN", "OUT", "IN", "DRAIN", "OWN",
        ]);
        let shown = rows.len();
        for (name, parts) in rows {
            row(&mut table, name, &parts);
        }
        if number > 1 {
            row(&mut table, &format!("{number} nodes"), &all);
        }
        let mut text = String::new();
        let slowest =
            if shown < number { format!(" (the {shown} slowest)") } else { String::new() };
        section(&mut text, "Time", &format!("where the time of each node went{slowest}"));
        text += &table.render();
        text + "        service: STOP, START, until READY, STAYS healthy, RUN commands; gateways: until OUT, IN;\n        \
                requests in flight: DRAIN; rollgate: OWN\n"
    }

    /// The nodes that are shown and that the release worked on.
    fn worked_on(&self) -> Vec<&str> {
        self.story.worked_on().into_iter().filter(|name| self.shows(name)).collect()
    }

    fn shows(&self, node: &str) -> bool {
        self.node.is_none_or(|only| only == node)
    }

    fn timed(&self, at: Timestamp, line: &str) -> String {
        let time = at.to_zoned(self.zone.clone()).strftime("%H:%M:%S");
        format!("{:INDENT$}{time}  {}\n", "", text::harmless(line.trim_end()))
    }

    fn date(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    }
}

/// A line below the first one of a section.
fn line(text: &mut String, label: &str, rest: &str) {
    let _ = writeln!(text, "{}", format!("{label:<7} {}", text::harmless(rest)).trim_end());
}

/// The line of a segment; none for the time between two steps.
fn step_line(segment: &Segment, goes_on: Option<Timestamp>) -> Option<String> {
    let word = activity(segment.activity)?;
    let took = text::duration(segment.took());
    let found = match segment.end {
        SegmentEnd::Done => segment.found.as_str(),
        SegmentEnd::Failed => "failed",
        SegmentEnd::BrokenOff if goes_on == Some(segment.to) => "in progress",
        SegmentEnd::BrokenOff => "broken off",
    };
    Some(format!("{word:<12} {took:>6}  {found}"))
}

fn row(table: &mut Table, name: &str, parts: &Parts) {
    let cells = Part::ALL.map(|part| brief(parts.get(part)));
    let total = text::duration(parts.total());
    let cells: Vec<_> =
        [name, total.as_str()].into_iter().chain(cells.iter().map(String::as_str)).collect();
    table.row(&cells);
}

/// A duration, or a dash for none.
fn brief(time: Duration) -> String {
    if time.is_zero() { "-".to_owned() } else { text::duration(time) }
}
