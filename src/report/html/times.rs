//! Where the time of each node went, as tables.

use std::cmp::Reverse;
use std::time::Duration;

use super::source::StoryPage;
use crate::release::{Part, Parts};
use crate::text::{self, harmless};

/// The largest number of nodes of one table.
const IN_ONE: usize = 40;

/// How many of more nodes are shown first.
const SLOWEST: usize = 10;

/// A table, perhaps a closed one.
pub(super) struct TimeTable {
    /// What the closed table has.
    pub(super) summary: Option<String>,
    pub(super) label: String,
    pub(super) rows: Vec<(String, Vec<String>)>,
}

/// The time of each node, and of all together. Of many nodes, the slowest ones come first.
pub(super) fn times(page: &StoryPage<'_>, worked_on: &[&str]) -> Vec<TimeTable> {
    let parts = |name: &&str| page.story.timeline.parts(name, page.stays_healthy);
    let nodes: Vec<_> = worked_on.iter().map(|name| (harmless(name), parts(name))).collect();
    let all = nodes.iter().fold(Parts::default(), |sum, (_, parts)| sum.and(parts));
    let total = (nodes.len() > 1).then(|| (format!("All {} nodes", nodes.len()), all));
    let rows = |nodes: &[(String, Parts)]| {
        let rows = nodes.iter().chain(&total);
        rows.map(|(name, parts)| (name.clone(), cells(parts))).collect()
    };
    let label = "Where the time of each node went".to_owned();
    if nodes.len() <= IN_ONE {
        return vec![TimeTable { summary: None, label, rows: rows(&nodes) }];
    }
    let mut slowest = nodes.clone();
    slowest.sort_by_key(|(_, parts)| Reverse(parts.total()));
    slowest.truncate(SLOWEST);
    let first = format!("Where the time of the {SLOWEST} slowest nodes went");
    vec![
        TimeTable { summary: None, label: first, rows: rows(&slowest) },
        TimeTable {
            summary: Some(format!("All {} nodes", nodes.len())),
            label,
            rows: rows(&nodes),
        },
    ]
}

fn cells(parts: &Parts) -> Vec<String> {
    let brief =
        |time: Duration| if time.is_zero() { "–".to_owned() } else { text::duration(time) };
    let by_part = Part::ALL.iter().map(|part| brief(parts.get(*part)));
    std::iter::once(text::duration(parts.total())).chain(by_part).collect()
}
