//! The lane of each node: its steps as bars, and as a table.

use std::time::Duration;

use super::axis::{Axis, WIDTH, shown};
use super::source::{Row, StoryPage, is_bad};
use crate::release::{
    Activity, NodeState, Part, Parts, Phase, RunState, Segment, SegmentEnd, Step,
};
use crate::report::story::{activity, state_then};
use crate::text::{self, harmless};

/// The narrowest bar.
const NARROWEST: f64 = 1.0;

/// More lanes are put into groups of this size.
const IN_A_GROUP: usize = 25;

/// The largest number of lanes without groups.
const UNGROUPED: usize = 40;

/// The classes of bars, and what they are called.
pub(super) const LEGEND: &[(&str, &str)] = &[
    ("stage", "stage, prune"),
    ("out", "out"),
    ("drain", "drain"),
    ("stop", "stop"),
    ("run", "activate, run"),
    ("start", "start"),
    ("health", "health"),
    ("in", "in"),
    ("bad", "failed or broken off"),
];

/// Makes the lanes.
pub(super) struct Lanes<'a> {
    pub(super) page: &'a StoryPage<'a>,
    pub(super) axis: &'a Axis,
    pub(super) worked_on: &'a [&'a str],
}

/// Lanes below one heading, which can be closed.
pub(super) struct Group {
    pub(super) title: Option<String>,
    pub(super) note: String,
    pub(super) is_open: bool,
    pub(super) bars: Vec<Bar>,
    /// The times of the lanes' own scale.
    pub(super) ticks: Vec<String>,
    pub(super) lanes: Vec<Lane>,
}

/// The lane of a node.
pub(super) struct Lane {
    pub(super) name: String,
    pub(super) state: String,
    pub(super) label: String,
    pub(super) total: String,
    pub(super) is_open: bool,
    pub(super) bars: Vec<Bar>,
    pub(super) rows: Vec<Row>,
}

/// A bar of a lane.
pub(super) struct Bar {
    pub(super) class: &'static str,
    pub(super) x: String,
    pub(super) width: String,
}

