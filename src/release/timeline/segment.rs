//! What a node did without a break.

use std::time::Duration;

use jiff::Timestamp;

use crate::release::runs::between;
use crate::release::step::Step;

/// Something that a node did without a break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// What it did.
    pub activity: Activity,
    /// Its begin.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// How it ended.
    pub end: SegmentEnd,
    /// What was found at its end, as text.
    pub found: String,
}

/// What a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// A step.
    Step(Step),
    /// Nothing of its own: it is between two steps.
    Between,
    /// It is marked up again, because it failed or the release stops.
    Return,
    /// It leaves rotation, because it failed after it was done.
    Withdraw,
}

/// How a segment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentEnd {
    /// As it should.
    Done,
    /// By a failure.
    Failed,
    /// It was broken off: the release stopped, or rollgate ended in the middle.
    BrokenOff,
}

impl Segment {
    /// How long it took.
    #[must_use]
    pub fn took(&self) -> Duration {
        between(self.from, self.to)
    }
}
