//! The parts of a lab.

use crate::artifact::Release;
use crate::consul::Access;
use crate::gateway::{GatewayConfig, HaproxyConfig, Renderer};
use crate::node::NodeConfig;

/// The parts of a lab.
#[derive(Clone, Debug)]
pub struct LabConfig {
    /// The SSH hosts.
    pub nodes: Vec<NodeConfig>,
    /// The number of Consul servers: one, or three for an election.
    pub consul_servers: u8,
    /// How Consul is protected and reached.
    pub consul_access: Access,
    /// The gateways.
    pub gateways: Vec<GatewayConfig>,
    /// The other gateways, with HAProxy.
    pub haproxies: Vec<HaproxyConfig>,
    /// The number of Caddys; where nodes have agents, they follow Consul's DNS.
    pub caddies: u8,
    /// The number of Envoys.
    pub envoys: u8,
    /// The number of nginx instances that resolve their servers; they need agents.
    pub resolvers: u8,
    /// The renderer of each nginx with a rendered list; they need agents.
    pub rendered: Vec<Renderer>,
    /// The number of Traefiks; where nodes have agents, they follow Consul's catalog.
    pub traefiks: u8,
    /// The release that runs at the start; later ones have its delays.
    pub service: Release,
    /// Whether rollgate reaches each part over a wire of its own, which can be cut.
    pub wired: bool,
    /// Whether each node has a Consul agent that owns its instance of the service.
    pub agents: bool,
}

impl LabConfig {
    /// Returns a lab of ordinary nodes that run version 1, one Consul server, and these gateways.
    #[must_use]
    pub fn new(nodes: usize, gateways: Vec<GatewayConfig>) -> Self {
        Self {
            nodes: vec![NodeConfig::default(); nodes],
            consul_servers: 1,
            consul_access: Access::Open,
            gateways,
            haproxies: Vec::new(),
            caddies: 0,
            envoys: 0,
            resolvers: 0,
            rendered: Vec::new(),
            traefiks: 0,
            service: Release::new("1"),
            wired: false,
            agents: false,
        }
    }
}
