//! Where gateways, or the workers of one, treat a node differently.

use crate::gateway::Observation;
use crate::mark::Mark;
use crate::spec::NodeSpec;
use crate::text;

use super::fleet::Fleet;

/// The largest number of workers that are named.
const WORKERS_NAMED: usize = 4;

impl Fleet {
    /// Says what each gateway does with a node, if they, or the workers of one, differ: `edge-1 routes to it; edge-2 does
    /// not`.
    #[must_use]
    pub fn differing(&self, node: &NodeSpec) -> Option<String> {
        let is_down = self.nodes.get(&node.name).is_some_and(|facts| facts.mark == Mark::Down);
        let mut told: Vec<(String, Vec<&str>)> = Vec::new();
        for (name, seen) in &self.gateways {
            let Ok(seen) = seen else { continue };
            let what = what(seen, &node.address, is_down);
            match told.iter_mut().find(|(other, _)| *other == what) {
                Some((_, names)) => names.push(name),
                None => told.push((what, vec![name])),
            }
        }
        let one_differs = |(what, _): &(String, Vec<&str>)| what.starts_with(SOME);
        if told.len() < 2 && !told.iter().any(one_differs) {
            return None;
        }
        let told = told.iter().map(|(what, names)| {
            let names = names.iter().map(ToString::to_string);
            format!("{what} at {}", text::few(names, text::NAMES_TOLD).join(", "))
        });
        Some(told.collect::<Vec<_>>().join("; "))
    }
}

/// How the words begin if the workers of a gateway differ.
const SOME: &str = "routed by some workers";

fn what(seen: &Observation, address: &str, is_down: bool) -> String {
    if seen.routes_to(address) {
        return "routed".to_owned();
    }
    if seen.routes_somewhere_to(address) {
        let Some(workers) = seen.routing_workers(address) else { return SOME.to_owned() };
        let names = workers.iter().map(ToString::to_string);
        return format!("{SOME} ({})", text::few(names, WORKERS_NAMED).join(", "));
    }
    if !is_down && !seen.lists(address) { "not listed".to_owned() } else { "out".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::playbook::load_text;
    use crate::release::Inputs;
    use crate::spec::Spec;
    use crate::survey::NodeFacts;

    #[test]
    fn gateways_are_named_only_where_they_or_their_workers_differ() {
        let text = "service: app
registry: { type: consul-kv, prefix: upstreams/app/ }
gateways: [{ type: nginx-upsync, status_url: 'http://10.0.0.1/l?app', upstream: app }]
nodes: [{ name: a, ssh: a, address: '10.0.1.1:80' }, { name: b, ssh: b, address: '10.0.1.2:80' }]
restart: restart-it
health: { tcp: '${{ node.address }}' }";
        let loaded = load_text("app.yaml", text).unwrap_or_else(|invalid| panic!("{invalid}"));
        let spec = Spec::new(&loaded.playbook, &Inputs::default()).expect("complete");
        let node = &spec.nodes[0];
        let seen = |all: bool, some: bool, workers: &[&str]| {
            let mut seen = Observation::default();
            seen.routed.insert(node.address.clone(), all);
            seen.routed_somewhere.insert(node.address.clone(), some);
            let names = workers.iter().map(|name| (*name).into()).collect();
            seen.routing.insert(node.address.clone(), names);
            seen
        };
        let told = |seen: &[Observation]| {
            let gateways = seen.iter().zip(1..);
            let gateways =
                gateways.map(|(seen, number)| (format!("gw-{number}"), Ok(seen.clone())));
            let nodes = [(node.name.clone(), NodeFacts::default())].into();
            Fleet { nodes, gateways: gateways.collect(), ..Fleet::default() }.differing(node)
        };
        let (routed, out) = (seen(true, true, &["1", "2"]), seen(false, false, &[]));
        assert_eq!(told(&[routed.clone(), routed.clone()]), None);
        assert_eq!(told(std::slice::from_ref(&out)), None);
        let differing = told(&[routed.clone(), out, routed]);
        assert_eq!(differing.as_deref(), Some("routed at gw-1, gw-3; out at gw-2"));
        let some = told(&[seen(false, true, &["101", "104"])]);
        assert_eq!(some.as_deref(), Some("routed by some workers (101, 104) at gw-1"));
    }
}
