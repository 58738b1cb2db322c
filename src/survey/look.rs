//! Inspects nodes, registry and gateways before anything is changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::consul::{Client, Index};
use crate::gateway::{GatewayInfo, GatewayMonitor, Observation, QueryClient};
use crate::health::{CheckResult, Gate};
use crate::node::{NodeScript, Survey};
use crate::registry::Registry;
use crate::spec::{NodeSpec, Spec};
use crate::text;
use crate::world::{Command, Host, Output, RunError, World};

use super::fit::{runs_elsewhere, unplaceable, unusable};
use super::fleet::{Fleet, NodeFacts};
use super::programs;

/// How many nodes are inspected at the same time.
const AT_ONCE: usize = 32;

/// Time limit of one node's answer, without connecting.
const NODE_TIMEOUT: Duration = Duration::from_secs(15);

/// How long gateways that disagree with the registry are read again, beyond their own lag: a write may still
/// be in progress.
const SETTLE: Duration = Duration::from_secs(2);

/// Time limit of each part before a release.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Inspects everything; a part without an answer within `patience` is unknown, the others are not affected.
pub async fn survey<W: World>(
    world: &Arc<W>,
    consul: &Arc<Client<W>>,
    spec: &Arc<Spec>,
    patience: Duration,
) -> Fleet {
    let registry = Registry::new(world, consul, spec);
    let query_client = QueryClient::new(world.clone(), Some(consul));
    let looks = async {
        let looks = tokio::time::timeout(patience, registry.look(spec)).await;
        looks.unwrap_or_else(|_| Err(silent_registry(patience)))
    };
    let (nodes, looks, gateways) = tokio::join!(
        survey_nodes(world, consul, spec, patience),
        looks,
        survey_gateways(&query_client, spec, patience)
    );
    let mut fleet = Fleet { nodes, gateways, ..Fleet::default() };
    fleet.cut_short = is_cut_short(&fleet, patience);
    match looks {
        Err(problem) => {
            fleet.cut_short |= problem == silent_registry(patience);
            fleet.registry_problem = Some(problem);
        }
        Ok(looks) => {
            for (name, look) in looks {
                let facts = fleet.nodes.entry(name.clone()).or_default();
                let address = spec.node(&name).map_or("", |node| node.address.as_str());
                match look {
                    Ok(look) => facts.include(look, &spec.places(address)),
                    Err(problem) => facts.registry_problem = Some(problem),
                }
            }
        }
    }
    if patience >= PATIENCE {
        settle(&query_client, spec, &mut fleet).await;
    }
    fleet.find_missing_keys(spec, consul.addresses());
    fleet
}

fn silent_registry(patience: Duration) -> String {
    format!("the registry does not answer within {}", text::duration(patience))
}

fn no_answer(patience: Duration) -> String {
    format!("no answer within {}", text::duration(patience))
}

/// Whether a gateway or a node did not answer within `patience`.
fn is_cut_short(fleet: &Fleet, patience: Duration) -> bool {
    let silent = no_answer(patience);
    let gateways = fleet.gateways.iter().filter_map(|(_, seen)| seen.as_ref().err());
    let nodes = fleet.nodes.values().filter_map(|facts| facts.problem.as_ref());
    gateways.chain(nodes).any(|problem| *problem == silent)
}

/// Reads gateways that disagree with the registry again until they had the time to follow.
async fn settle<W: World>(query_client: &QueryClient<W>, spec: &Arc<Spec>, fleet: &mut Fleet) {
    let watchers: Vec<_> = spec
        .gateways
        .iter()
        .map(|gateway| GatewayMonitor::new(query_client.clone(), gateway))
        .collect();
    let lag = watchers.iter().map(GatewayMonitor::lag).max().unwrap_or_default();
    let deadline = Instant::now() + lag + SETTLE;
    while disagree(spec, fleet) && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(200)).await;
        fleet.gateways = survey_gateways(query_client, spec, PATIENCE).await;
    }
}

fn disagree(spec: &Spec, fleet: &Fleet) -> bool {
    fleet.gateways.iter().enumerate().any(|(gateway, (_, seen))| {
        let Ok(seen) = seen else { return false };
        let registry = spec.registry_at(gateway);
        spec.nodes.iter().any(|node| {
            let facts = fleet.nodes.get(&node.name);
            let down = facts.and_then(|facts| facts.mark_in(registry).is_down());
            let behind = down.is_some_and(|down| seen.is_out(&node.address) != down);
            let other = facts
                .and_then(|facts| seen.other_than(&node.address, facts.parameters_in(registry)));
            // Some of its workers have followed, others have not.
            behind
                || other.is_some()
                || seen.routes_somewhere_to(&node.address) != seen.routes_to(&node.address)
        })
    })
}

