//! Consul's maintenance mode: a node's instance of a service, at the agent that owns it.
//!
//! Only the agent that owns an instance knows its maintenance. The agent is found through the catalog, and asked
//! each time. An instance that another operator has put into maintenance stays so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::agents::{Named, is_host};
use super::owned::OwnedInstance;
use super::switch::{Error, Rights, States, Switch, WRITE_PATIENCE, WriteToken, Written};
use crate::address;
use crate::consul::{self, Client, Index, Instance, Maintenance, Others};
use crate::mark::Mark;
use crate::playbook::Extent;
use crate::spec::{NodeSpec, Spec};
use crate::text;
use crate::url::{self, segment};
use crate::world::{Permit, World};

/// The start of rollgate's reasons. The release follows.
const OURS: &str = "rollgate: release ";

/// How long a query for changes waits for one.
const WAIT: Duration = Duration::from_secs(60);

/// The pause before Consul is asked for changes again, after it did not answer.
const WAIT_AGAIN: Duration = Duration::from_secs(5);

/// How many agents are asked at once.
const AT_ONCE: usize = 32;

/// The instances of a service.
#[derive(Debug)]
pub(super) struct Service<W> {
    client: Arc<Client<W>>,
    name: String,
    extent: Extent,
    reason: String,
    named: Named,
    /// The permit for a write that a node sends to its own agent.
    permit: Permit,
}

impl<W> Clone for Service<W> {
    fn clone(&self) -> Self {
        let (name, reason, named) = (self.name.clone(), self.reason.clone(), self.named.clone());
        let (client, permit) = (self.client.clone(), self.permit.clone());
        Self { client, name, extent: self.extent, reason, named, permit }
    }
}

impl<W: World> Service<W> {
    pub(super) fn new(client: Arc<Client<W>>, service: &str, extent: Extent, spec: &Spec) -> Self {
        let named = Named::of(spec, &client);
        let reason = format!("{OURS}{}", spec.release);
        let name = service.to_owned();
        Self { client, name, extent, reason, named, permit: Permit::default() }
    }

    /// The same; a change that a node sends to its agent needs this permit.
    pub(super) fn permitted(self, permit: Permit) -> Self {
        Self { permit, ..self }
    }

    pub(super) async fn look(&self, spec: &Spec) -> Result<States, String> {
        let instances = self.client.instances(&self.name).await;
        let instances = instances.map_err(|error| error.to_string())?;
        if instances.is_empty() {
            let service = &self.name;
            return Err(format!(
                "Consul has no instance of the service {service}, or the token may not read it"
            ));
        }
        let mut at: BTreeMap<String, Vec<Instance>> = BTreeMap::new();
        for instance in instances {
            at.entry(address::canonical(&instance.address)).or_default().push(instance);
        }
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut looks = JoinSet::new();
        for node in &spec.nodes {
            let (service, node, places) = (self.clone(), node.clone(), places.clone());
            let instances = at.get(&address::canonical(&node.address)).cloned().unwrap_or_default();
            looks.spawn(async move {
                let _place = places.acquire().await;
                let look = service.lasting(&node, &instances).await;
                (node.name.clone(), look.map(Into::into))
            });
        }
        Ok(looks.join_all().await.into_iter().collect())
    }

    /// Whether a node is in maintenance, if that would last while the node is away.
    async fn lasting(&self, node: &NodeSpec, instances: &[Instance]) -> Result<Mark, String> {
        let switch = self.found(node, instances).await.map_err(|error| error.to_string())?;
        if let WriteToken::Instance(owned) = &switch.token
            && self.extent == Extent::Instance
        {
            let removal = owned.agent(&self.client).removal(&owned.id).await;
            let removal = removal.map_err(|error| format!("agent {}: {error}", owned.place()))?;
            if let Some(after) = removal {
                outlasts(after, node.longest_absence())?;
            }
        }
        Ok(switch.mark)
    }

