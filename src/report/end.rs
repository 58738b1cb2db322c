//! The final report: the result, the reason, every node's state, and the next commands. It is the same text
//! on a terminal and in a log.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::{Place, state_now};
use crate::mark::Mark;
use crate::playbook::OnFailure;
use crate::release::{
    Drained, Failure, Finished, NodeState, Outcome, Phase, PlannedAction, Release, RotationState,
    Started, Step,
};
use crate::spec::{NodeSpec, Spec};
use crate::survey::{Fleet, NodeFacts};
use crate::table::Table;
use crate::text::{self, count};

/// The largest number of nodes named in the first line.
const NODES_TOLD: usize = 8;

/// The version of a node that reports none.
const UNKNOWN: &str = "unknown";

/// Facts about a node at the end, besides the release's own state.
#[derive(Debug, Clone, Default)]
pub struct NodeView {
    /// The reported version.
    pub version: Option<String>,
    /// The result of its health check.
    pub process: &'static str,
    /// Its registry entry.
    pub key: &'static str,
    /// `routed 2/2`.
    pub gateways: String,
    /// Its place in rotation.
    pub place: Place,
}

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
}

impl NodeView {
    /// The facts about a node from an inspection.
    #[must_use]
    pub fn of(fleet: &Fleet, spec: &Spec, name: &str) -> Self {
        let Some((facts, node)) = fleet.nodes.get(name).zip(spec.node(name)) else {
            return Self::default();
        };
        let seen: Vec<_> =
            fleet.gateways.iter().filter_map(|(_, seen)| seen.as_ref().ok()).collect();
        let count = seen.iter().filter(|seen| seen.routes_to(&node.address)).count();
        Self {
            version: facts.version(),
            process: match (&facts.health.problem, &facts.survey) {
                (None, _) => "healthy",
                (Some(_), Some(survey)) if !survey.tools.contains("ss") => "unhealthy",
                (Some(_), Some(survey)) if !survey.listener.bound => "not listening",
                (Some(_), Some(_)) => "unhealthy",
                (Some(_), None) => "unknown",
            },
            key: facts.mark.word(),
            gateways: fleet.told_routed(&node.address),
            place: match facts.mark {
                Mark::Down if count == 0 && seen.len() == fleet.gateways.len() => Place::Out,
                Mark::Down => Place::MarkedDown,
                Mark::Up if count == fleet.gateways.len() => Place::In,
                Mark::Up | Mark::Unknown | Mark::Mixed => Place::Unclear,
            },
        }
    }
}

