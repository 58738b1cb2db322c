//! A gateway on which scenarios run: the queries of rollgate, and the actions of a scenario.

use std::sync::Arc;
use std::time::Duration;

use rollgate::consul::{Client, SessionFence, Settings};
use rollgate::gateway::{Confirmation, GatewayMonitor, Observation, QueryClient};
use rollgate::mark::Mark;
use rollgate::playbook::load_text;
use rollgate::registry::{Error, Registry, Written};
use rollgate::release::Inputs;
use rollgate::spec::{RegistrySpec, Spec};
use rollgate::world::World;
use serde_json::{Value, json};
use tokio::time::Instant;

/// The time limit of a confirmation.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a confirmation that must fail is tried, beyond the gateway's lag.
pub(crate) const LITTLE: Duration = Duration::from_millis(300);

/// A fault of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ailment {
    /// It does not have the upstream.
    Unknown,
    /// It does not listen.
    Unreachable,
    /// It accepts requests and never answers.
    Silent,
    /// It answers reads; it executes writes and never answers them.
    Swallowing,
    /// It sends this answer to every request.
    Garbage(Vec<u8>),
    /// Its correct answers end after this many bytes, and the connection with them.
    Cut(usize),
}

/// What a scenario can do to a gateway, and learn about it.
pub(crate) trait Hands {
    /// The kind, for messages.
    fn name(&self) -> &str;

    /// Marks a node in the registry, if the gateway has no API of its own.
    fn mark(&self, node: usize, down: bool);

    /// Keeps this many requests in flight at the first node; false when the gateway does not count them.
    fn hold(&self, requests: u64) -> bool;

    /// Returns whether it counts requests in flight, but loses the count before the last one ends.
    fn forgets_the_busy(&self) -> bool {
        false
    }

    /// Restarts the gateway; true when it has lost the marks of nodes.
    fn restart(&self) -> bool;

    /// Returns whether a restart lost its whole list, and nothing has restored it.
    fn has_lost_its_list(&self) -> bool {
        false
    }

    /// Starts a fault; false when this gateway cannot have it.
    fn befall(&self, ailment: Ailment) -> bool;

    /// Lists the first node at another address than the playbook has; false when this gateway cannot.
    fn respell(&self) -> bool {
        false
    }

    /// Returns whether its answer for an unknown upstream differs from that for an empty one.
    fn tells_the_unknown(&self) -> bool {
        true
    }

    /// Stops one worker from following; false when it has only one.
    fn stick(&self) -> bool;

    /// Returns whether every worker has this mark of the node, as far as that can be known.
    fn everybody_has(&self, node: usize, down: bool) -> bool;

    /// The longest lag of a worker.
    fn lag(&self) -> Duration;

    /// How long a confirmation that must fail is tried.
    fn a_while(&self) -> Duration {
        self.lag() * 3 + LITTLE
    }

    /// The fence for writes to Consul, where the gateway's list is there.
    fn guard(&self) -> SessionFence {
        SessionFence { key: String::new(), session: String::new() }
    }

    /// How many writes had an effect, as far as that can be known.
    fn writes(&self) -> usize;
}

/// A gateway with everything that queries it.
pub(crate) struct Stage<W> {
    pub(crate) spec: Spec,
    pub(crate) hands: Box<dyn Hands>,
    registry: Registry<W>,
    watcher: GatewayMonitor<W>,
    pool: Vec<String>,
}

/// The playbook of a gateway and its nodes.
pub(crate) fn spec_of(gateway: &Value, registry: &Value, nodes: &[String]) -> Spec {
    let node = |(index, address): (usize, &String)| json!({ "name": format!("node-{}", index + 1), "ssh": "local", "address": address });
    let playbook = json!({
        "service": "app",
        "registry": registry,
        "secrets": { "key": { "env": "KEY" } },
        "gateways": [gateway],
        "nodes": nodes.iter().enumerate().map(node).collect::<Vec<_>>(),
        "restart": "true",
        "health": { "http": "http://${{ node.address }}/ping" },
    });
    let loaded = load_text("app.yaml", format!("{playbook:#}"));
    let loaded = loaded.unwrap_or_else(|invalid| panic!("{invalid}"));
    Spec::new(&loaded.playbook, &Inputs::default()).expect("complete")
}

