//! `deploy --restart`: what each node runs, so that it is started again.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::caller::unless_stopped;
use super::history::{self, JOURNALS};
use super::{Caller, Cause, Connections, Refusal, Session};
use crate::foreign::Foreign;
use crate::journal::history::Beginnings;
use crate::plan::{Plan, runs, started_before_link};
use crate::playbook::Playbook;
use crate::release::{Inputs, RestorePoint, Started};
use crate::spec::{NodeSpec, OPEN, Spec, restart_of_nodes, restart_of_release, restored_nodes};
use crate::survey::{Fleet, NodeFacts};
use crate::world::World;

/// Finds what each node runs and fills in the playbook with it. A node on which that is not possible gets a problem.
pub(super) fn keep(
    session: &Session,
    looked: &Spec,
    fleet: &mut Fleet,
    past: &Beginnings,
) -> Result<(Arc<Spec>, Vec<RestorePoint>), Refusal> {
    let points = points(session, looked, fleet, past, |_| true);
    let spec = restart_of_release(&session.loaded.playbook, &session.inputs, &points);
    let spec = spec.map_err(|error| Refusal::new(Cause::Invalid, error.to_string()))?;
    Ok((Arc::new(spec), points))
}

/// Finds what the `unknown` nodes of a restart run, which could not be inspected before. Returns the session that
/// restarts them as well.
pub(super) async fn keep_more<W: World, C: Caller>(
    session: &Session,
    connections: &Connections<W>,
    caller: &C,
    looked: &Spec,
    fleet: &mut Fleet,
    unknown: &BTreeSet<&str>,
) -> Result<Session, Refusal> {
    let past = unless_stopped(caller, JOURNALS, history::past(session, connections)).await?;
    // These nodes may run with other values than those in the journal, which are of the other nodes.
    let mut given = session.clone();
    let declared = &session.loaded.playbook.variables;
    given
        .inputs
        .variables
        .retain(|name, _| declared.get(name).is_none_or(|variable| !variable.required));
    let found = points(&given, looked, fleet, &past, |name| unknown.contains(name));
    let mut known = session.clone();
    for point in found {
        for name in &point.nodes {
            RestorePoint::gather(&mut known.toward, name, point.clone());
        }
    }
    Ok(known)
}

/// The restore points of the `wanted` nodes. Nodes that run the same share one.
fn points(
    session: &Session,
    looked: &Spec,
    fleet: &mut Fleet,
    past: &Beginnings,
    wanted: impl Fn(&str) -> bool,
) -> Vec<RestorePoint> {
    let (playbook, inputs) = (&session.loaded.playbook, &session.inputs);
    let (started, missing) = (past.started.iter().collect::<Vec<_>>(), past.missing.as_deref());
    let mut points: Vec<RestorePoint> = Vec::new();
    for node in looked.nodes.iter().filter(|node| wanted(&node.name)) {
        let Some(facts) = fleet.nodes.get_mut(&node.name) else { continue };
        match kept(playbook, inputs, looked, node, facts, &started) {
            Ok(point) => RestorePoint::gather(&mut points, &node.name, point),
            Err(why) => {
                let missing = missing.map_or(String::new(), |missing| format!(" ({missing})"));
                facts.problem.get_or_insert(why + &missing);
            }
        }
    }
    points
}

/// The points of the nodes that the plan restarts.
pub(super) fn restarted(points: Vec<RestorePoint>, plan: &Plan) -> Vec<RestorePoint> {
    let updates = plan.updated();
    let kept = points.into_iter().map(|point| RestorePoint {
        nodes: point.nodes.iter().filter(|name| updates.contains(name.as_str())).cloned().collect(),
        ..point
    });
    kept.filter(|point| !point.nodes.is_empty()).collect()
}

/// The inputs as the journal has them: later commands take the values of most nodes.
pub(super) fn inputs(session: &Session, kept: &[RestorePoint]) -> Inputs {
    let most = kept.iter().max_by_key(|point| point.nodes.len());
    let variables = most.map(|point| point.variables.clone());
    let variables = variables.unwrap_or_else(|| session.inputs.variables.clone());
    Inputs { variables, ..session.inputs.clone() }
}

