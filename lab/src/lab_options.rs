//! Command line options for the parts of a lab, shared by `demo` and `up`.

use clap::{Args, ValueEnum};
use rollgate_lab::{GatewayConfig, LabConfig};

/// How gateways follow the registry, with the names of the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum FollowName {
    /// Every worker by itself; after every answer it sleeps for the interval plus 0–999 ms.
    Upsync,
    /// One worker polls at the interval, for all of them.
    Poll,
    /// Every worker by itself, without lag.
    Immediate,
}

/// The parts of the lab.
#[derive(Args, Clone, Debug)]
pub(crate) struct LabOptions {
    /// SSH hosts, each with the demo service.
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// Gateways.
    #[arg(long, default_value_t = 2)]
    gateways: usize,
    /// Workers of each gateway.
    #[arg(long, default_value_t = 4)]
    workers: u32,
    /// How the gateways follow the registry.
    #[arg(long, value_enum, default_value = "upsync")]
    follow: FollowName,
    /// The gateways' interval, in milliseconds; 5000 is usual for `poll`.
    #[arg(long, value_name = "MS", default_value_t = 500)]
    interval: u64,
    /// Gives the gateways a check of their own: once a second, two successes until a node is routed again.
    #[arg(long)]
    check: bool,
    /// Consul servers: 1 to 3.
    #[arg(long, default_value_t = 1)]
    consul: u8,
}

impl LabOptions {
    /// Returns the lab of these options.
    pub(crate) fn config(&self) -> LabConfig {
        let gateway = match self.follow {
            FollowName::Upsync => GatewayConfig::upsync(self.workers, self.interval),
            FollowName::Poll => GatewayConfig::poll(self.workers, self.interval),
            FollowName::Immediate => GatewayConfig::immediate(self.workers),
        };
        let gateway = if self.check { gateway.with_check(1000, 2, 2) } else { gateway };
        let mut config = LabConfig::new(self.nodes, vec![gateway; self.gateways]);
        config.consul_servers = self.consul;
        config
    }
}