    pub(super) async fn read(&self, node: &NodeSpec) -> Result<Switch, Error> {
        let instances = self.client.instances(&self.name).await;
        let mut instances = instances.map_err(|error| Error::of(&error, None))?;
        // Many nodes can be read at once, and wait for their agents.
        instances.retain(|instance| address::same(&instance.address, &node.address));
        instances.shrink_to_fit();
        self.found(node, &instances).await
    }

    async fn found(&self, node: &NodeSpec, instances: &[Instance]) -> Result<Switch, Error> {
        let service = &self.name;
        let instance = only(instances, service, &node.address)?;
        if self.extent == Extent::Instance {
            let unfit = |error: url::Unfit| Error::Failed(format!("an instance's id: {error}"));
            segment(&instance.id).map_err(unfit)?;
        }
        let agent = self.agent(node, instance)?;
        let remote = node.agent_on_node.then(|| node.host.clone());
        let owned = OwnedInstance { agent, remote, id: instance.id.clone() };
        let place = owned.place();
        let maintenance = owned.agent(&self.client).maintenance(instance).await;
        let maintenance = maintenance.map_err(|error| Error::of(&error, Some(&place)))?;
        let id = text::line(&instance.id, 60);
        let Some(maintenance) = maintenance else {
            return Err(Error::Gone(format!("the agent at {place} does not own {id}")));
        };
        let down = is_ours(self.extent, &maintenance, &id).map_err(Error::Failed)?;
        Ok(Switch {
            name: format!("{service} {id} at {place}"),
            mark: Mark::of(down),
            absent: None,
            strangers: BTreeSet::new(),
            original: if down { "maintenance" } else { "no maintenance" }.into(),
            modify_index: 0,
            token: WriteToken::Instance(owned),
        })
    }

    /// The address of the agent that owns a node's instance: from the playbook, or from the catalog, if that agent
    /// may be asked.
    fn agent(&self, node: &NodeSpec, instance: &Instance) -> Result<String, Error> {
        if let Some(agent) = &node.agent {
            return Ok(agent.clone());
        }
        if !is_host(&instance.node_address) {
            let told = text::line(&instance.node_address, 60);
            let why = format!(
                "Consul's catalog has `{told}` as the address of its agent, which is not a host: set \
                 `registry.agent`"
            );
            return Err(Error::Failed(why));
        }
        let own = self.client.addresses().first().map_or("", String::as_str);
        let told = agent(own, &instance.node_address);
        self.named.refuses(&told).map_or(Ok(told), |why| Err(Error::Failed(why)))
    }

    pub(super) async fn write(&self, owned: &OwnedInstance, down: bool) -> Result<Written, Error> {
        let agent =
            owned.agent(&self.client.with_patience(WRITE_PATIENCE)).permitted(self.permit.clone());
        let extent = match self.extent {
            Extent::Instance => consul::Extent::Instance(&owned.id),
            Extent::Node => consul::Extent::Node,
        };
        match agent.set_maintenance(extent, down, &self.reason).await {
            Ok(()) => Ok(Written::Done(0)),
            Err(error) => Err(Error::of(&error, Some(&owned.place()))),
        }
    }

    /// Returns the next index after a switch may have changed.
    pub(super) async fn changed(&self, since: Index) -> Index {
        let client = self.client.with_patience(Duration::from_secs(1));
        let mut index = since;
        if client.wait_for_checks(&self.name, &mut index, WAIT).await.is_err() {
            tokio::time::sleep(WAIT_AGAIN).await;
        }
        index
    }

    /// Only a change shows whether a token may put instances into maintenance.
    pub(super) async fn may_write(&self) -> Result<Rights, consul::Error> {
        self.client.instances(&self.name).await?;
        Ok(Rights::Untested(format!(
            "only a change shows whether the token may put {} into maintenance (it needs `service:write`, or \
             `node:write` with `registry.maintenance: node`)",
            self.name
        )))
    }
}

