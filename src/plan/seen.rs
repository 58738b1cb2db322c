//! What a plan saw: the state of each node and each gateway to which a plan file is bound.
//!
//! Every text is without secrets, so that it can be stored, and so that two inspections can be compared.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Plan;
use crate::gateway::Observation;
use crate::node::Survey;
use crate::release::{Hold, PlannedAction};
use crate::secret;
use crate::spec::{NodeSpec, Spec};
use crate::survey::{Fleet, NodeFacts};
use crate::text;

/// How much of a text is kept, in characters.
const KEPT: usize = 400;

/// What an inspection saw of everything that a plan is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The nodes in the order of the release.
    pub nodes: Vec<NodeSeen>,
    /// The gateways that could be read, in the playbook's order.
    pub gateways: Vec<GatewaySeen>,
    /// Why the others could not be read, by name.
    pub unread: BTreeMap<String, String>,
}

/// A node as the plan saw it, and what the plan does with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeSeen {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// The planned action.
    pub will: PlannedAction,
    /// The reason, if it is not obvious.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The version that its health check reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether a process listened on its port; absent if it could not be inspected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listens: Option<bool>,
    /// The oldest process that listened there, if it could be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessSeen>,
    /// The target of its `current` link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// Who held it out of rotation, and since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// Its entry in each registry; empty if they could not be read.
    pub entries: Vec<EntrySeen>,
    /// Why it could not be inspected, or its entries could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A process, unique until its node boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessSeen {
    /// The process id.
    pub pid: u32,
    /// When it started, in hundredths of a second since the node booted.
    pub started: u64,
}

/// A node's entry in one registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntrySeen {
    /// The key in Consul, or the place of the mark.
    pub key: String,
    /// `up`, `down`, or `?` if gateways differ.
    pub mark: String,
    /// Consul's `ModifyIndex` of the key. Maintenance mode and gateways' own marks have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modify_index: Option<u64>,
    /// The value of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// A gateway's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GatewaySeen {
    /// Its name.
    pub name: String,
    /// The nodes of the playbook.
    pub servers: Vec<ServerSeen>,
    /// How many entries the list has.
    pub listed: usize,
    /// The names of servers that get requests and are no nodes, at most a few.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub others: BTreeSet<String>,
    /// Why requests go to all nodes, whatever the list says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overridden: Option<String>,
}

/// A node in a gateway's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerSeen {
    /// Its address.
    pub address: String,
    /// Its state there.
    pub state: ServerState,
    /// Its parameters there, such as `weight`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, u64>,
}

/// The state of a server in a gateway's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServerState {
    /// Every worker routes to it.
    Routed,
    /// Some workers route to it.
    PartlyRouted,
    /// It is in, but gets no requests, e.g. because a check of the gateway fails.
    NotRouted,
    /// The list has it as out.
    Out,
    /// The list does not have it.
    NotListed,
}

impl Seen {
    /// What an inspection saw, with the plan that was made of it.
    #[must_use]
    pub fn of(spec: &Spec, fleet: &Fleet, plan: &Plan) -> Self {
        let unknown = NodeFacts::default();
        let nodes = plan.rows.iter().filter_map(|row| {
            let node = spec.node(&row.planned.node)?;
            let facts = fleet.nodes.get(&node.name).unwrap_or(&unknown);
            let (will, why) = (row.planned.will, text::line(&row.planned.why, KEPT));
            Some(NodeSeen { will, why, ..NodeSeen::of(spec, fleet, node, facts) })
        });
        let addresses: Vec<_> = spec.nodes.iter().map(|node| node.address.as_str()).collect();
        let (mut gateways, mut unread) = (Vec::new(), BTreeMap::new());
        for (name, seen) in &fleet.gateways {
            match seen {
                Ok(seen) => gateways.push(GatewaySeen::of(name, seen, &addresses)),
                Err(problem) => drop(unread.insert(name.clone(), text::line(problem, KEPT))),
            }
        }
        Self { nodes: nodes.collect(), gateways, unread }
    }
}

impl NodeSeen {
    fn of(spec: &Spec, fleet: &Fleet, node: &NodeSpec, facts: &NodeFacts) -> Self {
        let registry_problem = facts.registry_problem.as_ref().or(fleet.registry_problem.as_ref());
        let survey = facts.survey.as_ref();
        let problem = facts.problem.as_ref().filter(|_| survey.is_none()).or(registry_problem);
        Self {
            name: node.name.clone(),
            address: node.address.clone(),
            will: PlannedAction::Skip,
            why: String::new(),
            version: facts.health.version.as_ref().map(crate::foreign::Foreign::shown),
            listens: survey.map(|survey| survey.listener.bound),
            process: survey.and_then(ProcessSeen::of),
            current: survey.and_then(|survey| Some(survey.current.as_ref()?.shown())),
            held: facts.held.as_ref().map(|held| holder(&held.hold)),
            entries: match registry_problem {
                Some(_) => Vec::new(),
                None => entries(spec, node, facts),
            },
            problem: problem.map(|problem| text::line(problem, KEPT)),
        }
    }
}

fn holder(hold: &Hold) -> String {
    text::line(&format!("{} since {}", hold.by, hold.since), KEPT)
}

fn entries(spec: &Spec, node: &NodeSpec, facts: &NodeFacts) -> Vec<EntrySeen> {
    let places = spec.places(&node.address).into_iter().enumerate();
    let entries = places.map(|(at, key)| {
        let stored = facts.stored_in(at);
        EntrySeen {
            key,
            mark: facts.mark_in(at).word().to_owned(),
            modify_index: stored.map(|stored| stored.modify_index),
            value: stored.map(|stored| secret::hide(&stored.value)),
        }
    });
    entries.collect()
}

impl ProcessSeen {
    /// The oldest process: others may be workers that come and go.
    fn of(survey: &Survey) -> Option<Self> {
        let owners = survey.listener.owners.iter();
        let oldest = owners.min_by_key(|process| (process.started, process.pid))?;
        Some(Self { pid: oldest.pid, started: oldest.started.0 })
    }
}

impl GatewaySeen {
    fn of(name: &str, seen: &Observation, addresses: &[&str]) -> Self {
        let servers = addresses.iter().map(|address| ServerSeen {
            address: (*address).to_owned(),
            state: ServerState::of(seen, address),
            parameters: seen.parameters.get(*address).cloned().unwrap_or_default(),
        });
        Self {
            name: name.to_owned(),
            servers: servers.collect(),
            listed: seen.listed,
            others: seen.other_names.iter().map(|name| text::line(name, KEPT)).collect(),
            overridden: seen.overridden.as_ref().map(|why| text::line(why, KEPT)),
        }
    }
}

impl ServerState {
    fn of(seen: &Observation, address: &str) -> Self {
        if seen.routes_to(address) {
            Self::Routed
        } else if !seen.out.contains_key(address) {
            Self::NotListed
        } else if seen.routes_somewhere_to(address) {
            Self::PartlyRouted
        } else if seen.is_out(address) {
            Self::Out
        } else {
            Self::NotRouted
        }
    }

    /// The state in words.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Routed => "routed",
            Self::PartlyRouted => "partly routed",
            Self::NotRouted => "in, but not routed",
            Self::Out => "out",
            Self::NotListed => "not listed",
        }
    }
}
