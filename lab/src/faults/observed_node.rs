//! The lab's own reading of each node: reports are compared with it.

use std::fmt;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::lab::Lab;

/// The observed state of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedNode {
    /// Its name.
    pub name: String,
    /// The version in its answers; none when it does not answer.
    pub version: Option<String>,
    /// Whether its key is marked down; none when Consul cannot be read.
    pub down: Option<bool>,
    /// How many workers of all running gateways route to it.
    pub routing: usize,
    /// How many workers the running gateways have.
    pub workers: usize,
    /// How many gateways route to it with all their workers.
    pub gateways: usize,
}

impl ObservedNode {
    /// Returns whether it serves users with this version.
    #[must_use]
    pub fn serves(&self, version: &str) -> bool {
        self.version.as_deref() == Some(version)
            && self.down == Some(false)
            && self.routing == self.workers
    }

    /// Returns whether it is marked down and no worker routes to it.
    #[must_use]
    pub fn is_out(&self) -> bool {
        self.down == Some(true) && self.routing == 0
    }
}

impl fmt::Display for ObservedNode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(formatter, "{version}")?,
            None => write!(formatter, "dead")?,
        }
        let key = match self.down {
            Some(true) => "down",
            Some(false) => "up",
            None => "?",
        };
        match (self.down, self.routing) {
            (Some(true), 0) => write!(formatter, " out"),
            (Some(false), routing) if routing == self.workers => write!(formatter, " in"),
            (_, routing) => write!(formatter, " {key}, routed {routing}/{}", self.workers),
        }
    }
}

/// Reads every node.
pub(super) fn look(lab: &Lab) -> Result<Vec<ObservedNode>> {
    let consul = (0..lab.consul.ips().len()).any(|server| lab.consul.is_running(server));
    let mut seen = Vec::new();
    for (index, node) in lab.nodes.iter().enumerate() {
        let address = node.address().to_string();
        let down = if consul { Some(is_down(lab, index)?) } else { None };
        let (mut routing, mut workers, mut gateways) = (0, 0, 0);
        for gateway in lab.gateways.iter().filter(|gateway| gateway.is_running()) {
            let all = gateway.config().workers as usize;
            let some = gateway.workers_routing_to(&address)?;
            routing += some;
            workers += all;
            gateways += usize::from(some == all);
        }
        seen.push(ObservedNode {
            name: node.name().to_owned(),
            version: node.version(),
            down,
            routing,
            workers,
            gateways,
        });
    }
    Ok(seen)
}

fn is_down(lab: &Lab, index: usize) -> Result<bool> {
    let key = lab.registry_key(index)?;
    let value = lab.consul.get(&key)?.with_context(|| format!("there is no key {key}"))?;
    let value: Value = serde_json::from_str(&value)?;
    Ok(value["down"] == 1)
}
