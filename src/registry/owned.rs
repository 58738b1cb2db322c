//! An instance in Consul, with the agent that owns it.

use crate::consul::Client;
use crate::world::{Host, World};

/// An instance with its agent.
#[derive(Debug, Clone)]
pub(super) struct OwnedInstance {
    pub(super) agent: String,
    /// The machine from which the agent is asked, if it is not this one.
    pub(super) remote: Option<Host>,
    pub(super) id: String,
}

impl OwnedInstance {
    pub(super) fn agent<W: World>(&self, client: &Client<W>) -> Client<W> {
        client.at(&self.agent, self.remote.as_ref())
    }

    /// The agent's place, for people.
    pub(super) fn place(&self) -> String {
        match &self.remote {
            Some(host) => format!("{} on {host}", self.agent),
            None => self.agent.clone(),
        }
    }
}
