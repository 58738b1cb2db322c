//! The rows of `status`: one for each node, or for many nodes that are as they should be.

use std::time::Duration;

use jiff::Timestamp;

use super::state::state;
use crate::ops::status::{Status, UnderWay};
use crate::release::{NodeState, Phase, RotationState, Step};
use crate::report::{DEAD, NodeView, Place};
use crate::spec::{NodeSpec, Spec};
use crate::table::Table;
use crate::text::{self, count};

/// More nodes than this are shown together where they are as they should be.
const NODES_ALONE: usize = 20;

/// The requests of so many nodes are told in a line.
const REQUESTS_TOLD: usize = 4;

/// The heading of the last column.
pub(super) const STATE: &str = "STATE";

/// What is known of the nodes.
pub(super) struct Rows {
    rows: Vec<Row>,
    /// There are too many nodes for a row each.
    pub(super) are_many: bool,
}

/// What is known of a node.
struct Row {
    name: String,
    address: String,
    version: String,
    process: String,
    age: Age,
    key: &'static str,
    gateways: String,
    requests: Option<u64>,
    state: String,
    /// It needs no attention.
    is_calm: bool,
}

/// How long a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    /// There is no process.
    None,
    /// Its start cannot be read.
    Unknown,
    /// Since then.
    Known(Duration),
}

/// Nodes that have the same row.
struct Group<'a> {
    first: &'a Row,
    rows: Vec<&'a Row>,
}

/// Which columns a table has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns {
    pub(super) address: bool,
    pub(super) requests: bool,
}

impl Rows {
    /// What `status` found, with the version and the process of each node.
    pub(super) fn of(status: &Status, spec: &Spec, views: &[NodeView], now: Timestamp) -> Self {
        let nodes = spec.nodes.iter().zip(views);
        let rows = nodes.map(|(node, view)| Row::of(status, spec, (node, view), now)).collect();
        Self { rows, are_many: spec.nodes.len() > NODES_ALONE }
    }

    /// Whether requests in flight are counted at any node.
    pub(super) fn count_requests(&self) -> bool {
        self.rows.iter().any(|row| row.requests.is_some())
    }

    /// The requests in flight as one line, for a table that has no room for them: the nodes with most of them first.
    pub(super) fn told_requests(&self) -> String {
        let told = self.rows.iter().filter_map(|row| Some((row.requests?, &row.name)));
        let mut told: Vec<_> = told.collect();
        told.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        let sum = told.iter().fold(0_u64, |sum, (number, _)| sum.saturating_add(*number));
        let busy = told.iter().filter(|(number, _)| *number > 0);
        let each: Vec<_> = busy.map(|(number, name)| format!("{name} {number}")).collect();
        let each = text::few(each, REQUESTS_TOLD).join(", ");
        let colon = if each.is_empty() { "" } else { ": " };
        format!("{sum} at {}{colon}{each}", count(told.len(), "node"))
    }

    /// Renders the table. `together`: nodes that are as they should be have one row, the last one.
    pub(super) fn render(&self, columns: Columns, together: bool, width: Option<usize>) -> String {
        let mut headings = vec!["NODE", "VERSION", "PROCESS", "KEY", "GATEWAYS"];
        if columns.address {
            headings.insert(1, "ADDRESS");
        }
        if columns.requests {
            headings.push("IN FLIGHT");
        }
        headings.push(STATE);
        let mut table = Table::new(&headings);
        for group in self.groups(together) {
            let cells = group.cells(columns);
            table.row(&cells.iter().map(String::as_str).collect::<Vec<_>>());
        }
        match width {
            Some(width) => table.within(width).render(),
            None => table.render(),
        }
    }

    fn groups(&self, together: bool) -> Vec<Group<'_>> {
        let mut alone = Vec::new();
        let mut many: Vec<Group<'_>> = Vec::new();
        for row in &self.rows {
            if !(together && row.is_calm) {
                alone.push(Group { first: row, rows: vec![row] });
                continue;
            }
            match many.iter_mut().find(|group| group.first.is_like(row)) {
                Some(group) => group.rows.push(row),
                None => many.push(Group { first: row, rows: vec![row] }),
            }
        }
        alone.into_iter().chain(many).collect()
    }
}

