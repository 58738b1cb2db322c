//! The segments of one node.

use jiff::Timestamp;

use super::segment::{Activity, Segment, SegmentEnd};
use crate::release::event::EventKind;
use crate::release::step::Step;

/// The segments of one node, and what it does now.
#[derive(Debug, Clone, Default)]
pub(super) struct Lane {
    pub(super) segments: Vec<Segment>,
    /// It is selected: its time runs also between two steps.
    is_taken: bool,
    now: Option<Now>,
}

/// What a node does now.
#[derive(Debug, Clone, Copy)]
struct Now {
    activity: Activity,
    since: Timestamp,
    /// Its last event. What follows a failure has no end of its own, so it ends with its last event.
    seen: Timestamp,
}

impl Lane {
    /// The node is selected.
    pub(super) fn select(&mut self, at: Timestamp) {
        self.is_taken = true;
        self.begin(Activity::Between, at);
    }

    pub(super) fn take(&mut self, step: Option<Step>, fact: &EventKind, at: Timestamp) {
        match fact {
            EventKind::StepStarted {} => {
                if let Some(step) = step {
                    self.begin(Activity::Step(step), at);
                }
            }
            EventKind::StepFinished { message, .. } => {
                self.end(at, SegmentEnd::Done, message);
                self.rest(at);
            }
            EventKind::NodeFailed(failure) => {
                self.end(at, SegmentEnd::Failed, &failure.reason);
                self.is_taken = false;
                if failure.put_back {
                    self.begin(Activity::Return, at);
                }
            }
            EventKind::NodeRollingBack { .. } => self.select(at),
            EventKind::NodePutBack { .. } => {
                self.end(at, SegmentEnd::Done, "");
                self.rest(at);
            }
            EventKind::NodeDone { .. } | EventKind::NodeRolledBack { .. } => {
                self.end(at, SegmentEnd::Done, "");
                self.is_taken = false;
            }
            EventKind::NodeInterrupted {} => {
                self.end(at, SegmentEnd::BrokenOff, "");
                self.is_taken = false;
            }
            EventKind::CapacitySeen { .. } if self.now.is_none() => {
                self.begin(Activity::Withdraw, at);
            }
            EventKind::RegistryWriting { down, .. } => self.write(*down, at),
            _ => {}
        }
        if let Some(now) = &mut self.now {
            now.seen = at;
        }
    }

    /// A write to the registry outside the steps that mark a node.
    fn write(&mut self, down: bool, at: Timestamp) {
        let activity = self.now.map(|now| now.activity);
        match activity {
            None if down => self.begin(Activity::Withdraw, at),
            None => self.begin(Activity::Return, at),
            // The step was broken off, and the node returns to rotation.
            Some(Activity::Step(step)) if !down && step != Step::Enable => {
                self.begin(Activity::Return, at);
            }
            Some(_) => {}
        }
    }

    /// The run has ended.
    pub(super) fn stop(&mut self, at: Timestamp) {
        let is_open = matches!(self.now, Some(Now { activity: Activity::Step(_), .. }));
        let seen = self.now.map_or(at, |now| now.seen);
        let until = if self.is_taken || is_open { at } else { seen };
        self.end(until, SegmentEnd::BrokenOff, "");
        self.is_taken = false;
    }

    /// Ends the activity, and begins another one.
    fn begin(&mut self, activity: Activity, at: Timestamp) {
        let seen = self.now.filter(|_| !self.is_taken).map_or(at, |now| now.seen);
        self.end(seen, SegmentEnd::BrokenOff, "");
        self.now = Some(Now { activity, since: at, seen: at });
    }

    /// A selected node is between two steps now.
    fn rest(&mut self, at: Timestamp) {
        if self.is_taken {
            self.begin(Activity::Between, at);
        }
    }

    fn end(&mut self, at: Timestamp, end: SegmentEnd, found: &str) {
        let Some(Now { activity, since: from, .. }) = self.now.take() else { return };
        let (end, is_empty) = match activity {
            Activity::Between => (SegmentEnd::Done, at == from),
            Activity::Step(_) | Activity::Return | Activity::Withdraw => (end, false),
        };
        if !is_empty {
            self.segments.push(Segment { activity, from, to: at, end, found: found.to_owned() });
        }
    }
}
