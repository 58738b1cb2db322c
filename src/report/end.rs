//! The final report: the result, the reason, every node's state, and the next commands. It is the same text
//! on a terminal and in a log.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::now::{NodeView, serving, serving_nodes};
use super::state_now;
use super::why::{SameFailure, failures, section, why};
use crate::playbook::OnFailure;
use crate::release::{
    Cost, Drained, Finished, NodeState, Outcome, Phase, PlannedAction, Release, RotationState,
    Started,
};
use crate::spec::Spec;
use crate::survey::Fleet;
use crate::table::Table;
use crate::text::{self, count};

/// The inputs of the report.
pub struct Report<'a> {
    /// The release.
    pub release: &'a Release,
    /// The spec of the release.
    pub spec: &'a Spec,
    /// The last inspection; empty if there was none.
    pub fleet: Option<&'a Fleet>,
    /// The next commands and their purposes.
    pub next: &'a [(String, String)],
    /// What the release cost, if that is known.
    pub cost: Option<&'a Cost>,
}

impl Report<'_> {
    /// Renders the report.
    #[must_use]
    pub fn render(&self) -> String {
        text::page(&self.text())
    }

    fn text(&self) -> String {
        let Some(headline) = self.headline() else { return String::new() };
        let mut text = format!("{}\n", text::harmless(headline.trim_end()));
        if self.is_done() {
            let left = self.release.started.as_ref().map(left_behind).unwrap_or_default();
            if !left.is_empty() {
                let _ = writeln!(text, "      {}", text::harmless(&left));
            }
            if let Some(told) = self.unproved("version") {
                let _ = writeln!(text, "      {told}");
            }
            if let Some(cost) = self.cost() {
                let _ = writeln!(text, "      {}", text::harmless(&cost));
            }
            return text;
        }
        text += &why(self.release);
        section(&mut text, "Nodes", "");
        text += &self.table();
        if let Some(told) = self.unproved("VERSION") {
            let _ = writeln!(text, "        {told}");
        }
        let _ = writeln!(text, "        {}", self.serving());
        if let Some(cost) = self.cost() {
            let cut = count(usize::try_from(self.cut()).unwrap_or(usize::MAX), "request");
            section(&mut text, "Time", &format!("{cost}; {cut} cut"));
        }
        let widest = self.next.iter().map(|(what, _)| what.chars().count()).max().unwrap_or(0);
        for (index, (what, command)) in self.next.iter().enumerate() {
            let label = if index == 0 { "\nNext   " } else { "       " };
            let (what, command) = (text::harmless(what), text::harmless(command));
            let _ = writeln!(text, "{label} {what:<widest$}  {command}");
        }
        text
    }

    /// Says that versions are the targets of links, if that is all that is known. A change by hand shows no version.
    fn unproved(&self, what: &str) -> Option<String> {
        let started = self.release.started.as_ref()?;
        self.spec.told_unproved(what).filter(|_| !started.command.is_by_hand())
    }

    /// What a release cost, in one line. A change by hand is too short for it.
    pub(super) fn cost(&self) -> Option<String> {
        let started = self.release.started.as_ref()?;
        Some(self.cost.filter(|_| !started.command.is_by_hand())?.told())
    }

    /// How many requests were cut.
    fn cut(&self) -> u64 {
        let drained = self.release.nodes.values().filter_map(|node| node.drained);
        drained.fold(0, |sum, Drained { cut, .. }| sum.saturating_add(cut))
    }

    fn is_done(&self) -> bool {
        self.release.finished.as_ref().is_some_and(|finished| finished.result == Outcome::Done)
    }

    /// The failures, each with the nodes that have it. Equal failures are one.
    pub(super) fn failures(&self) -> Vec<SameFailure<'_>> {
        failures(self.release)
    }

    /// The result in one line. `None` if the release has none.
    pub(super) fn headline(&self) -> Option<String> {
        let (finished, started) =
            self.release.finished.as_ref().zip(self.release.started.as_ref())?;
        // `node out` and `node in` are no releases to an operator.
        let what = if started.command.is_by_hand() {
            let nodes = self.release.in_order().map(|(name, _)| name.to_owned());
            format!("{} {}", started.command, text::few(nodes, text::NAMES_TOLD).join(", "))
        } else {
            format!("release {}", started.inputs.release())
        };
        Some(self.headline_of(finished, &what))
    }

    fn headline_of(&self, finished: &Finished, what: &str) -> String {
        let took = text::duration(Duration::from_millis(finished.elapsed_ms));
        let done = self.release.count(|node| node.phase == Phase::Done);
        let failed = count(self.release.failures(), "node");
        match finished.result {
            Outcome::Nothing => "Nothing to do.\n".to_owned(),
            Outcome::Done => {
                let cut = count(usize::try_from(self.cut()).unwrap_or(usize::MAX), "request");
                let nodes = count(done, "node");
                let time = match self.release.done_before {
                    0 => format!("in {took}"),
                    before => format!("({} in this run, in {took})", done.saturating_sub(before)),
                };
                let warnings = match self.release.warnings {
                    0 => String::new(),
                    warnings => format!(", {}", count(warnings, "warning")),
                };
                format!("DONE  {what}: {nodes} {time}, {cut} cut{warnings}\n")
            }
            Outcome::Refused => {
                format!("REFUSED  {what}: {failed} could not be prepared; no node left rotation\n")
            }
            Outcome::Stopped => {
                let reason = self.release.stopping.as_deref().unwrap_or("on request");
                format!(
                    "STOPPED  {what} after {took}: {}; {} done\n",
                    text::harmless(reason),
                    count(done, "node")
                )
            }
            Outcome::Failed if self.release.failures() == 0 => {
                let reason = self.release.stopping.as_deref().unwrap_or("stopped");
                format!("FAILED  {what} after {took}: {}\n", text::harmless(reason))
            }
            Outcome::Failed => {
                let limit = match self.spec.on_failure {
                    OnFailure::Continue => "on_failure continue".to_owned(),
                    _ => format!("max_failures {}", self.spec.max_failures),
                };
                let nodes = self.release.in_order().filter(|(_, node)| node.has_failed());
                let at =
                    text::few(nodes.map(|(name, _)| name.to_owned()), text::NAMES_TOLD).join(", ");
                let at = if what.ends_with(&at) { String::new() } else { format!(" at {at}") };
                format!("FAILED  {what}{at}   ({failed} failed, {limit})\n")
            }
            Outcome::RolledBack => format!(
                "ROLLED BACK  {what} after {took}: {failed} failed; the previous version serves everywhere\n"
            ),
            Outcome::LockLost => {
                let reason = self.release.stopping.as_deref().unwrap_or("lost");
                let unknown = match self.release.count(NodeState::is_unknown) {
                    0 => String::new(),
                    unknown => format!("; the state of {} is unknown", count(unknown, "node")),
                };
                format!(
                    "LOCK LOST  {what} after {took}: {}; no change began after that{unknown}\n",
                    text::harmless(reason)
                )
            }
            Outcome::Degraded => {
                format!("DEGRADED  {what}: {}; action required\n", self.degraded())
            }
        }
    }

    fn degraded(&self) -> String {
        let unknown = self.release.count(NodeState::is_unknown);
        let stuck = self.release.count(NodeState::is_rollback_failed);
        let why = match (unknown, stuck) {
            (0, 0) => String::new(),
            (0, stuck) => format!("the rollback of {} failed; ", count(stuck, "node")),
            (unknown, _) => format!("the state of {} is unknown; ", count(unknown, "node")),
        };
        let total = count(self.spec.nodes.len(), "node");
        match self.fleet.map(|fleet| serving_nodes(self.spec, fleet)) {
            Some(Some((serving, _))) => {
                let is_short = !why.is_empty() || serving.len() < self.spec.floor();
                let now = if is_short { "" } else { "too few nodes served; now " };
                format!("{why}{now}{} of {total} serve", serving.len())
            }
            _ if why.is_empty() => "too few nodes serve".to_owned(),
            _ => why.trim_end_matches("; ").to_owned(),
        }
    }

    fn table(&self) -> String {
        let headings = ["NODE", "VERSION", "PROCESS", "KEY", "GATEWAYS", "STATE"];
        let mut table = Table::new(&headings).indented(8);
        for row in self.rows() {
            table.row(&row.each_ref().map(String::as_str));
        }
        table.render()
    }

    /// What is known of each node: name, version, process, key, gateways and state.
    pub(super) fn rows(&self) -> Vec<[String; 6]> {
        let row = |(name, node): (&str, &NodeState)| {
            let view = self
                .fleet
                .map_or_else(NodeView::default, |fleet| NodeView::of(fleet, self.spec, name));
            let unknown =
                |text: &str| if text.is_empty() { "?".to_owned() } else { text.to_owned() };
            [
                name.to_owned(),
                view.version.unwrap_or_else(|| "?".to_owned()),
                unknown(view.process),
                unknown(view.key),
                unknown(&view.gateways),
                state_now(node, view.place),
            ]
        };
        self.release.in_order().map(row).collect()
    }

    /// The nodes that serve now.
    pub(super) fn serving(&self) -> String {
        if let Some(fleet) = self.fleet {
            return serving(self.spec, fleet);
        }
        let out = self.release.count(|node| node.rotation_state() == RotationState::Out);
        let (total, floor) = (self.spec.nodes.len(), self.spec.floor());
        format!("{} out of rotation (min_available {floor} of {total}).", count(out, "node"))
    }
}

