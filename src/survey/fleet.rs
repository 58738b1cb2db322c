//! What a look at everything has found.

use std::collections::{BTreeMap, BTreeSet};

use crate::foreign::Foreign;
use crate::gateway::Observation;
use crate::health::{CheckResult, Unreached};
use crate::node::Survey;
use crate::registry::Look;
use crate::release::Pool;
use crate::spec::Spec;

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    /// The nodes, by name.
    pub nodes: BTreeMap<String, NodeFacts>,
    /// The gateways, in the playbook's order: what they show, or why that is not known.
    pub gateways: Vec<(String, Result<Observation, String>)>,
    /// Why the registry could not be read.
    pub registry_problem: Option<String>,
}

impl Fleet {
    /// Who serves the users, as far as gateways could be read.
    #[must_use]
    pub fn pool(&self, spec: &Spec) -> Option<Pool> {
        let seen = self.gateways.iter().filter_map(|(_, seen)| seen.as_ref().ok());
        let routed = seen.map(Observation::serving).min()?;
        Some(Pool { nodes: spec.nodes.len(), routed, min: spec.floor() })
    }

    /// Returns whether a gateway does not list a node that it may have under another name.
    #[must_use]
    pub fn lacks_any(&self) -> bool {
        self.nodes.values().any(|facts| facts.absent.is_some())
    }

    /// Takes nodes that a gateway does not list for out, where it is known that rollgate took them out: `taken` tells what
    /// gateways listed then besides the playbook's nodes. What they list besides since then may be such a node, added by hand.
    pub fn take_for_out(&mut self, taken: impl Fn(&str) -> Option<BTreeSet<String>>) {
        for (name, facts) in &mut self.nodes {
            let is_out =
                |look: &Look| taken(name).is_some_and(|known| look.strangers.is_subset(&known));
            if let Some(look) = facts.absent.take_if(|look| is_out(look)) {
                (facts.down, facts.registry_problem) = (look.down, None);
                facts.taken_out = Some(look.strangers);
            }
        }
    }
}

/// What was found of a node.
#[derive(Debug, Clone, Default)]
pub struct NodeFacts {
    /// What the node told.
    pub survey: Option<Survey>,
    /// Why it could not be asked, or cannot be used.
    pub problem: Option<String>,
    /// What its health check says.
    pub health: CheckResult,
    /// Whether its switch says down.
    pub down: Option<bool>,
    /// Why its switch cannot be used.
    pub registry_problem: Option<String>,
    /// A gateway does not list it and may have it under another name: how it is marked if rollgate took it out.
    pub absent: Option<Look>,
    /// A journal says that rollgate took it out: what gateways list besides the playbook's nodes.
    pub taken_out: Option<BTreeSet<String>>,
}

impl NodeFacts {
    /// Whether no connection reaches it, so that it does not serve, whatever gateways route to it.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self.health.unreached {
            Some(Unreached::Refused) => true,
            // Gateways may reach what this machine does not, unless ssh does not reach the machine either.
            Some(Unreached::Silent) => self.survey.is_none(),
            None => false,
        }
    }

    /// The version that the node runs, for people: what it tells, or else the release that its link points at.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        let linked = || match self.survey.as_ref()?.linked_release()? {
            Ok(name) => Some(name),
            Err(unfit) => Some(unfit.to_string()),
        };
        self.health.version.as_ref().map(Foreign::shown).or_else(linked)
    }
}
