//! The nodes that wait, are done or have failed, updated by each event without a look at all nodes.

use std::collections::{BTreeMap, BTreeSet};

use crate::release::{Event, EventKind, Phase, Release};

/// The nodes of a release that wait, are done or have failed.
#[derive(Default)]
pub(super) struct Tally {
    /// The waiting nodes, by their position in the release.
    waiting: BTreeMap<usize, String>,
    done: BTreeSet<String>,
    failed: BTreeSet<String>,
}

impl Tally {
    /// Applies an event that `release` contains already.
    pub(super) fn update(&mut self, event: &Event, release: &Release) {
        match &event.fact {
            EventKind::ReleaseStarted(_) | EventKind::ReleaseResumed(_) => {
                for (name, _) in release.in_order() {
                    self.note(name, release);
                }
            }
            EventKind::BatchStarted { nodes, .. } => {
                for name in nodes {
                    self.note(name, release);
                }
            }
            _ => {
                if let Some(name) = &event.node {
                    self.note(name, release);
                }
            }
        }
    }

    fn note(&mut self, name: &str, release: &Release) {
        let (Some(place), Some(node)) = (release.place(name), release.nodes.get(name)) else {
            return;
        };
        self.waiting.remove(&place);
        self.done.remove(name);
        self.failed.remove(name);
        if node.has_failed() {
            self.failed.insert(name.to_owned());
        }
        match node.phase {
            // A node that is being staged has a line of its own.
            Phase::Waiting if node.step.is_none() => {
                self.waiting.insert(place, name.to_owned());
            }
            Phase::Done => drop(self.done.insert(name.to_owned())),
            _ => {}
        }
    }

    /// How many nodes are done.
    pub(super) fn done(&self) -> usize {
        self.done.len()
    }

    /// How many nodes have failed, also those that were rolled back since.
    pub(super) fn failed(&self) -> usize {
        self.failed.len()
    }

    /// The waiting nodes in the order of the release.
    pub(super) fn waiting(&self) -> impl ExactSizeIterator<Item = &str> {
        self.waiting.values().map(String::as_str)
    }
}
