//! What `show` tells of a past release, compared with the events of its journal.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rollgate::cli::show;
use rollgate::journal;
use rollgate::ops::show::Shown;
use rollgate::release::{Activity, Event, EventKind, Step, Timeline};

use crate::invariants::Rule;
use crate::world::State;

/// The time in which a release worked on a node without a break.
type Span = (Timestamp, Timestamp);

impl State {
    /// Every moment in which a release worked on a node belongs to one part of the node's time.
    pub(crate) fn check_times(&mut self, path: &Path) {
        let Ok((events, _)) = journal::read(path) else { return };
        for wrong in wrong_times(&events) {
            self.violate(Rule::TimesUntrue, wrong);
        }
    }
}

/// Returns the page of `show`, and what is wrong with it.
pub(crate) fn page(shown: &Shown) -> (String, Vec<String>) {
    let story = show::told(shown);
    let events = journal::parse(&shown.past.bytes, "the journal").map(|(events, _)| events);
    let mut wrong = wrong_times(&events.unwrap_or_default());
    if story.release.seq != shown.past.release.seq {
        wrong.push(format!("it tells {} of {} events", story.release.seq, shown.past.release.seq));
    }
    let text = show::text(shown, &story, None, TimeZone::UTC);
    if !text.contains(&format!("release {} of app", shown.past.id)) {
        wrong.push(format!("it does not name the release: {text}"));
    }
    match show::html(shown, &story, TimeZone::UTC) {
        Ok(page) if page.contains(&format!("<h1>Release {} of app</h1>", shown.past.id)) => {}
        Ok(page) => wrong.push(format!("its page does not name the release: {page}")),
        Err(refusal) => wrong.push(refusal.reason),
    }
    (text, wrong)
}

fn wrong_times(events: &[Event]) -> Vec<String> {
    let timeline = Timeline::of(events);
    let mut wrong = Vec::new();
    for (node, spans) in spans(events) {
        let segments = timeline.segments(&node);
        for (from, to) in spans {
            let within = segments.iter().filter(|it| it.from >= from && it.to <= to);
            let within: Duration = within.map(rollgate::release::Segment::took).sum();
            let whole: Duration = to.duration_since(from).try_into().unwrap_or_default();
            if within != whole {
                wrong.push(format!("{node}: {within:?} of {whole:?} from {from} on: {segments:?}"));
            }
        }
        let parts = timeline.parts(&node, Duration::from_secs(10));
        let sum: Duration = segments.iter().map(rollgate::release::Segment::took).sum();
        let overlap = segments.windows(2).find(|pair| pair[0].to > pair[1].from);
        if parts.total() != sum || overlap.is_some() {
            wrong.push(format!("{node}: {:?} is not {sum:?}, or {overlap:?}", parts.total()));
        }
    }
    wrong.extend(wrong_steps(events, &timeline));
    wrong
}

/// From the selection of each node to its end, or to the last event of a run that was killed.
fn spans(events: &[Event]) -> BTreeMap<String, Vec<Span>> {
    let mut spans: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    let mut open: BTreeMap<String, Timestamp> = BTreeMap::new();
    let mut last = events.first().map_or(Timestamp::UNIX_EPOCH, |event| event.at);
    let mut close = |node: &str, open: &mut BTreeMap<String, Timestamp>, at| {
        if let Some(from) = open.remove(node) {
            spans.entry(node.to_owned()).or_default().push((from, at));
        }
    };
    for event in events {
        let at = event.at.max(last);
        let (ended, at_end): (Vec<_>, _) = match (&event.fact, &event.node) {
            (EventKind::ReleaseResumed(_), _) => (open.keys().cloned().collect(), last),
            (EventKind::ReleaseFinished(_), _) => (open.keys().cloned().collect(), at),
            (
                EventKind::NodeDone { .. }
                | EventKind::NodeRolledBack { .. }
                | EventKind::NodeFailed(_)
                | EventKind::NodeInterrupted {},
                Some(node),
            ) => (vec![node.clone()], at),
            _ => (Vec::new(), at),
        };
        for node in ended {
            close(&node, &mut open, at_end);
        }
        match (&event.fact, &event.node) {
            (EventKind::BatchStarted { nodes, .. }, _) => {
                open.extend(nodes.iter().map(|node| (node.clone(), at)));
            }
            (EventKind::NodeRollingBack { .. }, Some(node)) => {
                open.insert(node.clone(), at);
            }
            _ => {}
        }
        last = at;
    }
    for node in open.keys().cloned().collect::<Vec<_>>() {
        close(&node, &mut open, last);
    }
    spans
}

/// A step takes at least as long as its own event says: the journal is written in between.
fn wrong_steps(events: &[Event], timeline: &Timeline) -> Vec<String> {
    let mut told: BTreeMap<(&str, Step), Duration> = BTreeMap::new();
    for event in events {
        if let EventKind::StepFinished { elapsed_ms, .. } = &event.fact
            && let Some((node, step)) = event.node.as_deref().zip(event.step)
        {
            *told.entry((node, step)).or_default() += Duration::from_millis(*elapsed_ms);
        }
    }
    let shorter = told.into_iter().filter_map(|((node, step), told)| {
        let segments = timeline.segments(node).iter();
        let segments = segments.filter(|it| it.activity == Activity::Step(step));
        let took: Duration = segments.map(rollgate::release::Segment::took).sum();
        (took < told).then(|| format!("{node}: {step} took {told:?}, but {took:?} are shown"))
    });
    shorter.collect()
}
