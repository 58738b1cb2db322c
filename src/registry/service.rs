//! Consul's maintenance mode: a node's instance of a service, at the agent that owns it.
//!
//! Only the agent that owns an instance knows of its maintenance: it is found through the catalog, and asked itself
//! each time. What somebody else has put into maintenance stays so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Basis, Error, Looks, Switch, Written};
use crate::consul::{self, Client, Index, Instance, Maintenance};
use crate::spec::{NodeSpec, Spec};
use crate::text;
use crate::world::World;

/// How a reason of ours begins; what follows names the release.
const OURS: &str = "rollgate: release ";

/// How long a question for changes waits for one.
const WAIT: Duration = Duration::from_secs(60);

/// The instances of a service.
#[derive(Debug)]
pub(super) struct Service<W> {
    client: Arc<Client<W>>,
    name: String,
    reason: String,
}

/// An instance with its agent.
#[derive(Debug, Clone)]
pub(super) struct Owned {
    agent: String,
    id: String,
}

impl<W: World> Service<W> {
    pub(super) fn new(client: Arc<Client<W>>, service: &str, release: &str) -> Self {
        Self { client, name: service.to_owned(), reason: format!("{OURS}{release}") }
    }

    pub(super) async fn look(&self, spec: &Spec) -> Result<Looks, String> {
        let instances = self.client.instances(&self.name).await;
        let instances = instances.map_err(|error| error.to_string())?;
        if instances.is_empty() {
            let service = &self.name;
            return Err(format!(
                "Consul knows no instance of the service {service}, or the token may not read it"
            ));
        }
        let mut looks = BTreeMap::new();
        for node in &spec.nodes {
            let look = self.found(node, &instances).await;
            let look = look.map(|switch| switch.down).map_err(|error| error.to_string());
            looks.insert(node.name.clone(), look);
        }
        Ok(looks)
    }

    pub(super) async fn read(&self, node: &NodeSpec) -> Result<Switch, Error> {
        let instances = self.client.instances(&self.name).await;
        let instances = instances.map_err(|error| Error::Failed(error.to_string()))?;
        self.found(node, &instances).await
    }

    async fn found(&self, node: &NodeSpec, instances: &[Instance]) -> Result<Switch, Error> {
        let (service, address) = (&self.name, &node.address);
        let mut at: Vec<_> =
            instances.iter().filter(|instance| instance.address == *address).collect();
        let Some(instance) = at.pop() else {
            return Err(Error::Gone(format!("Consul knows no instance of {service} at {address}")));
        };
        if let Some(other) = at.pop() {
            return Err(Error::Failed(format!(
                "{} and {} are both at {address}: the other one would keep it routed",
                text::line(&other.id, 60),
                text::line(&instance.id, 60)
            )));
        }
        let agent = self.agent(node, instance);
        let maintenance = self.client.at(&agent).maintenance(&instance.id).await;
        let id = text::line(&instance.id, 60);
        let down =
            match maintenance.map_err(|error| Error::Failed(format!("agent {agent}: {error}")))? {
                None => {
                    return Err(Error::Gone(format!("the agent at {agent} does not own {id}")));
                }
                Some(Maintenance::Off) => false,
                Some(Maintenance::Instance(reason)) if reason.starts_with(OURS) => true,
                Some(Maintenance::Instance(reason)) => {
                    return Err(Error::Failed(format!(
                        "{id} is in maintenance by somebody else ({}): it stays so",
                        text::line(&reason, 80)
                    )));
                }
                Some(Maintenance::Node(reason)) => {
                    return Err(Error::Failed(format!(
                        "all of {} is in maintenance by somebody else ({}): it stays so",
                        text::line(&instance.node, 60),
                        text::line(&reason, 80)
                    )));
                }
            };
        Ok(Switch {
            name: format!("{service} {id} at {agent}"),
            down: Some(down),
            original: if down { "maintenance" } else { "no maintenance" }.into(),
            modify_index: 0,
            basis: Basis::Instance(Owned { agent, id: instance.id.clone() }),
        })
    }

    /// The agent that owns an instance: what the playbook says, or the node of the catalog with the scheme and port
    /// by which Consul itself is reached.
    fn agent(&self, node: &NodeSpec, instance: &Instance) -> String {
        if let Some(agent) = &node.agent {
            return agent.clone();
        }
        let own = self.client.addresses().first().map_or("", String::as_str);
        let (scheme, rest) = own.split_once("://").unwrap_or(("http", own));
        // A unix socket says nothing of where other agents are.
        let scheme = if scheme == "https" { "https" } else { "http" };
        let authority = rest.split('/').next().unwrap_or_default();
        let port = authority.rsplit_once(':').map(|(_, port)| port);
        let port =
            port.filter(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
        format!("{scheme}://{}:{}", instance.node_address, port.unwrap_or("8500"))
    }

    pub(super) async fn write(&self, owned: &Owned, down: bool) -> Result<Written, Error> {
        let agent = self.client.at(&owned.agent);
        match agent.set_maintenance(&owned.id, down, &self.reason).await {
            Ok(()) => Ok(Written::Done(0)),
            Err(error @ consul::Error::Unknown(_)) => Err(Error::Unknown(error.to_string())),
            Err(error) => Err(Error::Failed(format!("agent {}: {error}", owned.agent))),
        }
    }

    pub(super) async fn changed(&self, since: &mut Index) {
        let client = self.client.hurried(Duration::from_secs(1));
        if client.wait_for_checks(&self.name, since, WAIT).await.is_err() {
            // The next look at the usual time tells more.
            std::future::pending::<()>().await;
        }
    }

    /// Whether a token may put instances into maintenance is told by doing so only.
    pub(super) async fn may_write(&self) -> Result<(), consul::Error> {
        self.client.instances(&self.name).await.map(|_| ())
    }
}
