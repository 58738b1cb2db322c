//! What the last inspection shows, for people.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Place;
use crate::mark::Mark;
use crate::spec::{NodeSpec, Spec};
use crate::survey::{Fleet, NodeFacts};
use crate::text::{self, NAMES_TOLD, count};

/// The version of a node that reports none.
const UNKNOWN: &str = "unknown";

/// Facts about a node at the end, besides the release's own state.
#[derive(Debug, Clone, Default)]
pub struct NodeView {
    /// The reported version.
    pub version: Option<String>,
    /// The result of its health check.
    pub process: &'static str,
    /// How long its process runs: the oldest one that listens. `None` if that cannot be read.
    pub age: Option<Duration>,
    /// Its registry entry.
    pub key: &'static str,
    /// `routed 2/2`.
    pub gateways: String,
    /// Its place in rotation.
    pub place: Place,
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
        let listener = facts.survey.as_ref().map(|survey| &survey.listener);
        let ages = listener.and_then(|it| it.owners.iter().map(|owner| owner.age(it.mark)).max());
        Self {
            version: facts.version(),
            age: ages,
            process: match (&facts.health.problem, &facts.survey) {
                (None, _) => "healthy",
                (Some(_), Some(survey)) if !survey.tools.contains("ss") => "unhealthy",
                (Some(_), Some(survey)) if !survey.listener.bound => "not listening",
                (Some(_), Some(_)) => "unhealthy",
                (Some(_), None) => "unknown",
            },
            key: facts.mark.word(),
            gateways: fleet.told_routed(node),
            place: match facts.mark {
                Mark::Down if count == 0 && seen.len() == fleet.gateways.len() => Place::Out,
                Mark::Down => Place::MarkedDown,
                Mark::Up if count == fleet.gateways.len() => {
                    let is_dead = facts.is_unreachable() && !facts.never_installed(node);
                    if is_dead { Place::Dead } else { Place::In }
                }
                Mark::Up | Mark::Unknown | Mark::Mixed => Place::Unclear,
            },
        }
    }
}

/// The nodes that every readable gateway routes to: the ones that are healthy, and the others. None if no gateway can be
/// read.
pub(super) fn serving_nodes<'a>(
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
    let versions = text::harmless(&serving_versions(&versions));
    let unhealthy: Vec<_> = unhealthy.iter().map(|node| node.name.clone()).collect();
    let unhealthy = if unhealthy.is_empty() {
        String::new()
    } else {
        let names = text::few(unhealthy, NAMES_TOLD).join(", ");
        format!(" Routed but not healthy: {}.", text::harmless(&names))
    };
    let (serving, total) = (serving.len(), count(spec.nodes.len(), "node"));
    let unread: Vec<_> = fleet.gateways.iter().filter(|(_, seen)| seen.is_err()).collect();
    let unread = if unread.is_empty() {
        String::new()
    } else {
        let names = unread.iter().map(|(name, _)| name.clone());
        let names = text::few(names, NAMES_TOLD).join(", ");
        format!(" Not read: {}.", text::harmless(&names))
    };
    format!("{serving} of {total} serve (min_available {floor}){versions}.{unhealthy}{unread}")
}

/// Which versions serve. Several versions are named as such.
fn serving_versions(versions: &[(String, usize)]) -> String {
    let is_known = |(version, _): &&(String, usize)| version != UNKNOWN;
    let several = versions.iter().filter(is_known).count();
    let on = |(version, number): &(String, usize), word: &str| {
        format!("{word}{version} on {}", count(*number, "node"))
    };
    let list = |word: &str| versions.iter().map(|it| on(it, word)).collect::<Vec<_>>().join(", ");
    match (versions.is_empty(), several) {
        (true, _) => String::new(),
        (false, ..2) => format!(": {}", list("version ")),
        (false, several) => format!("; {several} versions serve: {}", list("")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::Observation;
    use crate::health::{CheckResult, Unreached};
    use crate::release::{NodeState, Phase};
    use crate::report::{five, state_now};

    #[test]
    fn node_is_out_once_every_gateway_was_read_and_none_routes_to_it() {
        let spec = five::spec();
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
    fn routed_node_on_which_nothing_listens_is_not_called_done() {
        let spec = five::spec();
        let node = &spec.nodes[0];
        let mut seen = Observation::default();
        seen.routed.insert(node.address.clone(), true);
        let mut fleet = Fleet { gateways: vec![("gw".into(), Ok(seen))], ..Fleet::default() };
        let mut state = |unreached: Option<Unreached>| {
            let problem = unreached.map(|_| "connection refused".to_owned());
            let health = CheckResult { problem, unreached, ..CheckResult::default() };
            let facts = NodeFacts { mark: Mark::Up, health, ..NodeFacts::default() };
            fleet.nodes = [(node.name.clone(), facts)].into();
            let done = NodeState { phase: Phase::Skipped, ..NodeState::default() };
            state_now(&done, NodeView::of(&fleet, &spec, &node.name).place)
        };
        assert_eq!(state(None), "was up to date");
        assert_eq!(state(Some(Unreached::Refused)), "routed but does not serve, action required");
    }

    #[test]
    fn node_that_a_gateway_does_not_list_is_not_called_out_unless_it_is_marked_down() {
        let spec = five::spec();
        let node = &spec.nodes[0];
        let mut fleet = Fleet::default();
        let mut told = |mark: Mark, gateways: &[Option<bool>]| {
            let facts = NodeFacts { mark, ..NodeFacts::default() };
            fleet.nodes = [(node.name.clone(), facts)].into();
            let seen = gateways.iter().map(|routed| {
                let mut seen = Observation::default();
                seen.routed.extend(routed.map(|routed| (node.address.clone(), routed)));
                ("gw".to_owned(), Ok(seen))
            });
            fleet.gateways = seen.collect();
            fleet.told_routed(node)
        };
        for mark in [Mark::Unknown, Mark::Up] {
            assert_eq!(told(mark, &[None, None]), "not listed 2/2");
            assert_eq!(told(mark, &[Some(true), None]), "routed 1/2, not listed 1/2");
            assert_eq!(told(mark, &[Some(false), None]), "out 1/2, not listed 1/2");
            assert_eq!(told(mark, &[Some(false), Some(false)]), "out 2/2");
        }
        // A gateway that follows health lists no node that is in maintenance.
        assert_eq!(told(Mark::Down, &[None, Some(false)]), "out 2/2");
    }

    #[test]
    fn serving_nodes_are_counted_by_version_without_nodes_that_are_out() {
        let spec = five::spec();
        let mut fleet = Fleet::default();
        let mut seen = Observation::default();
        for (node, version) in spec.nodes.iter().zip(["2.7.1", "2.7.1", "9", "2.7.0", "2.7.1"]) {
            let health = CheckResult { version: Some(version.into()), ..CheckResult::default() };
            fleet.nodes.insert(node.name.clone(), NodeFacts { health, ..NodeFacts::default() });
            seen.routed.insert(node.address.clone(), node.name != "app-3");
        }
        fleet.gateways = vec![("gw".into(), Ok(seen))];
        let told = |fleet: &Fleet| serving(&spec, fleet);
        assert_eq!(
            told(&fleet),
            "4 of 5 nodes serve (min_available 3); 2 versions serve: 2.7.1 on 3 nodes, 2.7.0 on 1 node."
        );
        let dead = fleet.nodes.get_mut("app-5").expect("a node");
        dead.health.problem = Some("connection refused".into());
        assert_eq!(
            told(&fleet),
            "3 of 5 nodes serve (min_available 3); 2 versions serve: 2.7.1 on 2 nodes, 2.7.0 on 1 node. \
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
