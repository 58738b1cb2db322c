//! The result of an inspection of everything.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use crate::foreign::Foreign;
use crate::gateway::{Observation, Parameters};
use crate::health::{CheckResult, Unreached};
use crate::mark::Mark;
use crate::node::Survey;
use crate::registry::{Look, PartLook, StoredKey, no_key, no_key_below};
use crate::release::{Hold, Pool};
use crate::spec::{NodeSpec, RegistrySpec, Spec};

use super::keys::MissingKey;

/// The address that Consul's own tools use by default.
const DEFAULT_ADDRESS: &str = "http://127.0.0.1:8500";

/// The result of an inspection.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    /// The nodes, by name.
    pub nodes: BTreeMap<String, NodeFacts>,
    /// The gateways in the playbook's order: their views, or why they are unknown.
    pub gateways: Vec<(String, Result<Observation, String>)>,
    /// Why the registry could not be read.
    pub registry_problem: Option<String>,
    /// The registry, a gateway or a node did not answer in time.
    pub cut_short: bool,
}

/// A node's entry in one of several registries.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct EntryLine {
    /// The key in Consul, or the place of the mark.
    pub key: String,
    /// Whether it is down; `null` if that is unknown.
    pub down: Option<bool>,
}

impl Fleet {
    /// Finds the keys that Consul does not have. `servers` are its addresses.
    pub(super) fn find_missing_keys(&mut self, spec: &Spec, servers: &[String]) {
        let server = servers.first().filter(|server| *server != DEFAULT_ADDRESS);
        for node in &spec.nodes {
            let facts = self.nodes.entry(node.name.clone()).or_default();
            if facts.registry_problem.is_none() && self.registry_problem.is_none() {
                continue;
            }
            let missing = spec.places(&node.address).into_iter().zip(&spec.registries).find(
                |(key, registry)| {
                    let RegistrySpec::ConsulKv { prefix } = registry else { return false };
                    let alone = facts.registry_problem.as_ref() == Some(&no_key(key));
                    alone || self.registry_problem.as_ref() == Some(&no_key_below(prefix))
                },
            );
            let mut seen =
                self.gateways.iter().filter_map(|(_, seen)| seen.as_ref().ok()).peekable();
            let is_routed = seen
                .peek()
                .is_some()
                .then(|| seen.any(|seen| seen.routes_somewhere_to(&node.address)));
            let (server, unfit) = (server.cloned(), facts.unfit());
            facts.missing_key = missing.map(|(key, _)| MissingKey {
                key,
                unfit,
                is_routed,
                server,
                ..MissingKey::default()
            });
        }
    }

    /// Returns whether Consul lacks the key of a node.
    #[must_use]
    pub fn lacks_keys(&self) -> bool {
        self.nodes.values().any(|facts| facts.missing_key.is_some())
    }

    /// Adds the values of missing keys. `before` returns the value of a node's key from the journals, and whether a
    /// release left the node out of rotation.
    pub fn restore_keys(&mut self, before: impl Fn(&str, &str) -> (Option<String>, bool)) {
        for (name, facts) in &mut self.nodes {
            if let Some(missing) = &mut facts.missing_key {
                let (value, was_out) = before(name, &missing.key);
                missing.before = value;
                if was_out {
                    missing.unfit = Some("a release left the node out of rotation");
                }
            }
        }
    }

    /// Marks the missing keys of held nodes down.
    pub(crate) fn hold_missing_keys(&mut self) {
        for facts in self.nodes.values_mut() {
            if let (Some(missing), Some(_)) = (&mut facts.missing_key, &facts.held) {
                missing.unfit = Some("the node is held");
            }
        }
    }

    /// Says why the registry cannot be used, and how the first of its keys is created if it has none.
    #[must_use]
    pub fn registry_told(&self, spec: &Spec) -> Option<String> {
        let problem = self.registry_problem.as_ref()?;
        let mut nodes = spec.nodes.iter().filter_map(|node| self.nodes.get(&node.name));
        let first = nodes.find_map(|facts| facts.missing_key.as_ref());
        Some(match first {
            Some(first) if first.alike.is_some() => format!("{problem}; {}", first.mend()),
            Some(first) => format!("{problem}; for the first node, {}", first.mend()),
            None => problem.clone(),
        })
    }