impl Report<'_> {
    /// Renders the report.
    #[must_use]
    pub fn render(&self) -> String {
        text::page(&self.text())
    }

    fn text(&self) -> String {
        let Some((finished, started)) =
            self.release.finished.as_ref().zip(self.release.started.as_ref())
        else {
            return String::new();
        };
        let id = started.inputs.release();
        // `node out` and `node in` are no releases to an operator.
        let what = if started.command.is_by_hand() {
            let nodes = self.release.in_order().map(|(name, _)| name.to_owned());
            format!("{} {}", started.command, text::few(nodes, NODES_TOLD).join(", "))
        } else {
            format!("release {id}")
        };
        let headline = self.headline(finished, &what);
        let mut text = format!("{}\n", text::harmless(headline.trim_end()));
        if finished.result == Outcome::Done {
            let left = left_behind(started);
            if !left.is_empty() {
                let _ = writeln!(text, "      {}", text::harmless(&left));
            }
            return text;
        }
        for (names, failure, step) in self.failures() {
            let step = step.map_or(String::new(), |step| format!("{step}: "));
            section(&mut text, "Why", &format!("{}, {step}{}", names.join(", "), failure.reason));
            for (label, line) in &failure.seen {
                let (label, line) = (text::harmless(label), text::harmless(line));
                let _ = writeln!(text, "        {label:<11} {line}");
            }
            for line in &failure.log {
                let _ = writeln!(text, "        log         {}", text::harmless(line));
            }
            if names.len() > 1 && !(failure.seen.is_empty() && failure.log.is_empty()) {
                let _ = writeln!(text, "        (as seen at {})", names[0]);
            }
        }
        for planned in self.release.planned() {
            if self
                .release
                .nodes
                .get(&planned.node)
                .is_some_and(|node| node.phase == Phase::Blocked)
            {
                section(&mut text, "Why", &format!("{}, {}", planned.node, planned.why));
            }
        }
        section(&mut text, "Nodes", "");
        text += &self.table();
        let _ = writeln!(text, "        {}", self.serving());
        let widest = self.next.iter().map(|(what, _)| what.chars().count()).max().unwrap_or(0);
        for (index, (what, command)) in self.next.iter().enumerate() {
            let label = if index == 0 { "\nNext   " } else { "       " };
            let (what, command) = (text::harmless(what), text::harmless(command));
            let _ = writeln!(text, "{label} {what:<widest$}  {command}");
        }
        text
    }

    /// The failures, each with the nodes that have it. Equal failures are one.
    fn failures(&self) -> Vec<(Vec<&str>, &Failure, Option<Step>)> {
        let mut failures: Vec<(Vec<&str>, &Failure, Option<Step>)> = Vec::new();
        for (name, node) in self.release.in_order() {
            let Some(failure) = &node.failure else { continue };
            let is_same = |other: &&mut (Vec<&str>, &Failure, Option<Step>)| {
                (&other.1.reason, other.2) == (&failure.reason, node.failed_at)
            };
            match failures.iter_mut().find(is_same) {
                Some((names, _, _)) => names.push(name),
                None => failures.push((vec![name], failure, node.failed_at)),
            }
        }
        failures
    }

    fn headline(&self, finished: &Finished, what: &str) -> String {
        let took = text::duration(Duration::from_millis(finished.elapsed_ms));
        let done = self.release.count(|node| node.phase == Phase::Done);
        let failed = count(self.release.failures(), "node");
        match finished.result {
            Outcome::Nothing => "Nothing to do.\n".to_owned(),
            Outcome::Done => {
                let cut: u64 = self
                    .release
                    .nodes
                    .values()
                    .filter_map(|node| node.drained)
                    .fold(0, |sum, Drained { cut, .. }| sum.saturating_add(cut));
                let cut = count(usize::try_from(cut).unwrap_or(usize::MAX), "request");
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
                let at = text::few(nodes.map(|(name, _)| name.to_owned()), NODES_TOLD).join(", ");
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
        for (name, node) in self.release.in_order() {
            let view = self
                .fleet
                .map_or_else(NodeView::default, |fleet| NodeView::of(fleet, self.spec, name));
            let unknown =
                |text: &str| if text.is_empty() { "?".to_owned() } else { text.to_owned() };
            table.row(&[
                name,
                view.version.as_deref().unwrap_or("?"),
                &unknown(view.process),
                &unknown(view.key),
                &unknown(&view.gateways),
                &state_now(node, view.place),
            ]);
        }
        table.render()
    }

    /// The nodes that serve now.
    fn serving(&self) -> String {
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

/// The nodes that every readable gateway routes to: the ones that are healthy, and the others. None if no gateway can be
/// read.
fn serving_nodes<'a>(
    spec: &'a Spec,
    fleet: &Fleet,
) -> Option<(Vec<&'a NodeSpec>, Vec<&'a NodeSpec>)> {
    if fleet.gateways.iter().all(|(_, seen)| seen.is_err()) {
        return None;
    }
    let is_healthy = |node: &&NodeSpec| {
        fleet.nodes.get(&node.name).is_none_or(|facts| facts.health.problem.is_none())
    };
    let nodes = spec.nodes.iter().map(AsRef::as_ref);
    Some(nodes.filter(|node: &&NodeSpec| fleet.is_routed(&node.address)).partition(is_healthy))
}

/// Returns how many nodes serve, and which versions. A node serves if every readable gateway routes to it, and it is
/// healthy.
#[must_use]
pub fn serving(spec: &Spec, fleet: &Fleet) -> String {
    let floor = spec.floor();
    let Some((serving, unhealthy)) = serving_nodes(spec, fleet) else {
        return format!(
            "No gateway can be read: it is unknown which nodes serve (min_available {floor})."
        );
    };
    let mut versions: BTreeMap<String, usize> = BTreeMap::new();
    for node in &serving {
        let version = fleet.nodes.get(&node.name).and_then(NodeFacts::version);
        *versions.entry(version.unwrap_or_else(|| UNKNOWN.into())).or_default() += 1;
    }
    // A service without a version gets no version text.
    versions.retain(|version, count| version != UNKNOWN || *count < serving.len());
    let mut versions: Vec<_> = versions.into_iter().collect();
    versions.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let versions = versions
        .iter()
        .map(|(version, number)| format!("version {version} on {}", count(*number, "node")));
    let versions: Vec<_> = versions.collect();
    let versions = match versions.join(", ") {
        none if none.is_empty() => none,
        versions => format!(": {}", text::harmless(&versions)),
    };
    let unhealthy: Vec<_> = unhealthy.iter().map(|node| node.name.clone()).collect();
    let unhealthy = if unhealthy.is_empty() {
        String::new()
    } else {
        let names = text::few(unhealthy, NODES_TOLD).join(", ");
        format!(" Routed but not healthy: {}.", text::harmless(&names))
    };
    let (serving, total) = (serving.len(), count(spec.nodes.len(), "node"));
    let unread: Vec<_> = fleet.gateways.iter().filter(|(_, seen)| seen.is_err()).collect();
    let unread = if unread.is_empty() {
        String::new()
    } else {
        let names = unread.iter().map(|(name, _)| name.clone());
        let names = text::few(names, NODES_TOLD).join(", ");
        format!(" Not read: {}.", text::harmless(&names))
    };
    format!("{serving} of {total} serve (min_available {floor}){versions}.{unhealthy}{unread}")
}

fn section(text: &mut String, label: &str, rest: &str) {
    let _ = writeln!(text, "\n{}", format!("{label:<7} {}", text::harmless(rest)).trim_end());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::gateway::Observation;
    use crate::health::CheckResult;
    use crate::playbook::load_text;
    use crate::release::Event;
    use crate::release::Inputs;
    use crate::report::hostile;

    /// Five nodes behind one gateway.
    fn spec() -> Spec {
        let nodes = (1..=5).map(|number| {
            format!("{{ name: app-{number}, ssh: local, address: '10.0.1.{number}:80' }}")
        });
        let text = format!(
            "service: app
registry: {{ type: consul-kv, prefix: upstreams/app/ }}
gateways: [{{ type: nginx-upsync, status_url: 'http://10.0.0.1/l?app', upstream: app }}]
nodes: [{}]
stop: stop-it
start: start-it
health: {{ tcp: '${{{{ node.address }}}}' }}
strategy: {{ min_available: 3 }}",
            nodes.collect::<Vec<_>>().join(", ")
        );
        let loaded = load_text("app.yaml", text).unwrap_or_else(|invalid| panic!("{invalid}"));
        Spec::new(&loaded.playbook, &Inputs::default()).expect("complete")
    }

    #[test]
    fn hostile_text_stays_within_its_line() {
        let events = hostile::release();
        let release = Release::replay(&events).expect("they may follow");
        let spec = spec();
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
            let text = Report { release: &release, spec: &spec, fleet, next }.render();
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
        let spec = spec();
        let events = hostile::release();
        let told = |events: &[Event]| {
            let release = Release::replay(events).expect("they may follow");
            let report = Report { release: &release, spec: &spec, fleet: None, next: &[] };
            report.headline(&Finished::unstarted(Outcome::LockLost, 4, None), "release r")
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
        let spec = spec();
        let release = Release::replay(&hostile::release()[..5]).expect("they may follow");
        let told = |fleet: Option<&Fleet>| {
            let report = Report { release: &release, spec: &spec, fleet, next: &[] };
            let finished = Finished::unstarted(Outcome::Degraded, 22, None);
            report.headline(&finished, "release r").trim_end().to_owned()
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

    #[test]
    fn node_is_out_once_every_gateway_was_read_and_none_routes_to_it() {
        let spec = spec();
        let (name, address) = (&spec.nodes[0].name, &spec.nodes[0].address);
        let facts = NodeFacts { mark: Mark::Down, ..NodeFacts::default() };
        let mut fleet = Fleet { nodes: [(name.clone(), facts)].into(), ..Fleet::default() };
        let mut place = |gateways: &[Option<bool>]| {
            let seen = gateways.iter().map(|routed| {
                let Some(routed) = *routed else { return Err("connection refused".to_owned()) };
                let mut seen = Observation::default();
                seen.routed.insert(address.clone(), routed);
                Ok(seen)
            });
            fleet.gateways = seen.map(|seen| ("gw".to_owned(), seen)).collect();
            let view = NodeView::of(&fleet, &spec, name);
            (view.gateways, view.place)
        };
        let told = |gateways: &str, place| (gateways.to_owned(), place);
        assert_eq!(place(&[Some(false), Some(false)]), told("out 2/2", Place::Out));
        assert_eq!(place(&[Some(false), Some(true)]), told("routed 1/2", Place::MarkedDown));
        assert_eq!(place(&[Some(false), None]), told("out 1/1, 1 unknown", Place::MarkedDown));
        assert_eq!(place(&[None, None]), told("unknown", Place::MarkedDown));
    }

    #[test]
    fn serving_nodes_are_counted_by_version_without_nodes_that_are_out() {
        let spec = spec();
        let mut fleet = Fleet::default();
        let mut seen = Observation::default();
        for (node, version) in spec.nodes.iter().zip(["2.7.1", "2.7.1", "9", "2.7.0", "2.7.1"]) {
            let health = CheckResult { version: Some(version.into()), ..CheckResult::default() };
            fleet.nodes.insert(node.name.clone(), NodeFacts { health, ..NodeFacts::default() });
            seen.routed.insert(node.address.clone(), node.name != "app-3");
        }
        fleet.gateways = vec![("gw".into(), Ok(seen))];
        let release = Release::default();
        let told = |fleet: &Fleet| {
            Report { release: &release, spec: &spec, fleet: Some(fleet), next: &[] }.serving()
        };
        assert_eq!(
            told(&fleet),
            "4 of 5 nodes serve (min_available 3): version 2.7.1 on 3 nodes, version 2.7.0 on 1 node."
        );
        let dead = fleet.nodes.get_mut("app-5").expect("a node");
        dead.health.problem = Some("connection refused".into());
        assert_eq!(
            told(&fleet),
            "3 of 5 nodes serve (min_available 3): version 2.7.1 on 2 nodes, version 2.7.0 on 1 node. \
             Routed but not healthy: app-5."
        );
        fleet.nodes.get_mut("app-5").expect("a node").health.problem = None;
        fleet.nodes.remove("app-4");
        assert!(told(&fleet).ends_with(": version 2.7.1 on 3 nodes, version unknown on 1 node."));
        fleet.nodes.clear();
        assert!(told(&fleet).ends_with(" (min_available 3)."), "{}", told(&fleet));
        fleet.gateways[0].1 = Err("connection refused".into());
        assert_eq!(
            told(&fleet),
            "No gateway can be read: it is unknown which nodes serve (min_available 3)."
        );
    }
}