/// What one node runs, if a restart starts just that again.
fn kept(
    playbook: &Playbook,
    inputs: &Inputs,
    looked: &Spec,
    node: &NodeSpec,
    facts: &NodeFacts,
    past: &[&Started],
) -> Result<RestorePoint, String> {
    if facts.never_installed(node) {
        return Err(
            "nothing is installed on it, so it cannot be restarted: deploy a version".into()
        );
    }
    let found = runs(looked, playbook, node, facts, past);
    let reported = facts.health.version.as_ref();
    let folder = facts.survey.as_ref().and_then(|survey| survey.linked_release()?.ok());
    let mut point =
        found.clone().unwrap_or_else(|_| RestorePoint { folder, ..RestorePoint::default() });
    point.nodes = vec![node.name.clone()];
    point.variables.retain(|_, value| value != OPEN);
    if found.is_ok() {
        fits(playbook, inputs, &point)?;
        if let Some(other) = other_version(playbook, inputs, node, &point, reported) {
            return Err(other);
        }
    }
    // The values that the operator gives now count, too.
    point.variables.extend(inputs.variables.clone());
    if let Some(why) = started_before_link(node, facts) {
        return Err(why);
    }
    if let Some(reported) = reported {
        point.version = reported.shown();
    } else if node.health.identity.is_some() {
        point.version = linked_version(playbook, inputs, node, &point).unwrap_or_default();
    }
    match (restart_of_nodes(playbook, inputs, &point), found) {
        (Ok(_), _) => Ok(point),
        (Err(error), Ok(_)) => Err(format!("a restart needs a value: {error}")),
        (Err(error), Err(why)) => Err(format!("a restart needs a value: {error}; {why}")),
    }
}

/// Refuses another value of a required variable than the one that the node runs with.
fn fits(playbook: &Playbook, inputs: &Inputs, point: &RestorePoint) -> Result<(), String> {
    let required = inputs.variables.iter().filter(|(name, _)| {
        playbook.variables.get(*name).is_some_and(|variable| variable.required)
    });
    for (name, given) in required {
        if let Some(own) = point.variables.get(name).filter(|own| *own != given) {
            return Err(format!(
                "it runs with {name}={own}, which a restart keeps: leave out `{name}`"
            ));
        }
    }
    Ok(())
}

/// Returns why a restart would start another version than the one that runs: its link was switched since.
fn other_version(
    playbook: &Playbook,
    inputs: &Inputs,
    node: &NodeSpec,
    point: &RestorePoint,
    reported: Option<&Foreign>,
) -> Option<String> {
    let (reported, folder) = (reported?, point.folder.as_ref()?);
    let linked = linked_version(playbook, inputs, node, point)?;
    (!reported.is(&linked)).then(|| {
        format!(
            "it runs version {}, but its `current` link leads to {folder} with version {linked}, which a restart would \
             start: deploy the version that you want",
            reported.shown()
        )
    })
}

