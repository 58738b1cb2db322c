//! What each node did when, and where its time went: a fold of a release's events.
//!
//! A node's time runs while the release works on it: from the start of its batch to its end, and while its artifact is
//! staged or old ones are deleted. Every moment of it belongs to one [`Segment`], and so to one [`Part`].

mod lane;
mod parts;
mod segment;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::event::{Event, EventKind};
use lane::Lane;

pub use parts::{Part, Parts};
pub use segment::{Activity, Segment, SegmentEnd};

/// What each node did when.
#[derive(Debug, Clone, Default)]
pub struct Timeline {
    /// The first and the last event of each run.
    pub runs: Vec<(Timestamp, Timestamp)>,
    /// When the number of nodes that the gateway with the fewest routes to changed, and to which number.
    pub capacity: Vec<(Timestamp, usize)>,
    lanes: BTreeMap<String, Lane>,
    /// By gateway, how many nodes it routes to.
    routed: BTreeMap<String, usize>,
    latest: Option<Timestamp>,
}

impl Timeline {
    /// Folds the events of a release.
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut timeline = Self::default();
        events.into_iter().for_each(|event| timeline.take(event));
        timeline.finish()
    }

    /// Takes in the next event.
    pub fn take(&mut self, event: &Event) {
        // The clock of another machine, or of this one, can be behind.
        let at = self.latest.map_or(event.at, |latest| latest.max(event.at));
        self.keep_run(event, at);
        self.keep_capacity(event, at);
        match (&event.fact, &event.node) {
            (EventKind::BatchStarted { nodes, .. }, _) => {
                for name in nodes {
                    self.lanes.entry(name.clone()).or_default().select(at);
                }
            }
            (EventKind::ReleaseFinished(_), _) => self.close(at),
            (_, Some(name)) => {
                self.lanes.entry(name.clone()).or_default().take(event.step, &event.fact, at);
            }
            (_, None) => {}
        }
        self.latest = Some(at);
    }

    /// Ends what has not ended. A release in progress goes on after its last event.
    #[must_use]
    pub fn finish(mut self) -> Self {
        if let Some(latest) = self.latest {
            self.close(latest);
        }
        self
    }

    /// What a node did, in order.
    #[must_use]
    pub fn segments(&self, node: &str) -> &[Segment] {
        self.lanes.get(node).map_or(&[], |lane| &lane.segments)
    }

    /// The nodes that the release worked on, in the order in which it began with them.
    #[must_use]
    pub fn nodes(&self) -> Vec<&str> {
        let begun = |lane: &Lane| lane.segments.first().map(|segment| segment.from);
        let worked_on = self.lanes.iter().filter(|(_, lane)| !lane.segments.is_empty());
        let mut nodes: Vec<_> = worked_on.map(|(name, lane)| (begun(lane), name)).collect();
        nodes.sort();
        nodes.into_iter().map(|(_, name)| name.as_str()).collect()
    }

    /// Where the time of a node went. `stays_healthy`: how long a node must stay healthy, the last part of its health
    /// step.
    #[must_use]
    pub fn parts(&self, node: &str, stays_healthy: Duration) -> Parts {
        Parts::of(self.segments(node), stays_healthy)
    }

    fn keep_run(&mut self, event: &Event, at: Timestamp) {
        match (&event.fact, self.runs.last_mut()) {
            (EventKind::ReleaseStarted(_) | EventKind::ReleaseResumed(_), last) => {
                // The run before was perhaps killed.
                if let Some((_, latest)) = last.copied() {
                    self.close(latest);
                }
                self.runs.push((at, at));
            }
            (_, Some((_, latest))) => *latest = at,
            (_, None) => {}
        }
    }

    fn close(&mut self, at: Timestamp) {
        self.lanes.values_mut().for_each(|lane| lane.stop(at));
    }

    fn keep_capacity(&mut self, event: &Event, at: Timestamp) {
        match &event.fact {
            EventKind::ReleaseStarted(started) => {
                if let Some(pool) = started.pool {
                    self.capacity.push((at, pool.routed));
                }
            }
            EventKind::CapacitySeen { routed } => {
                self.routed.extend(routed.iter().map(|(name, number)| (name.clone(), *number)));
            }
            EventKind::GatewayProven { gateway, pool: Some(pool), .. } => {
                self.routed.insert(gateway.clone(), *pool);
            }
            _ => return,
        }
        let fewest = self.routed.values().min().copied();
        if let Some(fewest) = fewest
            && self.capacity.last().is_none_or(|(_, last)| *last != fewest)
        {
            self.capacity.push((at, fewest));
        }
    }
}

#[cfg(test)]
mod tests;
