//! An estimate of the time that a release still takes, from the nodes that are done.

use std::time::Duration;

use jiff::Timestamp;

use crate::release::{Event, EventKind, Release};

/// The estimate. It changes when a node is done, and becomes shorter in between.
#[derive(Debug, Default)]
pub(super) struct Estimate {
    /// When the first node was taken.
    since: Option<Timestamp>,
    /// How many nodes are done since then.
    done: u32,
    /// When the release may end.
    end: Option<Timestamp>,
}

impl Estimate {
    /// Applies an event that `release` contains already. `left`: how many nodes are not done.
    pub(super) fn update(&mut self, event: &Event, release: &Release, left: usize) {
        match &event.fact {
            EventKind::BatchStarted { .. } => drop(self.since.get_or_insert(event.at)),
            EventKind::ReleaseResumed(_) => *self = Self::default(),
            EventKind::NodeDone { .. } => {
                self.done += 1;
                let since = self.since.unwrap_or(event.at);
                let took = Duration::try_from(event.at.duration_since(since)).unwrap_or_default();
                let left = u32::try_from(left).unwrap_or(u32::MAX);
                let rest = (took / self.done).saturating_mul(left);
                self.end = event.at.checked_add(rest).ok();
            }
            _ => {}
        }
        if release.stopping.is_some() {
            self.end = None;
        }
    }

    /// The time that is left, in whole seconds, if it is known and not over.
    pub(super) fn left(&self, now: Timestamp) -> Option<Duration> {
        let left = Duration::try_from(self.end?.duration_since(now)).ok()?;
        let left = Duration::from_secs(left.as_secs());
        (!left.is_zero()).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::EventKind::{BatchStarted, NodeDone};

    #[test]
    fn estimate_needs_a_done_node_and_only_becomes_shorter_in_between() {
        let at = |second: i64| Timestamp::from_second(second).expect("a time");
        let event = |second, fact| {
            let (release, node, step) = ("r".to_owned(), None, None);
            Event { seq: 1, at: at(second), release, node, step, fact }
        };
        let (mut estimate, mut release) = (Estimate::default(), Release::default());
        let batch = BatchStarted { number: 1, nodes: Vec::new(), back: false };
        estimate.update(&event(100, batch), &release, 3);
        let left =
            |estimate: &Estimate, second| estimate.left(at(second)).map(|left| left.as_secs());
        assert_eq!(left(&estimate, 109), None, "no node is done");
        let done = || NodeDone { elapsed_ms: 10_000 };
        estimate.update(&event(110, done()), &release, 2);
        assert_eq!(
            [110, 115, 129, 130].map(|second| left(&estimate, second)),
            [Some(20), Some(15), Some(1), None]
        );
        estimate.update(&event(140, done()), &release, 1);
        assert_eq!(left(&estimate, 140), Some(20));
        release.stopping = Some("SIGINT".into());
        estimate.update(&event(141, done()), &release, 1);
        assert_eq!(left(&estimate, 141), None, "nodes that are left are not updated");
    }
}
