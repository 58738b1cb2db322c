//! The runs of a release: the first one, and one for each resume.

use std::time::Duration;

use jiff::Timestamp;

use super::event::{Event, EventKind};

/// How often a release ran, and for how long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Runs {
    /// How many runs there were.
    pub number: usize,
    /// The time of the runs before the last one.
    earlier: Duration,
    /// The first and the last event of the last run.
    last: Option<(Timestamp, Timestamp)>,
}

impl Runs {
    /// Takes in the next event of the release.
    pub(in crate::release) fn take(&mut self, event: &Event) {
        if matches!(event.fact, EventKind::ReleaseStarted(_) | EventKind::ReleaseResumed(_)) {
            self.earlier = self.took();
            self.last = Some((event.at, event.at));
            self.number += 1;
        } else if let Some((_, latest)) = &mut self.last {
            *latest = event.at;
        }
    }

    /// How long the runs took together, without the time between them.
    #[must_use]
    pub fn took(&self) -> Duration {
        let last = self.last.map_or(Duration::ZERO, |(begun, latest)| between(begun, latest));
        self.earlier.saturating_add(last)
    }
}

/// The time from one moment to another. Clocks differ: it is never negative.
pub(super) fn between(from: Timestamp, to: Timestamp) -> Duration {
    to.duration_since(from).try_into().unwrap_or_default()
}
