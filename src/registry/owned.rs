//! An instance in Consul, with the agent that owns it.

use crate::consul::Client;
use crate::world::{Host, World};

/// An instance with its agent.
#[derive(Debug, Clone)]
pub(super) struct OwnedInstance {
    pub(super) agent: String,
    /// The machine that the agent is asked from, if not from here.
    pub(super) remote: Option<Host>,
    pub(super) id: String,
}

impl OwnedInstance {
    pub(super) fn agent<W: World>(&self, client: &Client<W>) -> Client<W> {
        client.at(&self.agent, self.remote.as_ref())
    }

    /// Where the agent is, for people.
    pub(super) fn place(&self) -> String {
        match &self.remote {
            Some(host) => format!("{} on {host}", self.agent),
            None => self.agent.clone(),
        }
    }
}
