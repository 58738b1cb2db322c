//! The plan as text, for `rollgate plan` and for the operator's confirmation.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use super::resume_points::{returned, stays_out};
use super::{Plan, Row, gateway_keys, rows};
use crate::gateway::{Following, following};
use crate::mark::Mark;
use crate::node::Packing;
use crate::playbook::OnFailure;
use crate::release::{Phase, PlannedAction, Release, ResumePoint, Step};
use crate::spec::{NodeSpec, RegistrySpec, Spec};
use crate::survey::Fleet;
use crate::table::Table;
use crate::text::{self, count};

/// How many nodes without a release are named.
const FIRST_INSTALLS: usize = 8;

/// Between the items of a line.
const SEPARATOR: &str = " · ";

/// The longest line of items, in characters.
const LINE: usize = 100;

/// What happens to the artifact on the nodes.
fn unpacking(spec: &Spec) -> String {
    let Some(artifact) = &spec.artifact else { return String::new() };
    match (&artifact.packing, artifact.packing.tool()) {
        (Packing::File(_), _) => ", a single file, not unpacked".to_owned(),
        (_, Some(tool)) => format!(", unpacked with {tool}"),
        (_, None) => ", unpacked with tar".to_owned(),
    }
}

/// `1 -> 2`, or `restart of 1`.
fn versions(spec: &Spec, from: &str) -> String {
    if spec.is_restart {
        return format!("restart of {from}, every node keeps its version");
    }
    format!("{from} -> {}", spec.version.as_deref().unwrap_or("?"))
}

impl Plan {
    /// Renders the plan for `rollgate plan`.
    #[must_use]
    pub fn render(&self, spec: &Spec, file: &str) -> String {
        text::page(&self.text(spec, file))
    }

    fn text(&self, spec: &Spec, file: &str) -> String {
        let mut text = String::new();
        let from = self.from.as_deref().unwrap_or("?");
        let _ = write!(text, "{}  {}   ({file}", spec.service, versions(spec, from));
        if let Some(digest) = spec.artifact.as_ref().and_then(|artifact| artifact.digest.as_ref()) {
            let name = spec.artifact.as_ref().and_then(|artifact| artifact.file.file_name());
            let name = name.unwrap_or_default().to_string_lossy();
            let sha256 = digest.sha256.get(..8).unwrap_or_default();
            let _ = write!(text, ", artifact {name} {} sha256 {sha256}", text::size(digest.size));
            text += &unpacking(spec);
        }
        text += ")\n\n";
        text += &self.table(spec);
        let unproved = spec.told_unproved("RUNS");
        if let Some(told) =
            unproved.filter(|_| self.rows.iter().any(|row| row.planned.runs.is_some()))
        {
            let _ = writeln!(text, "{told}");
        }
        text.push('\n');
        for (label, told) in self.facts(spec) {
            for (line, label) in told.lines().zip(iter::once(label).chain(iter::repeat(""))) {
                let _ = writeln!(text, "{label:<10} {line}");
            }
        }
        text.push('\n');
        let _ = writeln!(
            text,
            "Plan: {} to {}, {} up to date, {} left out, {} blocked.",
            self.count(PlannedAction::Update),
            if spec.is_restart { "restart" } else { "update" },
            self.count(PlannedAction::Skip),
            self.count(PlannedAction::LeftOut),
            self.count(PlannedAction::Blocked)
        );
        for refusal in &self.refusals {
            let _ = writeln!(text, "Refused: {}", text::harmless(refusal));
        }
        for warning in &self.warnings {
            let _ = writeln!(text, "Warning: {}", text::harmless(warning));
        }
        text
    }

    fn table(&self, spec: &Spec) -> String {
        let mut table =
            Table::new(&["BATCH", "NODE", "ADDRESS", "RUNS", "KEY", "GATEWAYS", "WILL", "WHY"]);
        let mut batches = self.batch_numbers(spec);
        for row in &self.rows {
            let will = row.planned.will.in_words(spec.is_restart);
            let batch = match row.planned.will {
                PlannedAction::Update => batches.next().map(|batch| batch.to_string()),
                PlannedAction::Skip | PlannedAction::LeftOut | PlannedAction::Blocked => None,
            };
            let [node, address, runs, key, gateways] = &place(row);
            let batch = batch.as_deref().unwrap_or("-");
            table.row(&[batch, node, address, runs, key, gateways, will, &row.planned.why]);
        }
        table.render()
    }