impl Row {
    fn of(
        status: &Status,
        spec: &Spec,
        (node, view): (&NodeSpec, &NodeView),
        now: Timestamp,
    ) -> Self {
        let under_way = status.under_way(spec, &node.name);
        let state = match (&under_way, is_key_missing(status, node)) {
            (_, true) => "KEY MISSING, action required".to_owned(),
            (Some(under_way), _) => step(*under_way, now),
            (None, _) if view.place == Place::Dead => DEAD.to_owned(),
            (None, _) if waits(status, &node.name) => "waiting".to_owned(),
            (None, _) => state(status, &node.name, view.place).unwrap_or_else(|| "-".into()),
        };
        let process = match (view.process, under_way.and_then(|under_way| under_way.step)) {
            ("unhealthy", Some(step)) if step.starts_service() || step == Step::Health => {
                "starting"
            }
            (process, _) => process,
        };
        let age = match (process, view.age) {
            ("not listening" | "unknown" | "", _) => Age::None,
            (_, Some(age)) => Age::Known(age),
            (_, None) => Age::Unknown,
        };
        Self {
            name: node.name.clone(),
            address: node.address.clone(),
            version: version(status, view, node, under_way),
            process: process.to_owned(),
            age,
            key: view.key,
            gateways: view.gateways.clone(),
            requests: status.requests.get(&node.name).and_then(|count| count.clone().ok()),
            state,
            is_calm: under_way.is_none() && is_calm(status, node, view),
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        let key = |row: &Self| {
            (
                row.version.clone(),
                row.process.clone(),
                row.key,
                row.gateways.clone(),
                row.state.clone(),
            )
        };
        key(self) == key(other)
    }
}

impl Group<'_> {
    fn cells(&self, columns: Columns) -> Vec<String> {
        let Self { first, rows } = self;
        let is_one = rows.len() == 1;
        let name = if is_one { first.name.clone() } else { count(rows.len(), "node") };
        let mut cells = vec![name];
        if columns.address {
            cells.push(if is_one { first.address.clone() } else { String::new() });
        }
        cells.push(first.version.clone());
        cells.push(format!("{}{}", first.process, self.age()));
        cells.extend([first.key.to_owned(), first.gateways.clone()]);
        if columns.requests {
            let numbers: Vec<_> = rows.iter().filter_map(|row| row.requests).collect();
            let sum = numbers.iter().fold(0_u64, |sum, number| sum.saturating_add(*number));
            cells.push(if numbers.is_empty() { "-".to_owned() } else { sum.to_string() });
        }
        cells.push(first.state.clone());
        cells
    }

    /// ` 2m10s`, ` 2m10s to 11d04h`, ` ?`.
    fn age(&self) -> String {
        let known = || self.rows.iter().filter_map(|row| row.age.known());
        match (known().min(), known().max()) {
            _ if self.rows.iter().any(|row| row.age == Age::Unknown) => " ?".to_owned(),
            (Some(least), Some(most)) => {
                let (least, most) = (lasting(least), lasting(most));
                if least == most { format!(" {least}") } else { format!(" {least} to {most}") }
            }
            _ => String::new(),
        }
    }
}

impl Age {
    fn known(self) -> Option<Duration> {
        match self {
            Self::Known(age) => Some(age),
            Self::None | Self::Unknown => None,
        }
    }
}

/// A time in whole seconds.
fn lasting(time: Duration) -> String {
    match time.as_secs() {
        0 => "0s".to_owned(),
        seconds => text::duration(Duration::from_secs(seconds)),
    }
}

/// `health, 4s of 120s`.
fn step(UnderWay { step, since, limit, goes_back }: UnderWay, now: Timestamp) -> String {
    let back = if goes_back { "rolling back: " } else { "" };
    let Some(step) = step else { return format!("{back}between two steps") };
    let waited = since.and_then(|since| Duration::try_from(now.duration_since(since)).ok());
    format!("{back}{step}, {}", text::of_limit(waited.unwrap_or_default(), limit))
}

/// The version of a node, and the one that it gets.
fn version(
    status: &Status,
    view: &NodeView,
    node: &NodeSpec,
    under_way: Option<UnderWay>,
) -> String {
    let reported = status.fleet.nodes.get(&node.name).and_then(|it| it.health.version.as_ref());
    let runs = view.version.clone().unwrap_or_else(|| "?".to_owned());
    let started = status
        .running()
        .map(|(_, started)| started)
        .filter(|_| under_way.is_some_and(|under_way| !under_way.goes_back));
    let to = started.and_then(|started| started.to.as_ref()).filter(|to| **to != runs);
    let begun = started.and_then(|started| started.nodes.named(&node.name)?.runs.as_ref());
    match (to, begun) {
        (Some(to), _) if reported.is_some() => format!("{runs} -> {to}"),
        // It is stopped now.
        (Some(to), Some(begun)) if begun != to => format!("{begun} -> {to}"),
        (Some(to), _) if view.version.is_some() => format!("{runs} -> {to}"),
        _ => runs,
    }
}

fn is_key_missing(status: &Status, node: &NodeSpec) -> bool {
    status.fleet.nodes.get(&node.name).is_some_and(|facts| facts.missing_key.is_some())
}

/// Whether a running release has not reached a node yet.
fn waits(status: &Status, name: &str) -> bool {
    let Some((release, _)) = status.running() else { return false };
    release.nodes.get(name).is_some_and(|node| {
        node.phase == Phase::Waiting && node.rotation_state() == RotationState::Untouched
    })
}

/// Whether nothing about a node needs attention: it is healthy and in rotation everywhere, and no release has left it
/// otherwise.
fn is_calm(status: &Status, node: &NodeSpec, view: &NodeView) -> bool {
    let serves = view.process == "healthy" && view.place == Place::In;
    let facts = status.fleet.nodes.get(&node.name);
    let is_well = facts.is_some_and(|facts| {
        let problems = [facts.problem.is_some(), facts.registry_problem.is_some()];
        !problems.contains(&true) && facts.held.is_none() && facts.missing_key.is_none()
    });
    let is_left_well = |state: &NodeState| {
        matches!(state.phase, Phase::Done | Phase::Skipped | Phase::Waiting | Phase::LeftOut)
            && matches!(
                state.rotation_state(),
                RotationState::Untouched | RotationState::PutBack | RotationState::Updated
            )
    };
    let past = status.history.of(&node.name);
    serves && is_well && past.is_none_or(|(_, state)| is_left_well(state))
}