async fn survey_gateways<W: World>(
    query_client: &QueryClient<W>,
    spec: &Spec,
    patience: Duration,
) -> Vec<(String, Result<Observation, String>)> {
    ask_each(query_client, spec, patience, |watcher| async move { watcher.observe().await }).await
}

/// Runs the same query at every gateway at the same time and returns the answers in the playbook's order.
async fn ask_each<W: World, T, F>(
    query_client: &QueryClient<W>,
    spec: &Spec,
    patience: Duration,
    ask: impl Fn(GatewayMonitor<W>) -> F,
) -> Vec<(String, Result<T, String>)>
where
    T: Send + 'static,
    F: Future<Output = Result<T, String>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    for (index, gateway) in spec.gateways.iter().enumerate() {
        let watcher = GatewayMonitor::new(query_client.clone(), gateway);
        let name = watcher.name().to_owned();
        let answer = tokio::time::timeout(patience, ask(watcher));
        tasks.spawn(async move {
            let silent = |_| Err(no_answer(patience));
            (index, name, answer.await.unwrap_or_else(silent))
        });
    }
    let mut said = tasks.join_all().await;
    said.sort_by_key(|(index, ..)| *index);
    said.into_iter().map(|(_, name, said)| (name, said)).collect()
}

/// Probes every gateway, in the playbook's order.
pub async fn meet<W: World>(
    world: &Arc<W>,
    consul: &Arc<Client<W>>,
    spec: &Spec,
) -> Vec<(String, Result<GatewayInfo, String>)> {
    let query_client = QueryClient::new(world.clone(), Some(consul));
    ask_each(&query_client, spec, PATIENCE, |watcher| async move { watcher.probe().await }).await
}

async fn survey_nodes<W: World>(
    world: &Arc<W>,
    consul: &Arc<Client<W>>,
    spec: &Arc<Spec>,
    patience: Duration,
) -> BTreeMap<String, NodeFacts> {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for node in &spec.nodes {
        let (world, consul, spec) = (world.clone(), consul.clone(), spec.clone());
        let (node, places) = (node.clone(), places.clone());
        tasks.spawn(async move {
            let _place = places.acquire().await;
            let gate = Gate {
                world,
                consul,
                node,
                mark: None,
                sudo: spec.sudo,
                any_version: true,
                same_version: false,
            };
            let mut index = Index::default();
            let survey = async {
                let survey = survey_node(&gate.world, &spec, &gate.node);
                let silent = |_| Err(no_answer(patience));
                tokio::time::timeout(patience, survey).await.unwrap_or_else(silent)
            };
            let health = async {
                let silent =
                    || CheckResult { problem: Some("no answer".into()), ..CheckResult::default() };
                let attempt = tokio::time::timeout(patience, gate.look(&mut index)).await;
                attempt.unwrap_or_else(|_| silent())
            };
            let (survey, health) = tokio::join!(survey, health);
            let mut facts = NodeFacts { health, ..NodeFacts::default() };
            match survey {
                Ok(survey) => {
                    facts.problem = unusable(&spec, &gate.node, &survey, &facts.health)
                        .or_else(|| unplaceable(&spec, &gate.node, &survey, &facts.health));
                    let elsewhere = runs_elsewhere(&spec, &gate.node, &survey);
                    // A program may have been copied from its release to where it runs.
                    let (certain, doubt) = match survey.current {
                        None => (elsewhere, None),
                        Some(_) => (None, elsewhere),
                    };
                    facts.warning = programs::missing(&gate.node, &survey).warning.or(certain);
                    facts.doubt = doubt;
                    facts.survey = Some(survey);
                }
                Err(problem) => facts.problem = Some(problem),
            }
            (gate.node.name.clone(), facts)
        });
    }
    let mut nodes = BTreeMap::new();
    while let Some(ended) = tasks.join_next().await {
        nodes.extend(ended);
    }
    nodes
}

