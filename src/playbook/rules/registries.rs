//! The rules of the registries.

use super::Check;
use crate::consul::shared_prefix;
use crate::playbook::findings::quoted;
use crate::playbook::{Extent, On, Registry, Template};

impl Check<'_> {
    /// The registry that a gateway follows, with its key, if its type is from the file.
    pub(super) fn followed(&self, gateway: usize) -> Option<(String, &Registry)> {
        let found = self.playbook.registry_of(gateway);
        found.filter(|(path, _)| self.known(&format!("{path}.type")))
    }

    pub(super) fn registries(&mut self) {
        self.missing();
        let playbook = self.playbook;
        for (path, registry) in playbook.registries() {
            match registry {
                Registry::ConsulKv { prefix } => self.prefix(&format!("{path}.prefix"), prefix),
                Registry::ConsulService { .. } | Registry::Gateway {} => {}
            }
        }
        self.agents();
        self.conflicts();
    }

    /// Every gateway needs a registry, and the playbook's own registry needs a gateway.
    fn missing(&mut self) {
        let playbook = self.playbook;
        let gateways = playbook.gateways.iter().enumerate();
        let is_known = |index: usize| self.known(&format!("gateways[{index}]"));
        let are_known =
            self.known("gateways") && gateways.clone().all(|(index, _)| is_known(index));
        let has_own = gateways.filter(|(index, _)| is_known(*index));
        let has_own = has_own.map(|(_, setup)| setup.registry.is_some()).collect::<Vec<_>>();
        let all_have = !has_own.is_empty() && has_own.iter().all(|own| *own);
        match playbook.registry {
            None if !all_have => {
                self.add("registry", "missing key `registry`", |problem| problem);
            }
            Some(_) if all_have && are_known => {
                let message = "no gateway follows this registry: each has its own";
                self.wrong("registry", message, |problem| problem.help("remove it"));
            }
            None | Some(_) => {}
        }
    }

    /// Two registries must not contain the same entries, and have the same agents.
    fn conflicts(&mut self) {
        let all: Vec<_> = self.playbook.registries().collect();
        for (at, (path, registry)) in all.iter().enumerate() {
            for (other, earlier) in &all[..at] {
                if let Some((key, message, help)) = conflict(registry, earlier) {
                    let (path, tree) = (format!("{path}.{key}"), self.tree);
                    let is_known = self.known(other);
                    self.wrong(&path, message, |problem| {
                        let (_, place, _) = tree.locate(other);
                        let problem = problem.help(help);
                        if is_known { problem.related(place, "the other one") } else { problem }
                    });
                }
            }
        }
    }

    /// The Consul agents that own the nodes' instances.
    fn agents(&mut self) {
        let playbook = self.playbook;
        let of_services: Vec<_> = playbook.registries().filter_map(agents_of).collect();
        let nodes = playbook.nodes.iter().enumerate();
        let nodes = nodes.filter_map(|(index, node)| {
            Some((format!("nodes[{index}].agent"), node.agent.as_ref()?))
        });
        let first = of_services.first().map(|(path, _, agent_on)| (path.clone(), *agent_on));
        let common = of_services.iter().filter_map(|(path, agent, agent_on)| {
            Some((format!("{path}.agent"), (*agent)?, Some((path.clone(), *agent_on))))
        });
        for (path, agent, asked) in
            common.chain(nodes.map(|(path, agent)| (path, agent, first.clone())))
        {
            let Some((registry, agent_on)) = asked else {
                let Some((first, registry)) = playbook.registries().next() else { continue };
                let kind = registry.kind();
                if self.known(&first) {
                    self.wrong(&path, format!("`agent` has no effect with the registry `{kind}`"), |problem| {
                        problem.help("remove it, or write `registry: { type: consul-service, service: … }`")
                    });
                }
                continue;
            };
            self.consul_address(&path, agent);
            if agent_on == On::Node
                && agent.as_str().starts_with("https://")
                && self.known(&format!("{registry}.agent_on"))
            {
                self.wrong(
                    &path,
                    "an agent that is asked from its node needs `http://`",
                    |problem| {
                        problem.help(
                            "`https://` works only from this machine: remove `agent_on: node`",
                        )
                    },
                );
            }
        }
    }

    fn prefix(&mut self, path: &str, prefix: &Template) {
        let text = prefix.as_str();
        let shown = quoted(text);
        // The end of a template is known only after it is filled in.
        if !text.ends_with('/') && !text.ends_with("}}") {
            let message =
                format!("the prefix `{shown}` leaks into other upstreams (rule `prefix-leaks`)");
            self.wrong(path, message, |problem| {
                problem.help(format!(
                    "without a final `/` it also matches `{shown}2/…`: write `{shown}/`"
                ))
            });
        }
        if text.starts_with('/') {
            self.wrong(path, format!("the prefix `{shown}` starts with `/`"), |problem| {
                problem.help("keys in Consul do not start with `/`: remove it")
            });
        }
        // A gateway treats every key below its prefix as one of its servers.
        let shared = shared_prefix(&self.playbook.service);
        if text.starts_with(&shared) || (text.ends_with('/') && shared.starts_with(text)) {
            self.wrong(
                path,
                format!("`{shared}` is where rollgate keeps its lock and its journals"),
                |problem| problem.help("write the nodes' keys below another prefix"),
            );
        }
    }
}

/// The agents of a registry of instances: its key, its `agent`, and from where they are asked.
fn agents_of((path, registry): (String, &Registry)) -> Option<(String, Option<&Template>, On)> {
    match registry {
        Registry::ConsulService { agent, agent_on, .. } => Some((path, agent.as_ref(), *agent_on)),
        Registry::ConsulKv { .. } | Registry::Gateway {} => None,
    }
}

/// Why two registries cannot be in one playbook: the key, the message, and what to do.
fn conflict(one: &Registry, other: &Registry) -> Option<(&'static str, String, String)> {
    match (one, other) {
        (Registry::ConsulKv { prefix: one }, Registry::ConsulKv { prefix: other }) => {
            let (one, other) = (one.as_str(), other.as_str());
            let is_within = one != other && (one.starts_with(other) || other.starts_with(one));
            is_within.then(|| {
                let (one, other) = (quoted(one), quoted(other));
                let message =
                    format!("of the prefixes `{one}` and `{other}` one contains the other");
                let help = "the gateways of the shorter prefix would also read the other keys";
                ("prefix", message, help.to_owned())
            })
        }
        (
            Registry::ConsulService { service, agent, agent_on, maintenance },
            Registry::ConsulService {
                service: earlier,
                agent: its_agent,
                agent_on: its_agent_on,
                maintenance: its_maintenance,
            },
        ) => {
            if (agent, agent_on) != (its_agent, its_agent_on) {
                let message = "two registries have different agents".to_owned();
                let help = "one agent owns all instances of a node: write the same `agent` and `agent_on` in both";
                return Some(("agent", message, help.to_owned()));
            }
            let is_same = service == earlier && maintenance == its_maintenance;
            let is_node = [maintenance, its_maintenance].contains(&&Extent::Node);
            (!is_same && is_node).then(|| {
                let message = "`maintenance: node` with two registries of instances".to_owned();
                let help = "it takes out everything that the agent owns: write `maintenance: instance` in both";
                ("maintenance", message, help.to_owned())
            })
        }
        _ => None,
    }
}
