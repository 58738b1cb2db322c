//! Starts the parts of a lab in order, and writes the registry.

use std::fs;
use std::mem;
use std::net::SocketAddr;

use anyhow::{Context, Result};

use super::{Lab, LabConfig, UP};
use crate::consul::{Agent, Consul, DNS_PORT};
use crate::gateway::{Caddy, Envoy, Gateway, Haproxy, Program, Rendered, Resolver, Traefik};
use crate::home::Home;
use crate::node::Node;
use crate::part_kind;
use crate::pool::PREFIX;
use crate::process::Nursery;
use crate::ssh::Client;
use crate::tools;
use crate::wire::Wires;

impl Lab {
    /// Starts a lab and returns when every part answers.
    ///
    /// # Errors
    ///
    /// When a program is missing, the user is not root, or a part does not come up.
    pub fn start(mut config: LabConfig) -> Result<Self> {
        tools::require_root()?;
        let home = Home::claim()?;
        let directory = home.directory();
        let nursery = Nursery::start()?;
        let mut consul =
            Consul::start_all(&nursery, &home, config.consul_servers, config.consul_access)?;

        for name in ["bin", "dist", "home"] {
            fs::create_dir(directory.join(name))?;
        }
        fs::copy(tools::lab_binary()?, directory.join("bin/lab"))
            .context("could not copy the lab binary")?;
        let client = Client::create(directory, config.wired)?;
        let mut nodes =
            part_kind::NODE.start_all(&home, mem::take(&mut config.nodes), |name, ip, node| {
                let installed = node.release.clone().unwrap_or_else(|| config.service.clone());
                let archive = installed.pack(&directory.join("dist"))?;
                let installed = (installed, &*archive);
                let mut node = Node::prepare(&nursery, directory, name, ip, node, installed)?;
                node.boot()?;
                Ok(node)
            })?;
        client.write_config(&nodes)?;
        client.write_known_hosts(&nodes)?;

        consul.wait_for_leader()?;
        consul.let_gateways_read()?;
        for node in &nodes {
            consul.put(&format!("{PREFIX}{}", node.address()), UP)?;
        }
        for node in &mut nodes {
            node.wait_until_up()?;
        }
        let mut agents = Vec::new();
        for node in nodes.iter().filter(|_| config.agents) {
            let servers = consul.ips();
            let service = (node.address(), node.check());
            agents.push(Agent::start(&nursery, directory, node.name(), service, &servers)?);
        }
        agents.iter().try_for_each(Agent::register)?;
        let mut lab = Self {
            gateways: Vec::new(),
            haproxies: Vec::new(),
            caddies: Vec::new(),
            envoys: Vec::new(),
            resolvers: Vec::new(),
            rendered: Vec::new(),
            traefiks: Vec::new(),
            nodes,
            consul,
            agents,
            client,
            service: config.service.clone(),
            wires: None,
            nursery,
            home,
        };
        let wired = config.wired;
        lab.start_gateways(config)?;
        if wired {
            lab.wires = Some(Wires::lay(&lab.sockets())?);
        }
        Ok(lab)
    }

    /// Starts the gateways of every kind, for running nodes.
    fn start_gateways(&mut self, config: LabConfig) -> Result<()> {
        let (home, nursery, consul) = (&self.home, &self.nursery, &self.consul);
        let lab = home.directory();
        let nodes: Vec<_> = self.nodes.iter().map(Node::address).collect();
        let folder = || self.nodes.first().map(Node::directory).context("a gateway needs a node");
        let program = |name, ip| Program::new(nursery, lab, name, ip);
        let servers = consul.addresses();
        let server = servers.first().context("there is no Consul server")?;
        let dns = consul.ips().into_iter().map(|ip| (ip, DNS_PORT).into());
        let dns: Vec<SocketAddr> = dns.collect();
        let asked = *dns.first().context("there is no Consul server")?;

        self.gateways =
            part_kind::GATEWAY.start_all(home, config.gateways, |name, ip, config| {
                let lists = (&servers[..], &nodes[..]);
                let mut gateway = Gateway::prepare(nursery, lab, name, ip, config, lists)?;
                gateway.start()?;
                Ok(gateway)
            })?;
        self.haproxies =
            part_kind::HAPROXY.start_all(home, config.haproxies, |name, ip, config| {
                Haproxy::start(program(name, ip)?, folder()?, config, (nodes.clone(), dns.clone()))
            })?;
        self.caddies = part_kind::CADDY.start_all(home, 0..config.caddies, |name, ip, _| {
            Caddy::start(program(name, ip)?, (&nodes, config.agents.then_some(asked)))
        })?;
        self.envoys = part_kind::ENVOY.start_all(home, 0..config.envoys, |name, ip, _| {
            Envoy::start(program(name, ip)?, folder()?, &nodes)
        })?;
        self.resolvers =
            part_kind::RESOLVER.start_all(home, 0..config.resolvers, |name, ip, _| {
                Resolver::start(program(name, ip)?, asked)
            })?;
        self.rendered =
            part_kind::RENDERED.start_all(home, &config.rendered, |name, ip, renderer| {
                Rendered::start(name, ip, renderer, &self.nodes, server)
            })?;
        self.traefiks = part_kind::TRAEFIK.start_all(home, 0..config.traefiks, |name, ip, _| {
            let catalog = config.agents.then(|| server.replace("http://", ""));
            Traefik::start(program(name, ip)?, folder()?, (&nodes, catalog))
        })?;
        Ok(())
    }
}
