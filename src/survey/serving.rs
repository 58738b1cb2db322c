//! Whether the nodes that serve now pass their own health check, whatever version they run. Pure.

use super::fleet::{Fleet, NodeFacts};
use crate::health::{CheckResult, describe};
use crate::spec::{NodeSpec, Spec};
use crate::text;

/// Why a node that serves now fails its own health check, if it does. A version is required, but any is accepted.
#[must_use]
pub fn failed_check(fleet: &Fleet, node: &NodeSpec) -> Option<String> {
    let facts = fleet.nodes.get(&node.name)?;
    let problem = problem(node, &facts.health)?;
    serves(fleet, node, facts).then(|| {
        text::line(
            &format!(
                "it is in rotation, but fails its health check ({}): {problem}",
                describe(&node.health)
            ),
            300,
        )
    })
}

/// Why the health check cannot pass anywhere, if each node that serves now fails it in the same way.
#[must_use]
pub fn unhealthy_everywhere(spec: &Spec, fleet: &Fleet) -> Option<String> {
    let mut serving = spec.nodes.iter().filter_map(|node| {
        let facts = fleet.nodes.get(&node.name)?;
        serves(fleet, node, facts).then_some((node, &facts.health))
    });
    let (first, health) = serving.next()?;
    let way = |node: &NodeSpec, health: &CheckResult| {
        // An address in a message differs from node to node.
        problem(node, health).map(|problem| problem.replace(&node.address, "its address"))
    };
    let told = way(first, health)?;
    let (what, passes) = if spec.is_restart {
        ("restart", "nodes pass it after the restart")
    } else {
        ("release", "the new version passes it")
    };
    serving.all(|(node, health)| way(node, health).as_ref() == Some(&told)).then(|| {
        format!(
            "the health check passes on none of the nodes that serve now ({}): {}; a {what} would take a node out and \
             wait in vain: correct `health`, or use `--allow-unhealthy` if {passes}",
            describe(&first.health),
            text::line(&told, 160)
        )
    })
}

/// Whether a node gets requests and accepts connections.
fn serves(fleet: &Fleet, node: &NodeSpec, facts: &NodeFacts) -> bool {
    let mut gateways = fleet.gateways.iter().filter_map(|(_, seen)| seen.as_ref().ok());
    gateways.any(|seen| seen.routes_somewhere_to(&node.address))
        && !facts.is_unreachable()
        && !facts.never_installed(node)
}

/// Why a check failed, if it was made. Its reply must have a version if the playbook has an `identity`.
fn problem(node: &NodeSpec, health: &CheckResult) -> Option<String> {
    match &health.problem {
        Some(problem) => (!health.is_unasked).then(|| problem.clone()),
        None if node.health.identity.is_some() && health.version.is_none() => {
            health.wrong_version.clone()
        }
        None => None,
    }
}