/// The only instance at an address.
fn only<'a>(
    instances: &'a [Instance],
    service: &str,
    address: &str,
) -> Result<&'a Instance, Error> {
    let mut at = instances.iter().filter(|instance| address::same(&instance.address, address));
    match (at.next(), at.next()) {
        (Some(instance), None) => Ok(instance),
        (None, _) => Err(Error::Gone(format!("Consul has no instance of {service} at {address}"))),
        (Some(one), Some(other)) => Err(Error::Failed(format!(
            "{} and {} are both at {address}: each would keep the address in rotation; deregister one at its agent, \
             or with /v1/catalog/deregister if that agent is gone",
            named(one),
            named(other)
        ))),
    }
}

/// An instance with its agent: two agents can have the same id, after a registration through a load balancer.
fn named(instance: &Instance) -> String {
    format!("{} at agent {}", text::line(&instance.id, 60), text::line(&instance.node, 60))
}

/// The agent at a node of the catalog, with the scheme and port of Consul's own address.
fn agent(consul: &str, node: &str) -> String {
    let (scheme, rest) = consul.split_once("://").unwrap_or(("http", consul));
    // A unix socket does not show the address of other agents.
    let scheme = if scheme == "https" { "https" } else { "http" };
    let authority = rest.split('/').next().unwrap_or_default();
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    let port = port.filter(|port| port.parse::<u16>().is_ok()).unwrap_or("8500");
    format!("{scheme}://{}", address::join(node, port))
}

/// Returns whether rollgate has put an instance into maintenance. An instance that another operator has put there
/// stays so.
fn is_ours(extent: Extent, found: &Maintenance, id: &str) -> Result<bool, String> {
    let (own, other) = match extent {
        Extent::Instance => (&found.instance, &found.node),
        Extent::Node => (&found.node, &found.instance),
    };
    let ours = |reason: &&String| reason.starts_with(OURS);
    if let Some(reason) = own.iter().find(|reason| !ours(reason)).or(other.as_ref()) {
        return Err(format!(
            "{id}, or all of its agent, is in maintenance for another reason ({}): rollgate does not change it",
            text::line(reason, 80)
        ));
    }
    // An agent that rollgate has put into maintenance must return, together with services that were added in the
    // meantime.
    if extent == Extent::Node && own.is_none() && found.others.count > 0 {
        let Others { count, named } = &found.others;
        let more = count.saturating_sub(named.len());
        let more = (more > 0).then(|| format!("{more} more"));
        let others: Vec<_> = named.iter().map(|id| text::line(id, 40)).chain(more).collect();
        return Err(format!(
            "the agent of {id} also has {}: `registry.maintenance: node` would take them out, too",
            others.join(", ")
        ));
    }
    Ok(own.is_some())
}