    /// How many nodes serve, and how many must. Gateways may route to nodes on which nothing listens.
    fn capacity(&self, spec: &Spec) -> String {
        let (now, total, floor) = (self.routed_now, spec.nodes.len(), spec.floor());
        let min = format!("min_available {}", spec.min_available);
        if now == 0 {
            let first = self.rows.iter().any(|row| row.planned.first_install);
            let yet = if first { "yet" } else { "now" };
            return format!("no node serves {yet}; {min} counts once nodes serve");
        }
        let dead = self.rows.iter().filter(|row| row.is_unreachable).count();
        let routed = if dead == 0 { "routed" } else { "routed and reachable" };
        let lowest = self.lowest;
        if now < floor {
            return format!(
                "{now} of {total} {routed} now, fewer than the {floor} that must stay ({min}); lowest in this plan {lowest}"
            );
        }
        format!(
            "{now} of {total} {routed} now; at least {floor} must stay ({min}); lowest in this plan {lowest}"
        )
    }

    fn facts(&self, spec: &Spec) -> Vec<(&'static str, String)> {
        let sizes: Vec<_> = spec.batches.0.iter().map(ToString::to_string).collect();
        let sizes = sizes.join(", ");
        let failures = u64::from(spec.max_failures) + 1;
        let mut facts = vec![(
            "Order",
            if spec.on_failure == OnFailure::Continue {
                format!("batches of {sizes}; continues after failed nodes")
            } else {
                let failed = text::ordinal(failures);
                format!("batches of {sizes}; stops after the {failed} failed node")
            },
        )];
        let stays = spec.nodes.first().map_or(Duration::ZERO, |node| node.health.min_healthy_time);
        let batches = self.batches(spec);
        if !stays.is_zero() && batches > 0 {
            let all = text::duration(stays * u32::try_from(batches).unwrap_or(u32::MAX));
            let stays = text::duration(stays);
            let line = format!(
                "each node must stay healthy for {stays} before it is marked up; this takes {all} in all"
            );
            facts.push(("Health", line));
        }
        let empty = self.rows.iter().filter(|row| row.planned.first_install);
        let empty: Vec<_> = empty.map(|row| row.planned.node.as_str()).collect();
        if !empty.is_empty() {
            let names = text::few(empty.into_iter().map(str::to_owned), FIRST_INSTALLS);
            let line = format!("first install on {}: nothing runs there", names.join(", "));
            facts.push(("Install", line));
        }
        let unknown = self.rows.iter().any(|row| row.routed.is_none());
        if !unknown {
            facts.push(("Capacity", self.capacity(spec)));
        }
        if spec.is_restart {
            let line = "nothing to roll back; a node that fails stays out of rotation";
            facts.push(("Rollback", line.to_owned()));
        }
        if !self.way_back.is_empty() {
            facts.push(("Rollback", self.way_back.join("; ")));
        }
        facts.push(("Gateways", gateways(spec)));
        let places = spec.places("<address>").into_iter();
        let writes = places.zip(&spec.registries).map(|(marks, registry)| match registry {
            RegistrySpec::ConsulKv { .. } => format!("consul {marks} down 0->1->0"),
            RegistrySpec::ConsulService { .. } => format!("consul maintenance of {marks} on, off"),
            RegistrySpec::Gateway => format!("{marks} down, up"),
        });
        let mut writes: Vec<_> = writes.collect();
        writes.extend(gateway_keys(spec).iter().map(|key| format!("consul {key}")));
        let restarted = |node: &&Arc<NodeSpec>| !spec.is_restart || !node.steps.is_empty();
        if let Some(node) = spec.nodes.iter().find(restarted) {
            if let Some(layout) = node.layout.as_ref().filter(|_| !spec.is_restart) {
                writes.push(format!("upload to {}", layout.folder()));
            }
            for action in &node.steps {
                match (&action.command, &node.layout) {
                    (Some(command), _) => {
                        writes.push(format!("{}: {}", action.step, text::line(&command.run, 60)));
                    }
                    (None, Some(layout)) if action.step == Step::Activate => {
                        writes.push(format!("{} -> {}", layout.current, layout.name));
                    }
                    (None, _) => {}
                }
            }
            if let Some(artifact) = &spec.artifact {
                writes.push(format!("old releases deleted (artifact.keep {})", artifact.keep));
            }
        }
        let is_read = self.rows.iter().any(|row| row.mark != Mark::Unknown);
        let checked = if is_read {
            "ssh, tools, rights, disk, key"
        } else {
            "ssh, tools, disk; the registry was not read"
        };
        let usable = self.rows.len() - self.count(PlannedAction::Blocked);
        facts.push((
            "Checks",
            format!(
                "{usable} of {} nodes usable ({checked}) · {} of {} gateways readable",
                spec.nodes.len(),
                self.gateways.iter().filter(|problem| problem.is_none()).count(),
                spec.gateways.len()
            ),
        ));
        if self.count(PlannedAction::Update) > 0 {
            facts.push(("Writes", folded("per node: ", &writes)));
        }
        facts
    }
}