async fn survey_node<W: World>(
    world: &Arc<W>,
    spec: &Spec,
    node: &NodeSpec,
) -> Result<Survey, String> {
    let steps = node.steps.iter().filter_map(|action| action.command.as_ref());
    let sudo_somewhere = steps.chain(&node.health.run).any(|command| command.sudo);
    let needed = programs::needed(node);
    let names = |sudo: bool| -> Vec<String> {
        let names = needed.iter().filter(|program| program.sudo == sudo);
        names.map(|program| program.name.clone()).collect()
    };
    // Commands with other rights than the inspection may find other programs.
    let (other, names_of_other) = (!spec.sudo, names(!spec.sudo));
    let other_answer = if (sudo_somewhere && other) || !names_of_other.is_empty() {
        let script = NodeScript::Programs { names: names_of_other };
        Some(ask(world, node, script, other).await?)
    } else {
        None
    };
    let (port, layout) = (node.port(), node.layout.clone());
    let script = NodeScript::Survey { port, layout, programs: names(spec.sudo) };
    let answer = ask(world, node, script, spec.sudo).await?;
    let mut survey = Survey::parse(&answer.stdout_text(), &node.address);
    survey.miss(&answer.stdout_text(), spec.sudo);
    if let Some(answer) = other_answer {
        survey.miss(&answer.stdout_text(), other);
    }
    survey.noise = answer.noise;
    if node.host == Host::Local {
        // This machine has no login shell in use.
        survey.shell = None;
    }
    Ok(survey)
}

async fn ask<W: World>(
    world: &Arc<W>,
    node: &NodeSpec,
    script: NodeScript,
    sudo: bool,
) -> Result<Output, String> {
    let command = Command::new(script, NODE_TIMEOUT, sudo);
    match world.run(&node.host, command).await {
        Ok(output) if output.success() => Ok(output),
        Ok(output) => {
            let said = text::line(&output.stderr_text(), 160);
            Err(format!("inspection failed: {}: {said}", output.ending()))
        }
        Err(RunError::NotStarted(problem)) => Err(match problem.find("sudo:").filter(|_| sudo) {
            Some(at) => format!(
                "`sudo -n` is not permitted: allow it in sudoers, e.g. `<user> ALL=(root) NOPASSWD: /bin/sh` ({})",
                &problem[at..]
            ),
            None => problem,
        }),
        Err(error) => Err(format!("inspection failed: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mark::Mark;
    use crate::playbook::load_text;
    use crate::release::Inputs;

    #[test]
    fn look_is_cut_short_only_by_what_does_not_answer_in_time() {
        let patience = Duration::from_millis(500);
        let is_cut = |node: Option<String>, gateway: Option<String>| {
            let facts = NodeFacts { problem: node, ..NodeFacts::default() };
            let gateways = vec![("gw".to_owned(), gateway.map_or(Ok(Observation::default()), Err))];
            let nodes = [("a".to_owned(), facts)].into();
            is_cut_short(&Fleet { nodes, gateways, ..Fleet::default() }, patience)
        };
        let other = || Some("connection refused".to_owned());
        assert!(!is_cut(None, None) && !is_cut(other(), other()));
        assert!(is_cut(Some(no_answer(patience)), None) && is_cut(None, Some(no_answer(patience))));
    }

    #[test]
    fn gateway_disagrees_while_one_of_its_workers_is_behind() {
        let text = "service: app
registry: { type: consul-kv, prefix: upstreams/app/ }
gateways: [{ type: nginx-upsync, status_url: 'http://10.0.0.1/l?app', upstream: app }]
nodes: [{ ssh: a, address: '10.0.1.1:80' }, { ssh: b, address: '10.0.1.2:80' }]
restart: restart-it
health: { tcp: '${{ node.address }}' }";
        let loaded = load_text("app.yaml", text).unwrap_or_else(|invalid| panic!("{invalid}"));
        let spec = Spec::new(&loaded.playbook, &Inputs::default()).expect("complete");
        // Whether the key is down, whether some and all workers route, whether all of them stopped routing.
        for (down, some, all, gone, expected) in [
            (false, true, true, false, false),
            (true, false, false, true, false),
            // Marked up a moment ago.
            (false, false, false, true, true),
            (false, true, false, false, true),
            // Marked down a moment ago.
            (true, true, true, false, true),
            (true, true, false, false, true),
            // Its own check holds it out everywhere: that is not a lag.
            (false, false, false, false, false),
        ] {
            let mut seen = Observation::default();
            let mut fleet = Fleet::default();
            for node in &spec.nodes {
                let other = node.name == "b";
                seen.routed_somewhere.insert(node.address.clone(), other || some);
                seen.routed.insert(node.address.clone(), other || all);
                seen.out.insert(node.address.clone(), !other && gone);
                let mark = Mark::of(!other && down);
                fleet.nodes.insert(node.name.clone(), NodeFacts { mark, ..NodeFacts::default() });
            }
            fleet.gateways = vec![("gw".into(), Ok(seen))];
            assert_eq!(disagree(&spec, &fleet), expected, "{down} {some} {all} {gone}");
        }
    }
}