impl<W: World> Stage<W> {
    /// The stage of a gateway whose Consul is at this address.
    pub(crate) fn new(world: &Arc<W>, spec: Spec, hands: Box<dyn Hands>, consul: &str) -> Self {
        let address = |name: &str| (name == "CONSUL_HTTP_ADDR").then(|| consul.to_owned());
        let settings = Settings::from_environment(address).expect("settings");
        let consul = Arc::new(Client::new(world.clone(), settings));
        let query_client = QueryClient::new(world.clone(), Some(&*consul));
        Self {
            registry: Registry::new(world, &consul, &spec),
            watcher: GatewayMonitor::new(query_client, &spec.gateways[0]),
            pool: spec.nodes.iter().map(|node| node.address.clone()).collect(),
            spec,
            hands,
        }
    }

    pub(crate) fn address(&self, node: usize) -> &str {
        &self.pool[node]
    }

    /// Returns whether the gateway has an API of its own that marks nodes.
    pub(crate) fn is_switched(&self) -> bool {
        self.spec.registries == [RegistrySpec::Gateway]
    }

    /// Marks a node the way a release does.
    pub(crate) async fn turn(&self, node: usize, down: bool) -> Result<(), Error> {
        self.turn_after(node, down, || {}).await
    }

    /// The same; something happens between the read and the write.
    pub(crate) async fn turn_after(
        &self,
        node: usize,
        down: bool,
        then: impl FnOnce(),
    ) -> Result<(), Error> {
        if !self.is_switched() {
            then();
            self.hands.mark(node, down);
            return Ok(());
        }
        let node = &self.spec.nodes[node];
        let switch = self.registry.read(node).await?;
        then();
        let written = self.registry.write(&self.hands.guard(), node, &switch, down).await?;
        assert!(matches!(written, Written::Done(_)), "{written:?}");
        Ok(())
    }

    /// Returns why a node may be listed under another name; none where the gateway has no API of its own.
    pub(crate) async fn absent(&self, node: usize) -> Option<Result<Option<String>, Error>> {
        if !self.is_switched() {
            return None;
        }
        let switch = self.registry.read(&self.spec.nodes[node]).await;
        Some(switch.map(|switch| switch.absent))
    }

    /// Returns the mark of a node by the gateway's API; none where it has no such API.
    pub(crate) async fn marked(&self, node: usize) -> Option<Result<Mark, Error>> {
        if !self.is_switched() {
            return None;
        }
        let switch = self.registry.read(&self.spec.nodes[node]).await;
        Some(switch.map(|switch| switch.mark))
    }

    /// Confirms a node out or in, counted from now.
    pub(crate) async fn confirm(&self, node: usize, routed: bool) -> Result<Confirmation, String> {
        let now = Instant::now();
        self.confirm_since(node, routed, now).await
    }

    /// Tries to confirm a node out or in, for a short time.
    pub(crate) async fn try_to_confirm(
        &self,
        node: usize,
        routed: bool,
    ) -> Result<Confirmation, String> {
        let (now, address) = (Instant::now(), self.address(node));
        let deadline = now + self.hands.a_while();
        let proof = self.watcher.confirm(address, routed, now, deadline, |_| {}).await;
        proof.map_err(|unproven| unproven.seen)
    }

    /// The same, counted from the write of the mark.
    pub(crate) async fn confirm_since(
        &self,
        node: usize,
        routed: bool,
        told: Instant,
    ) -> Result<Confirmation, String> {
        let (address, deadline) = (self.address(node), Instant::now() + PATIENCE);
        let proof = self.watcher.confirm(address, routed, told, deadline, |_| {}).await;
        let proof = proof.map_err(|unproven| unproven.seen)?;
        let name = self.hands.name();
        assert!(
            self.hands.everybody_has(node, !routed),
            "{name}: a proof, and a worker has {address} otherwise"
        );
        Ok(proof)
    }

    pub(crate) async fn observe(&self) -> Result<Observation, String> {
        self.watcher.observe().await
    }

    pub(crate) async fn in_flight(&self, node: usize) -> Result<u64, String> {
        self.watcher.in_flight(self.address(node)).await.map(|(count, _)| count)
    }
}