    /// The number of serving nodes, from the gateways that could be read.
    #[must_use]
    pub fn pool(&self, spec: &Spec) -> Option<Pool> {
        let seen = self.gateways.iter().filter_map(|(_, seen)| seen.as_ref().ok());
        let routed = seen.map(Observation::serving).min()?;
        Some(Pool { nodes: spec.nodes.len(), routed, min: spec.floor() })
    }

    /// Returns whether every gateway that could be read routes to an address.
    #[must_use]
    pub fn is_routed(&self, address: &str) -> bool {
        let mut seen = self.gateways.iter().filter_map(|(_, seen)| seen.as_ref().ok());
        seen.all(|seen| seen.routes_to(address))
    }

    /// How many gateways route to a node: `routed 2/2`, `out 2/2`, `routed 1/2`, `routed 1/1, 1 unknown`, `not listed 2/2`,
    /// or `unknown`. Some kinds of gateways do not list a node that is marked down: there, it is `out`.
    #[must_use]
    pub fn told_routed(&self, node: &NodeSpec) -> String {
        let address = node.address.as_str();
        let readable: Vec<_> =
            self.gateways.iter().filter_map(|(_, seen)| seen.as_ref().ok()).collect();
        let all = readable.len();
        if all == 0 {
            return "unknown".to_owned();
        }
        let is_down = self.nodes.get(&node.name).is_some_and(|facts| facts.mark == Mark::Down);
        let unlisted = readable.iter().filter(|seen| !is_down && !seen.lists(address)).count();
        let missing = format!("not listed {unlisted}/{all}");
        let told = match (readable.iter().filter(|seen| seen.routes_to(address)).count(), unlisted)
        {
            (0, 0) => format!("out {all}/{all}"),
            (some, 0) => format!("routed {some}/{all}"),
            (0, some) if some == all => missing,
            (0, some) => format!("out {}/{all}, {missing}", all - some),
            (some, _) => format!("routed {some}/{all}, {missing}"),
        };
        match self.gateways.len() - readable.len() {
            0 => told,
            unknown => format!("{told}, {unknown} unknown"),
        }
    }

    /// Returns whether a gateway does not list a node that it may list under another name.
    #[must_use]
    pub fn lacks_any(&self) -> bool {
        self.nodes.values().any(|facts| facts.absent.is_some())
    }

    /// Counts a node that a gateway does not list as out if rollgate is known to have taken it out. `taken`
    /// returns the gateway entries at that time that were not nodes of the playbook. A new such entry may be
    /// this node, added by hand.
    pub fn take_for_out(&mut self, taken: impl Fn(&str) -> Option<BTreeSet<String>>) {
        for (name, facts) in &mut self.nodes {
            let is_out =
                |look: &Look| taken(name).is_some_and(|known| look.strangers.is_subset(&known));
            if let Some(look) = facts.absent.take_if(|look| is_out(look)) {
                (facts.mark, facts.registry_problem) = (look.mark, None);
                facts.taken_out = Some(look.strangers);
            }
        }
    }
}

/// The facts about a node.
#[derive(Debug, Clone, Default)]
pub struct NodeFacts {
    /// The node's report.
    pub survey: Option<Survey>,
    /// Why it could not be inspected, or cannot be used.
    pub problem: Option<String>,
    /// Why a command may fail on it.
    pub warning: Option<String>,
    /// Why a release may not change what the node serves.
    pub doubt: Option<String>,
    /// The result of its health check.
    pub health: CheckResult,
    /// How its registry entry is marked.
    pub mark: Mark,
    /// The parameters in its registry entry that gateways may show.
    pub parameters: Parameters,
    /// Its key in the registry as it was read, if it has one.
    pub stored: Option<StoredKey>,
    /// The view of each registry, if there are several.
    pub parts: Vec<PartLook>,
    /// The mark in each registry, if they differ: `upstreams/app/10.0.1.1:80 up, 10.0.1.1:80 at edge down`.
    pub mixed: Option<String>,
    /// Why its registry entry cannot be used.
    pub registry_problem: Option<String>,
    /// The key that Consul does not have.
    pub missing_key: Option<MissingKey>,
    /// A gateway does not list it, but may list it under another name: its view if rollgate took it out.
    pub absent: Option<Look>,
    /// A journal says that rollgate took it out; the gateway entries that are not nodes of the playbook.
    pub taken_out: Option<BTreeSet<String>>,
    /// An operator holds it out of rotation.
    pub held: Option<HeldFacts>,
}

/// A hold, and its description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldFacts {
    /// The hold.
    pub hold: Hold,
    /// `by alice@host for 2h05m: disk is replaced`.
    pub told: String,
}

