//! The contract of `tests/contract` on live gateways: a file for each kind, with its controls and faults.

mod caddy;
mod consul;
mod envoy;
mod haproxy;
mod impostor; // An impostor that answers in a gateway's place.
mod nginx;
mod requests; // Requests in flight.
#[path = "../../contract/scenarios.rs"]
mod scenarios;
#[path = "../../contract/stage.rs"]
mod stage;
mod traefik;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rollgate::world::{Live, LiveSettings};
use rollgate_lab::{Lab, LabConfig, Node, until};
use serde_json::Value;
use tokio::runtime::Runtime;

pub(crate) use impostor::Impostor;
pub(crate) use requests::Requests;
pub(crate) use stage::{Ailment, Hands};
use stage::{Stage, spec_of};

/// How long a lab may take to return to its initial state.
const RENEWAL: Duration = Duration::from_secs(60);

/// How long a host may take to answer; here all of them are near.
const CONNECT: Duration = Duration::from_secs(3);

type Played<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// A scenario with its name.
type Scenario = (&'static str, for<'a> fn(&'a Stage<Live>) -> Played<'a>);

macro_rules! list {
    ($($scenario:ident),+ $(,)?) => {
        &[$((stringify!($scenario), |stage| Box::pin(scenarios::$scenario(stage)))),+]
    };
}

const SCENARIOS: &[Scenario] = scenarios::for_each_scenario!(list);

/// A lab that scenarios share.
pub(crate) type Shared = Rc<RefCell<Lab>>;

/// A lab with a playbook, and the world in which rollgate reaches it.
pub(crate) struct Theatre {
    pub(crate) lab: Shared,
    playbook: Value,
    nodes: Vec<SocketAddr>,
    runtime: Runtime,
    world: Option<Arc<Live>>,
}

impl Theatre {
    fn new(config: LabConfig) -> Self {
        let lab = Lab::start(config).expect("the lab starts");
        let playbook = lab.playbook(|_| {}).expect("a playbook");
        Self::of(lab, &playbook)
    }

    /// The same with a running lab and its playbook.
    pub(crate) fn of(lab: Lab, playbook: &Path) -> Self {
        let playbook = std::fs::read_to_string(playbook).expect("a file");
        let playbook = serde_json::from_str(&playbook).expect("JSON");
        let nodes = lab.nodes.iter().map(Node::address).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let ssh_config = Some(lab.ssh_config());
        let connect_timeout = CONNECT;
        let world =
            Live::new(LiveSettings { ssh_config, connect_timeout, ..LiveSettings::default() });
        let world = Some(Arc::new(world.expect("a world")));
        let lab = Rc::new(RefCell::new(lab));
        Self { lab, playbook, nodes, runtime: runtime.expect("a runtime"), world }
    }

    /// The first gateway of the playbook.
    pub(crate) fn gateway(&self) -> &Value {
        &self.playbook["gateways"][0]
    }

    /// Runs every scenario on a gateway; `hands` renews it before each.
    pub(crate) fn play<H: Hands + 'static>(&self, gateway: &Value, hands: impl Fn() -> H) {
        let registry = &self.playbook["registry"];
        let consul = self.lab.borrow().consul.addresses().remove(0);
        let nodes: Vec<_> = self.nodes.iter().map(ToString::to_string).collect();
        let all = Instant::now();
        for (name, scenario) in SCENARIOS {
            let begun = Instant::now();
            let hands = hands();
            let renewed = begun.elapsed().as_secs_f64();
            let stage = {
                let _inside = self.runtime.enter();
                let world = self.world.as_ref().expect("until the end");
                Stage::new(world, spec_of(gateway, registry, &nodes), Box::new(hands), &consul)
            };
            self.runtime.block_on(scenario(&stage));
            println!(
                "{:5.1} s, {renewed:4.1} s of them before  {name}",
                begun.elapsed().as_secs_f64()
            );
        }
        println!("{:5.1} s in all: {}", all.elapsed().as_secs_f64(), gateway["type"]);
    }
}

impl Drop for Theatre {
    fn drop(&mut self) {
        let world = self.world.take();
        self.runtime.block_on(async { drop(world) });
    }
}

/// Marks a node in Consul: the maintenance of its instance, or its key.
pub(crate) fn mark(lab: &Lab, node: usize, down: bool) {
    match lab.agents.get(node) {
        Some(agent) => agent.maintain(down, "contract").expect("it is marked"),
        None => lab.mark(node, down).expect("it is marked"),
    }
}

/// Marks every node up.
pub(crate) fn mark_all_up(lab: &Lab) {
    (0..lab.nodes.len()).for_each(|node| mark(lab, node, false));
}

/// Returns once the workers of nginx route to every node.
fn wait_for_workers(lab: &Lab) {
    let gateway = &lab.gateways[0];
    let all = until("every worker to route to every node", RENEWAL, || {
        let mut nodes = lab.nodes.iter();
        let all = nodes.all(|node| every_worker_has(gateway, node.address(), false));
        Ok(all.then_some(()))
    });
    all.expect("as it was");
}

/// Returns whether every worker of nginx has this mark of a node, by its own notes.
fn every_worker_has(gateway: &rollgate_lab::Gateway, node: SocketAddr, down: bool) -> bool {
    let workers = gateway.workers_routing_to(&node.to_string()).expect("notes");
    workers == if down { 0 } else { gateway.config().workers as usize }
}

/// Returns the address of an `http://` URL.
fn place(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").parse().expect("ip:port")
}
