//! The playbook filled in for a restart: each node keeps what it runs, and nothing is deployed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::playbook::Playbook;
use crate::release::{Inputs, RestorePoint, Step};

use super::fill::SpecError;
use super::node::NodeSpec;
use super::resolved::Spec;

/// The placeholder of a value that was not given. Nothing depends on such a value.
pub const OPEN: &str = "?";

/// The same inputs, with a placeholder for each required variable without a value.
#[must_use]
pub fn with_open(playbook: &Playbook, inputs: &Inputs) -> Inputs {
    let mut inputs = inputs.clone();
    for (name, _) in playbook.variables.iter().filter(|(_, variable)| variable.required) {
        inputs.variables.entry(name.clone()).or_insert_with(|| OPEN.to_owned());
    }
    inputs
}

/// Fills in the playbook for the inspection before a restart. What nodes run is not known yet.
///
/// # Errors
///
/// When a name has no value.
pub fn before_restart(playbook: &Playbook, inputs: &Inputs) -> Result<Spec, SpecError> {
    let mut spec = Spec::new(playbook, &with_open(playbook, inputs))?;
    // The version was the same before, so only the process itself shows that it is new.
    (spec.is_restart, spec.has_identity, spec.version, spec.artifact) = (true, false, None, None);
    Ok(spec)
}

/// Fills in the playbook for a restart of the nodes in `kept`, which says what they run. A node that is not named
/// there has no steps.
///
/// # Errors
///
/// When a command or a check needs a value that is not known.
pub fn restart_of_release(
    playbook: &Playbook,
    inputs: &Inputs,
    kept: &[RestorePoint],
) -> Result<Spec, SpecError> {
    let mut spec = before_restart(playbook, inputs)?;
    let mut nodes: BTreeMap<_, _> = BTreeMap::new();
    for point in kept {
        let filled = restart_of_nodes(playbook, inputs, point)?;
        for name in &point.nodes {
            if let (Some(filled), Some(looked)) = (filled.node(name), spec.node(name)) {
                nodes.insert(name.clone(), keeping(filled, looked, point));
            }
        }
    }
    let known = |node: &Arc<NodeSpec>| {
        let without_steps = || NodeSpec { steps: Vec::new(), ..NodeSpec::clone(node) };
        Arc::new(nodes.remove(&node.name).unwrap_or_else(without_steps))
    };
    spec.nodes = spec.nodes.iter().map(known).collect();
    Ok(spec)
}

/// Fills in only what a restart needs, with the values of what some nodes run.
///
/// # Errors
///
/// When a command or a check needs a value that is not known.
pub fn restart_of_nodes(
    playbook: &Playbook,
    inputs: &Inputs,
    point: &RestorePoint,
) -> Result<Spec, SpecError> {
    let mut bare = playbook.clone();
    (bare.artifact, bare.health.identity) = (None, None);
    let variables = point.variables.clone();
    Spec::new(&bare, &Inputs { variables, artifact: None, ..inputs.clone() })
}

/// The node with the steps of a restart. It must report the version that it ran, and has the folders of its artifact.
fn keeping(filled: &NodeSpec, looked: &NodeSpec, point: &RestorePoint) -> NodeSpec {
    let mut node = filled.clone();
    node.steps.retain(|action| action.step != Step::Activate);
    node.layout.clone_from(&looked.layout);
    if let (Some(layout), Some(folder)) = (&mut node.layout, &point.folder) {
        layout.name.clone_from(folder);
    }
    node.health.identity = looked.health.identity.clone().filter(|_| !point.version.is_empty());
    if let Some(identity) = &mut node.health.identity {
        identity.equals.clone_from(&point.version);
    }
    node
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::load_text;
    use crate::spec::Action;

    const TEXT: &str = "service: app
variables: { version: { required: true } }
registry: { type: consul-kv, prefix: upstreams/app/ }
gateways: [{ type: nginx-upsync, status_url: 'http://10.0.0.1/l?app', upstream: app }]
nodes: [{ ssh: a, address: '10.0.1.1:80' }, { ssh: b, address: '10.0.1.2:80' }, { ssh: c, address: '10.0.1.3:80' }]
artifact: { source: 'app-${{ version }}.tar.gz', releases: /srv/r, current: /srv/current }
steps:
  - confirm_out
  - drain
  - stop: stop-it
  - activate
  - run: prepare ${{ version }}
  - start: start-it
  - health
  - enable
  - confirm_in
health: { http: 'http://${{ node.address }}/ping', identity: { header: x-version, equals: 'v${{ version }}' } }";

    fn point(node: &str, version: &str) -> RestorePoint {
        RestorePoint {
            nodes: vec![node.into()],
            version: format!("v{version}"),
            folder: Some(format!("app-{version}-00000000")),
            variables: [("version".to_owned(), version.to_owned())].into(),
            artifact: None,
            nothing: false,
        }
    }

    #[test]
    fn each_node_restarts_with_its_own_version_and_nothing_is_activated() {
        let loaded = load_text("app.yaml", TEXT).unwrap_or_else(|invalid| panic!("{invalid}"));
        let kept = [point("a", "1"), point("b", "2")];
        let spec = restart_of_release(&loaded.playbook, &Inputs::default(), &kept);
        let spec = spec.expect("complete");
        assert!(spec.artifact.is_none() && !spec.has_identity);
        for (name, version) in [("a", "1"), ("b", "2")] {
            let node = spec.node(name).expect("a node");
            let steps: Vec<_> = node.steps.iter().map(|action| action.step.to_string()).collect();
            let expected = "disable confirm_out drain stop run-1 start health enable confirm_in";
            assert_eq!(steps.join(" "), expected);
            let prepare = node.action(Step::Run(1)).and_then(|action| action.command.as_ref());
            assert_eq!(prepare.map(|shell| shell.run.clone()), Some(format!("prepare {version}")));
            assert_eq!(node.version(), Some(format!("v{version}")));
            let folder = node.layout.as_ref().map(|layout| layout.name.clone());
            assert_eq!(folder, Some(format!("app-{version}-00000000")));
        }
        let other: &[Action] = &spec.node("c").expect("a node").steps;
        assert_eq!(other, [], "nothing is known of it, so nothing is done to it");
    }

    #[test]
    fn command_that_needs_an_unknown_version_is_named() {
        let loaded = load_text("app.yaml", TEXT).unwrap_or_else(|invalid| panic!("{invalid}"));
        let point = RestorePoint { variables: [].into(), ..point("a", "1") };
        let error = restart_of_nodes(&loaded.playbook, &Inputs::default(), &point);
        let error = error.expect_err("no value").to_string();
        assert!(error.contains("steps[4]") && error.contains("version"), "{error}");
    }
}
