//! Prints one event per line on stdout, for programs. The format is stable: later versions only add fields.

use std::collections::BTreeMap;

use super::Reporter;
use crate::engine::Sink;
use crate::release::Release;
use crate::release::{Event, EventKind};

/// The shortest interval between progress lines of a step, in seconds.
const EVERY: i64 = 1;

/// Prints every event.
#[derive(Debug, Default)]
pub struct Json {
    told: BTreeMap<String, jiff::Timestamp>,
    /// The closed output was already reported.
    is_reported: bool,
}

impl Reporter for Json {}

impl Sink for Json {
    fn event(&mut self, event: &Event, _: &Release) {
        if let (EventKind::StepProgress { .. }, Some(node)) = (&event.fact, &event.node) {
            let last = self.told.get(node);
            if last.is_some_and(|last| event.at.as_second() - last.as_second() < EVERY) {
                return;
            }
            self.told.insert(node.clone(), event.at);
        }
        if let Err(error) = super::print::print_stdout(&format!("{}\n", event.to_line()))
            && !self.is_reported
        {
            // An unwritable output is not a reason to stop a release.
            self.is_reported = true;
            super::print::print_stderr(&format!(
                "warning: events cannot be written to stdout: {error}\n"
            ));
        }
    }
}
