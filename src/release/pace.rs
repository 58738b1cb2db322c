//! How fast a release proceeds: an estimate of the time that it still takes, from the batches that have ended.

use std::time::Duration;

use jiff::Timestamp;

use super::event::EventKind;

/// The estimate. It changes when a batch begins, and becomes shorter in between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    /// When the first batch of this run began.
    since: Option<Timestamp>,
    /// How many batches of this run have ended.
    ended: u32,
    /// When the release may end.
    end: Option<Timestamp>,
}

impl Pace {
    /// Applies an event of that time. `waiting`: how many nodes are in no batch yet.
    pub(super) fn update(&mut self, fact: &EventKind, at: Timestamp, waiting: impl Fn() -> usize) {
        match (fact, self.since) {
            (EventKind::ReleaseResumed(_), _) => *self = Self::default(),
            (EventKind::BatchStarted { .. }, None) => self.since = Some(at),
            (EventKind::BatchStarted { nodes, .. }, Some(since)) => {
                self.ended += 1;
                let took = Duration::try_from(at.duration_since(since)).unwrap_or_default();
                // Batches may grow. The next ones have at least the size of this one.
                let more = waiting().div_ceil(nodes.len().max(1));
                let rest = u32::try_from(more).unwrap_or(u32::MAX).saturating_add(1);
                self.end = at.checked_add((took / self.ended).saturating_mul(rest)).ok();
            }
            _ => {}
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

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn batch(size: usize) -> EventKind {
        EventKind::BatchStarted { number: 1, nodes: vec![String::new(); size], back: false }
    }

    fn left(pace: &Pace, second: i64) -> Option<u64> {
        pace.left(at(second)).map(|left| left.as_secs())
    }

    #[test]
    fn estimate_needs_an_ended_batch_and_only_becomes_shorter_in_between() {
        let mut pace = Pace::default();
        pace.update(&batch(1), at(100), || 3);
        assert_eq!(left(&pace, 109), None, "no batch has ended");
        pace.update(&batch(1), at(110), || 2);
        let times = [110, 115, 139, 140].map(|second| left(&pace, second));
        assert_eq!(times, [Some(30), Some(25), Some(1), None]);
        pace.update(&batch(1), at(140), || 1);
        assert_eq!(left(&pace, 140), Some(40), "two batches took 20s each");
        let resumed = EventKind::ReleaseResumed(super::super::event::Resumed::default());
        pace.update(&resumed, at(150), || 1);
        assert_eq!(left(&pace, 150), None, "the time between two runs does not count");
    }

    #[test]
    fn growing_batches_are_counted_as_batches() {
        let mut pace = Pace::default();
        pace.update(&batch(1), at(0), || 39);
        pace.update(&batch(10), at(60), || 29);
        assert_eq!(left(&pace, 60), Some(4 * 60), "this batch, and three more at most");
        pace.update(&batch(29), at(120), || 0);
        assert_eq!(left(&pace, 120), Some(60));
    }
}