/// A node, its address, what it runs, how its key is marked, and how many gateways route to it.
fn place(row: &Row) -> [String; 5] {
    [
        row.planned.node.clone(),
        row.address.clone(),
        row.planned.runs.clone().unwrap_or_else(|| "?".to_owned()),
        row.mark.word().to_owned(),
        row.gateways.clone(),
    ]
}

/// Renders what a resume does to each node.
#[must_use]
pub fn resume_plan(
    release: &Release,
    spec: &Spec,
    fleet: &Fleet,
    resumed: &[ResumePoint],
) -> String {
    let started = release.started.as_ref();
    let from = started.and_then(|started| started.from.as_deref()).unwrap_or("?");
    let id = started.map_or("?", |started| started.inputs.release());
    let all = spec.nodes.iter().map(|node| node.name.as_str()).collect();
    let found: BTreeMap<_, _> = resumed.iter().map(|found| (found.node.as_str(), found)).collect();
    let returned = returned(release, spec, resumed);
    let mut table = Table::new(&["NODE", "ADDRESS", "RUNS", "KEY", "GATEWAYS", "WILL"]);
    for row in rows(spec, fleet, &all, false) {
        let name = row.planned.node.as_str();
        let Some(node) = release.nodes.get(name) else { continue };
        let facts = fleet.nodes.get(name);
        let is_held = facts.is_some_and(|facts| stays_out(release, name, facts));
        let will = match (found.get(name), node.phase) {
            _ if is_held => "left out, held",
            (Some(_), _) if node.goes_back() => "roll back",
            _ if returned.as_ref().is_some_and(|names| names.contains(name)) => {
                "return to rotation unchanged"
            }
            (None, Phase::Waiting) if returned.is_some() => "nothing, the release has failed",
            (Some(found), _) if found.done.is_empty() && spec.is_restart => {
                "restart, from its first step"
            }
            (Some(found), _) if found.done.is_empty() => "update, from its first step",
            (Some(_), _) if spec.is_restart => "restart, from its health check",
            (Some(_), _) => "update, from its health check",
            (None, Phase::Waiting) if spec.is_restart => "restart",
            (None, Phase::Waiting) => "update",
            (None, Phase::LeftOut) => "left out",
            (None, _) => "nothing",
        };
        let [node, address, runs, key, gateways] = &place(&row);
        table.row(&[node, address, runs, key, gateways, will]);
    }
    text::page(&format!(
        "{}  {}   (release {id})\n\n{}\n",
        spec.service,
        versions(spec, from),
        table.render()
    ))
}

/// The gateways with the method of their confirmation; those of the same kind together.
fn gateways(spec: &Spec) -> String {
    let mut kinds: Vec<(Following, Vec<&str>)> = Vec::new();
    for gateway in &spec.gateways {
        let following = following(gateway);
        match kinds.iter_mut().find(|(kind, _)| *kind == following) {
            Some((_, names)) => names.push(&gateway.name),
            None => kinds.push((following, vec![&gateway.name])),
        }
    }
    let told = kinds.iter().map(|(following, names)| {
        let (names, kind) = (names.join(", "), following.kind);
        let reads = count(following.reads as usize, "connection");
        let confirmed = match (&following.confirmed_when, following.workers) {
            (Some(when), _) => format!("confirmed when {when}"),
            (None, Some(1)) => "confirmed by one read".to_owned(),
            (None, Some(number)) => format!(
                "confirmed by each of {}, or, if replies name no worker, by up to {reads} in a row",
                count(number as usize, "worker")
            ),
            (None, None) => format!("confirmed by up to {reads} in a row"),
        };
        let follows = if following.lag.is_zero() {
            String::new()
        } else {
            format!(", follows a change within {}", text::duration(following.lag))
        };
        format!("{names} ({kind}{follows}): {confirmed}")
    });
    told.collect::<Vec<_>>().join("\n")
}

/// Joins a label and items to lines of at most [`LINE`] characters. An item is not broken.
fn folded(label: &str, items: &[String]) -> String {
    let mut text = label.to_owned();
    let mut length = label.chars().count();
    for (number, item) in items.iter().enumerate() {
        let more = item.chars().count() + SEPARATOR.chars().count();
        if number > 0 && length + more > LINE {
            text.push('\n');
            length = 0;
        } else if number > 0 {
            text += SEPARATOR;
        }
        text += item;
        length += more;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_folded_and_long_items_stay_whole() {
        let items = ["a".repeat(60), "b".repeat(35), "c".to_owned(), "d".repeat(120)];
        let told = folded("per node: ", &items);
        let lines: Vec<_> = told.lines().map(|line| line.chars().count()).collect();
        assert_eq!(lines, [70, 39, 120], "{told}");
        assert!(told.contains("b · c\nd"), "{told}");
    }
}