impl Lanes<'_> {
    /// The lanes, in groups if there are many.
    pub(super) fn groups(&self) -> Vec<Group> {
        if self.worked_on.is_empty() {
            return Vec::new();
        }
        if self.worked_on.len() > UNGROUPED {
            return self.worked_on.chunks(IN_A_GROUP).map(|names| self.group(names)).collect();
        }
        let lanes = self.worked_on.iter().map(|name| self.lane(name, self.axis)).collect();
        let (bars, ticks) = (Vec::new(), Vec::new());
        vec![Group { title: None, note: String::new(), is_open: true, bars, ticks, lanes }]
    }

    /// Lanes with a scale of their own: in the one of the whole release they are too small.
    fn group(&self, names: &[&str]) -> Group {
        let timeline = &self.page.story.timeline;
        let (first, last) = (names.first().unwrap_or(&""), names.last().unwrap_or(&""));
        let is_done = |name: &&&str| self.state(name).is_some_and(|it| it.phase == Phase::Done);
        let done = names.iter().filter(is_done).count();
        let spans = names.iter().filter_map(|name| {
            let segments = timeline.segments(name);
            Some((segments.first()?, segments.last()?))
        });
        let spans: Vec<_> = spans.collect();
        let worked = spans.iter().map(|(from, to)| bar(self.axis, "work", from, to));
        let segments = names.iter().flat_map(|name| timeline.segments(name));
        let failed = segments.filter(|segment| segment.end == SegmentEnd::Failed);
        let failed = failed.map(|segment| bar(self.axis, "bad", segment, segment));
        let begun = spans.iter().map(|(from, _)| from.from).min().unwrap_or_default();
        let ended = spans.iter().map(|(_, to)| to.to).max().unwrap_or_default();
        let axis = Axis::between(&timeline.runs, begun, ended);
        Group {
            title: Some(harmless(&format!("{first} to {last}"))),
            note: format!("{done} of {} done", names.len()),
            is_open: done < names.len(),
            bars: worked.chain(failed).collect(),
            ticks: axis.ticks(|at| self.page.time(at)),
            lanes: names.iter().map(|name| self.lane(name, &axis)).collect(),
        }
    }

    fn lane(&self, name: &str, axis: &Axis) -> Lane {
        let story = self.page.story;
        let segments = story.timeline.segments(name);
        let parts = story.timeline.parts(name, self.page.stays_healthy);
        let state = self.state(name).map_or("", |it| state_then(it, self.page.summary.state));
        let is_done = self.state(name).is_some_and(|it| it.phase == Phase::Done);
        Lane {
            name: harmless(name),
            state: state.to_owned(),
            label: harmless(&format!("{name}, {state}: {}", spoken(&parts))),
            total: text::duration(parts.total()),
            is_open: !is_done && segments.iter().any(|it| it.end == SegmentEnd::Failed),
            bars: segments.iter().flat_map(|segment| self.bars(segment, axis)).collect(),
            rows: self.rows(name, segments),
        }
    }

    fn state(&self, name: &str) -> Option<&NodeState> {
        self.page.story.release.nodes.get(name)
    }

    /// A bar for a segment, and a mark below it if it did not end as it should.
    fn bars(&self, segment: &Segment, axis: &Axis) -> Vec<Bar> {
        let Some(class) = class_of(segment.activity) else { return Vec::new() };
        let is_bad = segment.end != SegmentEnd::Done && !self.goes_on(segment);
        let classes = [Some(class), is_bad.then_some("bad")];
        classes.into_iter().flatten().map(|class| bar(axis, class, segment, segment)).collect()
    }

    /// Whether a segment of a release in progress goes on after its last event.
    fn goes_on(&self, segment: &Segment) -> bool {
        let summary = self.page.summary;
        matches!(summary.state, RunState::Running | RunState::Unknown)
            && segment.to == summary.latest
    }

    fn rows(&self, name: &str, segments: &[Segment]) -> Vec<Row> {
        let steps = segments.iter().filter_map(|segment| {
            let found = match segment.end {
                SegmentEnd::Done => segment.found.as_str(),
                SegmentEnd::Failed => "failed",
                SegmentEnd::BrokenOff if self.goes_on(segment) => "in progress",
                SegmentEnd::BrokenOff => "broken off",
            };
            let row = Row {
                at: self.page.time(segment.from),
                word: activity(segment.activity)?,
                took: text::duration(segment.took()),
                text: harmless(found),
                is_bad: segment.end == SegmentEnd::Failed,
            };
            Some((segment.from, row))
        });
        let notes = self.page.story.notes.iter().filter(|it| it.node.as_deref() == Some(name));
        let notes = notes.map(|note| {
            // The text of these is how long it took.
            let is_time = matches!(note.word.as_str(), "done" | "rolled back");
            let (took, text) = if is_time { (&*note.text, "") } else { ("", &*note.text) };
            let row = Row {
                at: self.page.time(note.at),
                word: harmless(&note.word),
                took: took.to_owned(),
                text: harmless(text),
                is_bad: is_bad(&note.word),
            };
            (note.at, row)
        });
        let mut rows: Vec<_> = notes.chain(steps).collect();
        rows.sort_by_key(|(at, _)| *at);
        rows.into_iter().map(|(_, row)| row).collect()
    }
}

/// A bar from the begin of one segment to the end of another.
fn bar(axis: &Axis, class: &'static str, first: &Segment, last: &Segment) -> Bar {
    let (left, right) = (axis.place(first.from), axis.place(last.to));
    let left = left.min(WIDTH - NARROWEST);
    Bar { class, x: shown(left), width: shown((right - left).max(NARROWEST)) }
}

/// The class of a bar; none between two steps.
fn class_of(activity: Activity) -> Option<&'static str> {
    Some(match activity {
        Activity::Step(Step::Stage | Step::Prune) => "stage",
        Activity::Step(Step::Disable | Step::ConfirmOut) | Activity::Withdraw => "out",
        Activity::Step(Step::Drain) => "drain",
        Activity::Step(Step::Stop) => "stop",
        Activity::Step(Step::Activate | Step::Run(_)) => "run",
        Activity::Step(Step::Start | Step::Restart) => "start",
        Activity::Step(Step::Health) => "health",
        Activity::Step(Step::Enable | Step::ConfirmIn) | Activity::Return => "in",
        Activity::Between => return None,
    })
}

/// Where the time of a node went, in words.
fn spoken(parts: &Parts) -> String {
    let service = [Part::Stop, Part::Start, Part::Ready, Part::StayHealthy, Part::Run];
    let groups: [(&str, Duration); 4] = [
        ("service", parts.sum(&service)),
        ("gateways", parts.sum(&[Part::Out, Part::In])),
        ("drain", parts.get(Part::Drain)),
        ("rollgate", parts.get(Part::Own)),
    ];
    let told = groups.into_iter().filter(|(_, time)| !time.is_zero());
    let told = told.map(|(name, time)| format!("{name} {}", text::duration(time)));
    let told: Vec<_> = told.collect();
    if told.is_empty() { "no time".to_owned() } else { told.join(", ") }
}