/// An instance that Consul removes after it was critical for too long loses its maintenance with its registration.
fn outlasts(removed_after: Duration, away: Duration) -> Result<(), String> {
    if removed_after > away {
        return Ok(());
    }
    Err(format!(
        "Consul removes its instance, and the maintenance with it, after {} in critical state, but an update can take \
         {}: set DeregisterCriticalServiceAfter higher, or `registry.maintenance: node`",
        text::duration(removed_after),
        text::duration(away)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_reached_as_consul_itself_is() {
        for (consul, node, expected) in [
            ("http://10.0.0.5:8500", "10.0.1.1", "http://10.0.1.1:8500"),
            ("https://consul.example.com:8501/", "10.0.1.1", "https://10.0.1.1:8501"),
            ("https://consul.example.com", "10.0.1.1", "https://10.0.1.1:8500"),
            ("unix:///run/consul.sock", "10.0.1.1", "http://10.0.1.1:8500"),
            ("http://10.0.0.5:8500", "fd00::1", "http://[fd00::1]:8500"),
        ] {
            assert_eq!(agent(consul, node), expected, "{consul}");
        }
    }

    /// Gateways treat each of them as a peer: one stays when the other one is in maintenance.
    #[test]
    fn address_with_two_instances_is_refused() {
        let at_agent = |id: &str, address: &str, agent: &str| Instance {
            id: id.into(),
            node: agent.into(),
            node_address: "10.0.1.1".into(),
            address: address.into(),
        };
        let instance = |id: &str, address: &str| at_agent(id, address, "agent-1");
        let instances = [
            instance("app-1", "10.0.1.1:80"),
            instance("app-2", "10.0.1.2:80"),
            instance("app-2-old", "10.0.1.2:80"),
            instance("app-4", "10.0.1.4:80"),
            at_agent("app-4", "10.0.1.4:80", "agent-old"),
        ];
        let only = |address| only(&instances, "app", address);
        assert_eq!(only("10.0.1.1:80"), Ok(&instances[0]));
        let Err(Error::Failed(why)) = only("10.0.1.2:80") else { panic!("two of them") };
        let both = "app-2 at agent agent-1 and app-2-old at agent agent-1 are both at 10.0.1.2:80";
        assert!(why.starts_with(both), "{why}");
        let Err(Error::Failed(why)) = only("10.0.1.4:80") else { panic!("two of them") };
        assert!(why.starts_with("app-4 at agent agent-1 and app-4 at agent agent-old "), "{why}");
        assert!(matches!(only("10.0.1.3:80"), Err(Error::Gone(_))));
        let six = [instance("app-6", "[::1]:80")];
        assert_eq!(super::only(&six, "app", "[0:0::1]:80"), Ok(&six[0]));
    }

    fn reasons(instance: Option<&str>, node: Option<&str>) -> Maintenance {
        let own = |reason: Option<&str>| reason.map(str::to_owned);
        Maintenance { instance: own(instance), node: own(node), others: Others::default() }
    }

    #[test]
    fn only_rollgates_own_maintenance_is_changed() {
        let ours = Some("rollgate: release 1a2b");
        let by = |extent, found: &Maintenance| is_ours(extent, found, "app-1").ok();
        let instance = |found: &Maintenance| by(Extent::Instance, found);
        let node = |found: &Maintenance| by(Extent::Node, found);
        assert_eq!(instance(&reasons(None, None)), Some(false));
        assert_eq!(instance(&reasons(ours, None)), Some(true));
        assert_eq!(node(&reasons(None, ours)), Some(true));
        for foreign in ["", "disk by ann", "not rollgate: release 1"] {
            assert_eq!(instance(&reasons(Some(foreign), None)), None, "{foreign}");
            assert_eq!(instance(&reasons(ours, Some(foreign))), None, "{foreign}");
            assert_eq!(node(&reasons(Some(foreign), ours)), None, "{foreign}");
        }
        // Maintenance by another playbook would last longer than ours.
        assert_eq!(instance(&reasons(ours, ours)), None);
    }

    #[test]
    fn agent_with_other_services_is_not_put_into_maintenance() {
        let found = Maintenance {
            others: Others { count: 1, named: vec!["redis".into()] },
            ..reasons(None, None)
        };
        let error = is_ours(Extent::Node, &found, "app-1").expect_err("others");
        assert!(error.contains("also has redis"), "{error}");
        assert_eq!(is_ours(Extent::Instance, &found, "app-1"), Ok(false));
        // A new version that registers one more service while it is out must not stay out for ever.
        let ours = Some("rollgate: release 1a2b".to_owned());
        let found = Maintenance { node: ours, ..found };
        assert_eq!(is_ours(Extent::Node, &found, "app-1"), Ok(true));
    }

    #[test]
    fn an_instance_must_not_be_removed_while_it_is_away() {
        let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
        assert_eq!(outlasts(hour, minute), Ok(()));
        let error = outlasts(minute, minute).expect_err("too short");
        assert!(error.contains("after 1m in critical state"), "{error}");
    }
}