/// The version that the node's release reports, from the values with which it was deployed.
fn linked_version(
    playbook: &Playbook,
    inputs: &Inputs,
    node: &NodeSpec,
    point: &RestorePoint,
) -> Option<String> {
    let linked = restored_nodes(playbook, inputs, std::slice::from_ref(point)).ok()?;
    Some(linked.get(&node.name)?.health.identity.as_ref()?.equals.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::CheckResult;
    use crate::node::Survey;
    use crate::playbook::load_text;
    use crate::release::{CommandKind, Digest};
    use crate::spec::before_restart;

    /// `{}` is the command that starts the service.
    const TEXT: &str = "service: app
variables: { version: { required: true }, region: { required: true } }
registry: { type: consul-kv, prefix: upstreams/app/ }
gateways: [{ type: nginx-upsync, status_url: 'http://10.0.0.1/l?app', upstream: app }]
nodes: [{ ssh: a, address: '10.0.1.1:80' }, { ssh: b, address: '10.0.1.2:80' }]
artifact: { source: 'app-${{ version }}.tar.gz', releases: /srv/r, current: /srv/current }
stop: stop-it
start: '{}'
health: { http: 'http://${{ node.address }}/ping', identity: { header: x-version, equals: '${{ version }}' } }";

    /// A deploy of version 1 in the region `eu`, as its journal has it.
    fn deployed() -> Started {
        let variables = [("version", "1"), ("region", "eu")];
        let inputs = Inputs {
            release: "r1".into(),
            variables: variables.map(|(name, value)| (name.into(), value.into())).into(),
            artifact: Some(Digest { sha256: "a".repeat(64), size: 1, unpacked: 1 }),
            ..Inputs::default()
        };
        let started = serde_json::json!({
            "service": "app", "command": CommandKind::Deploy, "to": "1", "actor": "me", "file": "app.yaml",
            "playbook": null, "nodes": [], "inputs": inputs,
        });
        serde_json::from_value(started).expect("a start")
    }

    fn facts(folder: Option<&str>, reported: Option<&str>) -> NodeFacts {
        let current = folder.map(|folder| Foreign::new(format!("/srv/r/{folder}")));
        let survey = Survey { current, ..Survey::default() };
        let problem = reported.is_none().then(|| "connection refused".to_owned());
        let health =
            CheckResult { version: reported.map(Foreign::new), problem, ..CheckResult::default() };
        NodeFacts { survey: Some(survey), health, ..NodeFacts::default() }
    }

    fn kept_with(
        start: &str,
        given: &[(&str, &str)],
        facts: &NodeFacts,
    ) -> Result<RestorePoint, String> {
        let text = TEXT.replace("{}", start);
        let loaded = load_text("app.yaml", &text).unwrap_or_else(|invalid| panic!("{invalid}"));
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let inputs = Inputs { variables: given.collect(), ..Inputs::default() };
        let looked = before_restart(&loaded.playbook, &inputs).expect("complete");
        let (node, past) = (looked.node("a").expect("a node"), deployed());
        kept(&loaded.playbook, &inputs, &looked, node, facts, &[&past])
    }

    #[test]
    fn node_restarts_with_the_values_that_it_was_deployed_with() {
        let known = facts(Some("app-1-aaaaaaaa"), Some("1"));
        let point = kept_with("run ${{ version }} ${{ region }}", &[], &known).expect("known");
        assert_eq!((point.version.as_str(), point.variables["region"].as_str()), ("1", "eu"));
        let dead = facts(Some("app-1-aaaaaaaa"), None);
        assert_eq!(kept_with("run", &[], &dead).expect("known").version, "1");
        // Of a release without a journal, the reported version is enough if no command needs more.
        let other = facts(Some("app-9-bbbbbbbb"), Some("9"));
        assert_eq!(kept_with("run", &[], &other).expect("known").version, "9");
        let why = kept_with("run ${{ region }}", &[], &other).expect_err("unknown");
        assert!(why.contains("start") || why.contains("steps"), "{why}");
        assert!(why.contains("region"), "{why}");
        assert!(kept_with("run ${{ region }}", &[("region", "us")], &other).is_ok());
    }

    #[test]
    fn node_that_would_start_something_else_is_refused() {
        let refused = |given: &[(&str, &str)], facts: &NodeFacts| {
            kept_with("run ${{ region }}", given, facts).expect_err("another version")
        };
        let known = facts(Some("app-1-aaaaaaaa"), Some("1"));
        let why = refused(&[("region", "us")], &known);
        assert_eq!(why, "it runs with region=eu, which a restart keeps: leave out `region`");
        let switched = facts(Some("app-1-aaaaaaaa"), Some("0"));
        let why = refused(&[], &switched);
        assert!(why.contains("it runs version 0, but its `current` link leads to"), "{why}");
        let empty = facts(None, None);
        let why = refused(&[], &empty);
        assert!(why.starts_with("nothing is installed on it"), "{why}");
    }
}