/// Says how many nodes the release left out that run another version.
fn left_behind(started: &Started) -> String {
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    if let Some(to) = &started.to {
        let left = started.nodes.iter().filter(|node| node.will == PlannedAction::LeftOut);
        for version in left.filter_map(|node| node.runs.as_deref()).filter(|runs| runs != to) {
            *versions.entry(version).or_default() += 1;
        }
    }
    let told = versions.iter().map(|(version, number)| {
        let verb = if *number == 1 { "is" } else { "are" };
        format!("{} {verb} left on version {version}", count(*number, "node"))
    });
    told.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::gateway::Observation;
    use crate::health::CheckResult;
    use crate::release::Event;
    use crate::report::{five, hostile};
    use crate::spec::NodeSpec;
    use crate::survey::NodeFacts;

    #[test]
    fn hostile_text_stays_within_its_line() {
        let events = hostile::release();
        let release = Release::replay(&events).expect("they may follow");
        let spec = five::spec();
        let mut fleet = Fleet::default();
        for node in &spec.nodes {
            let health = CheckResult {
                version: Some("2\n\x1b[2J\u{202e}".into()),
                ..CheckResult::default()
            };
            fleet.nodes.insert(node.name.clone(), NodeFacts { health, ..NodeFacts::default() });
        }
        for fleet in [None, Some(&fleet)] {
            let next = release.finished.as_ref().map_or(&[][..], |finished| &finished.next);
            let text = Report { release: &release, spec: &spec, fleet, next, cost: None }.render();
            hostile::assert_tame(&text);
            assert!(text.contains("[2J") && text.contains("Next"), "{text}");
        }
        for event in events {
            let line = event.to_line();
            hostile::assert_tame(&line);
            assert_eq!(Event::from_line(&line), Ok(event));
        }
    }

    #[test]
    fn lost_lock_is_reported_with_the_nodes_whose_state_is_unknown() {
        let spec = five::spec();
        let events = hostile::release();
        let told = |events: &[Event]| {
            let release = Release::replay(events).expect("they may follow");
            let report =
                Report { release: &release, spec: &spec, fleet: None, next: &[], cost: None };
            report.headline_of(&Finished::unstarted(Outcome::LockLost, 4, None), "release r")
        };
        let lost = "LOCK LOST  release r after 0ms: lost; no change began after that";
        assert_eq!(told(&events[..5]), format!("{lost}\n"));
        let is_writing = events[5].to_line().contains("registry.writing");
        assert!(is_writing);
        assert_eq!(told(&events[..6]), format!("{lost}; the state of 1 node is unknown\n"));
    }

    /// Five nodes of version 1 behind one gateway; these ones are routed.
    fn fleet(spec: &Spec, routed: &[&str]) -> Fleet {
        let mut seen = Observation::default();
        for node in &spec.nodes {
            seen.routed.insert(node.address.clone(), routed.contains(&node.name.as_str()));
        }
        let facts = |node: &Arc<NodeSpec>| (node.name.clone(), NodeFacts::default());
        let nodes = spec.nodes.iter().map(facts).collect();
        Fleet { nodes, gateways: vec![("gw".into(), Ok(seen))], ..Fleet::default() }
    }

    #[test]
    fn degraded_release_says_how_many_nodes_serve() {
        let spec = five::spec();
        let release = Release::replay(&hostile::release()[..5]).expect("they may follow");
        let told = |fleet: Option<&Fleet>| {
            let report = Report { release: &release, spec: &spec, fleet, next: &[], cost: None };
            let finished = Finished::unstarted(Outcome::Degraded, 22, None);
            report.headline_of(&finished, "release r").trim_end().to_owned()
        };
        let says = |what: &str| format!("DEGRADED  release r: {what}; action required");
        assert_eq!(told(None), says("too few nodes serve"));
        assert_eq!(told(Some(&fleet(&spec, &[]))), says("0 of 5 nodes serve"));
        assert_eq!(told(Some(&fleet(&spec, &["app-2"]))), says("1 of 5 nodes serve"));
        let routed = ["app-1", "app-2", "app-3"];
        assert_eq!(
            told(Some(&fleet(&spec, &routed))),
            says("too few nodes served; now 3 of 5 nodes serve")
        );
    }

    #[test]
    fn done_release_counts_nodes_left_on_other_versions() {
        let told = |nodes: &[(&str, &str)]| {
            let nodes = nodes.iter().zip(1..).map(|((will, runs), number)| {
                serde_json::json!({ "node": format!("app-{number}"), "will": will, "runs": runs })
            });
            let started = serde_json::json!({
                "service": "app", "command": "deploy", "to": "2", "actor": "me", "file": "app.yaml",
                "playbook": null, "nodes": nodes.collect::<Vec<_>>(),
                "inputs": { "release": "r1", "folder": "", "variables": {}, "artifact": null },
            });
            left_behind(&serde_json::from_value(started).expect("a start"))
        };
        assert_eq!(told(&[("update", "1"), ("left_out", "2"), ("skip", "2")]), "");
        assert_eq!(
            told(&[("update", "1"), ("left_out", "1"), ("left_out", "1"), ("left_out", "2")]),
            "2 nodes are left on version 1"
        );
        assert_eq!(
            told(&[("left_out", "1"), ("left_out", "0"), ("left_out", "1")]),
            "1 node is left on version 0, 2 nodes are left on version 1"
        );
    }
}