impl NodeFacts {
    /// Says why its registry entry cannot be used, and how its key is created if that is missing.
    #[must_use]
    pub fn registry_told(&self) -> Option<String> {
        let problem = self.registry_problem.as_ref()?;
        Some(match &self.missing_key {
            Some(missing) => format!("{problem}; {}", missing.mend()),
            None => problem.clone(),
        })
    }

    /// How one registry marks it.
    #[must_use]
    pub fn mark_in(&self, registry: usize) -> Mark {
        self.parts.get(registry).map_or(self.mark, |part| part.mark)
    }

    /// The parameters in its entry in one registry.
    #[must_use]
    pub fn parameters_in(&self, registry: usize) -> &Parameters {
        self.parts.get(registry).map_or(&self.parameters, |part| &part.parameters)
    }

    /// Its key in one registry as it was read.
    #[must_use]
    pub fn stored_in(&self, registry: usize) -> Option<&StoredKey> {
        self.parts.get(registry).map_or(&self.stored, |part| &part.stored).as_ref()
    }

    /// Its entry in each registry and whether that is down, for programs; empty for one registry.
    #[must_use]
    pub fn entries(&self, places: Vec<String>) -> Vec<EntryLine> {
        let entries = places.into_iter().zip(&self.parts);
        entries.map(|(key, part)| EntryLine { key, down: part.mark.is_down() }).collect()
    }

    /// Says how its registries differ, if they do.
    #[must_use]
    pub fn mixed(&self) -> Option<String> {
        Some(format!("its registries differ: {}", self.mixed.as_ref()?))
    }

    /// Includes what the registries say. `places` are the names of its entries, in their order.
    pub(super) fn include(&mut self, look: Look, places: &[String]) {
        if look.mark == Mark::Mixed {
            self.mixed = Some(differ(&look.parts, places));
        }
        self.parts.clone_from(&look.parts);
        if look.absent.is_some() {
            self.registry_problem.clone_from(&look.absent);
            self.absent = Some(look);
        } else {
            (self.mark, self.parameters) = (look.mark, look.parameters);
            self.stored = look.stored;
        }
    }

    /// Why it must not get requests, as far as its health check shows.
    fn unfit(&self) -> Option<&'static str> {
        self.health.problem.as_ref().map(|_| "the node does not pass its health check")
    }

    /// Whether no connection reaches it, so that it does not serve although gateways route to it.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self.health.unreached {
            Some(Unreached::Refused) => true,
            // Gateways may reach a node that this machine does not reach, unless ssh does not reach the
            // machine either.
            Some(Unreached::Silent) => self.survey.is_none(),
            None => false,
        }
    }

    /// Whether nothing was ever installed on it, and nothing runs there.
    #[must_use]
    pub fn never_installed(&self, node: &NodeSpec) -> bool {
        let is_empty = |survey: &Survey| survey.current.is_none() && !survey.current_is_no_link;
        let is_silent = self.health.problem.is_some() && self.health.version.is_none();
        let is_empty = self.survey.as_ref().is_some_and(is_empty);
        node.layout.is_some() && is_silent && is_empty && !self.listens()
    }

    /// Whether a process listens on its port.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.survey.as_ref().is_some_and(|survey| survey.listener.bound)
    }

    /// Describes its hold: `held by alice@host for 2h05m: disk is replaced`.
    #[must_use]
    pub fn held(&self) -> Option<String> {
        let told = &self.held.as_ref()?.told;
        Some(match self.mark {
            // A `node out` was interrupted, or another program marked it up.
            Mark::Up => format!("marked up although it is held {told}"),
            Mark::Mixed => format!("marked up in one of its registries although it is held {told}"),
            Mark::Down | Mark::Unknown => format!("held {told}"),
        })
    }

    /// The node's version for people: the reported one, or else the folder that its link points at.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        let linked = || match self.survey.as_ref()?.linked_folder()? {
            Ok(name) => Some(name),
            Err(unfit) => Some(unfit.to_string()),
        };
        self.health.version.as_ref().map(Foreign::shown).or_else(linked)
    }
}

/// The mark in each registry.
fn differ(parts: &[PartLook], places: &[String]) -> String {
    let told = places.iter().zip(parts).map(|(place, part)| match part.mark {
        Mark::Unknown | Mark::Mixed => format!("{place} partly down"),
        known => format!("{place} {}", known.word()),
    });
    told.collect::<Vec<_>>().join(", ")
}
