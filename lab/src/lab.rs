//! The lab itself: starts the parts in order, writes the registry, and takes everything down.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::artifact::{Fault, Release};
use crate::audit::Audit;
use crate::consul::{Access, Agent, Consul, DNS_PORT};
use crate::gateway::{
    Caddy, Envoy, Gateway, GatewayConfig, Haproxy, HaproxyConfig, PREFIX, Rendered, Renderer,
    Resolver, Traefik,
};
use crate::home::Home;
use crate::node::{Node, NodeConfig};
use crate::playbook;
use crate::process::Nursery;
use crate::ssh::Client;
use crate::tools;
use crate::wire::Wires;

/// The last numbers of the addresses of the first gateway, HAProxy, Caddy, Envoy, Traefik and node.
const FIRST_GATEWAY: u8 = 11;
const FIRST_HAPROXY: u8 = 61;
const FIRST_CADDY: u8 = 81;
const FIRST_ENVOY: u8 = 86;
const FIRST_TRAEFIK: u8 = 91;
const FIRST_NODE: u8 = 101;

/// What every node's value in the registry is at the start.
const UP: &str = r#"{"weight":1,"max_fails":2,"fail_timeout":10,"down":0}"#;

/// What a lab consists of.
#[derive(Clone, Debug)]
pub struct LabConfig {
    /// The SSH hosts.
    pub nodes: Vec<NodeConfig>,
    /// The number of Consul servers: one, or three for an election.
    pub consul_servers: u8,
    /// How Consul is guarded and reached.
    pub consul_access: Access,
    /// The gateways.
    pub gateways: Vec<GatewayConfig>,
    /// The other gateways, with HAProxy.
    pub haproxies: Vec<HaproxyConfig>,
    /// The number of Caddys; where nodes have agents, they follow Consul's DNS.
    pub caddies: u8,
    /// The number of Envoys.
    pub envoys: u8,
    /// The number of nginx that resolve; they need agents.
    pub resolvers: u8,
    /// Who renders the list of an nginx; they need agents.
    pub rendered: Vec<Renderer>,
    /// The number of Traefiks; where nodes have agents, they follow Consul's catalog.
    pub traefiks: u8,
    /// The release that runs at the start; later ones have its delays.
    pub service: Release,
    /// Whether rollgate reaches each part by a wire of its own, which can be cut.
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

/// A running lab. Dropping it ends every process and removes its directory, unless `LAB_KEEP=1`
/// is set or the thread panics.
#[derive(Debug)]
pub struct Lab {
    // Parts are dropped in this order: first what uses others, the directory last.
    /// The gateways.
    pub gateways: Vec<Gateway>,
    /// The gateways with HAProxy.
    pub haproxies: Vec<Haproxy>,
    /// The Caddys.
    pub caddies: Vec<Caddy>,
    /// The Envoys.
    pub envoys: Vec<Envoy>,
    /// The nginx that resolve.
    pub resolvers: Vec<Resolver>,
    /// The nginx whose list is rendered.
    pub rendered: Vec<Rendered>,
    /// The Traefiks.
    pub traefiks: Vec<Traefik>,
    /// The SSH hosts.
    pub nodes: Vec<Node>,
    /// The registry.
    pub consul: Consul,
    /// The agents of the nodes, where they have some.
    pub agents: Vec<Agent>,
    client: Client,
    service: Release,
    wires: Option<Wires>,
    // Every process dies with this one's thread, so it outlasts those who end theirs in order.
    _nursery: Nursery,
    home: Home,
}

fn start_caddies(
    nursery: &Nursery,
    home: &Home,
    number: u8,
    nodes: (&[SocketAddr], Option<SocketAddr>),
) -> Result<Vec<Caddy>> {
    let start = |index| {
        let (name, ip) = (format!("caddy-{}", index + 1), home.address(FIRST_CADDY + index));
        let mut caddy = Caddy::prepare(nursery, home.directory(), name, ip, nodes)?;
        caddy.start()?;
        Ok(caddy)
    };
    (0..number).map(start).collect()
}

fn start_traefiks(
    nursery: &Nursery,
    home: &Home,
    number: u8,
    folder: Option<&Path>,
    (nodes, consul): (&[SocketAddr], Option<&Consul>),
) -> Result<Vec<Traefik>> {
    let consul = consul.and_then(|consul| consul.addresses().first().cloned());
    let catalog = consul.map(|address| address.replace("http://", ""));
    let start = |index| {
        let (name, ip) = (format!("traefik-{}", index + 1), home.address(FIRST_TRAEFIK + index));
        let places = (home.directory(), folder.context("Traefik needs a node")?);
        let lists = (nodes, catalog.clone());
        let mut traefik = Traefik::prepare(nursery, places, name, ip, lists)?;
        traefik.start()?;
        Ok(traefik)
    };
    (0..number).map(start).collect()
}

impl Lab {
    /// Starts a lab and returns when every part answers.
    ///
    /// # Errors
    ///
    /// When a program is missing, the user is not root, or a part does not come up.
    pub fn start(config: LabConfig) -> Result<Self> {
        tools::require_root()?;
        ensure!(config.nodes.len() <= usize::from(u8::MAX - FIRST_NODE), "too many nodes");
        ensure!(
            config.gateways.len() <= usize::from(FIRST_HAPROXY - FIRST_GATEWAY),
            "too many gateways"
        );
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
        let mut nodes = Vec::new();
        for (host, node) in (FIRST_NODE..).zip(config.nodes) {
            let installed = node.release.clone().unwrap_or_else(|| config.service.clone());
            let archive = installed.pack(&directory.join("dist"))?;
            let name = format!("node-{}", host - FIRST_NODE + 1);
            let ip = home.address(host);
            let mut node =
                Node::prepare(&nursery, directory, name, ip, node, (installed, &archive))?;
            node.boot()?;
            nodes.push(node);
        }
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
        let addresses: Vec<_> = nodes.iter().map(Node::address).collect();
        let mut gateways = Vec::new();
        for (host, gateway) in (FIRST_GATEWAY..).zip(config.gateways) {
            let name = format!("gw-{}", host - FIRST_GATEWAY + 1);
            let ip = home.address(host);
            let lists = (&consul.addresses()[..], &addresses[..]);
            let mut gateway = Gateway::prepare(&nursery, directory, name, ip, gateway, lists)?;
            gateway.start()?;
            gateways.push(gateway);
        }
        let mut haproxies = Vec::new();
        for (host, haproxy) in (FIRST_HAPROXY..).zip(config.haproxies) {
            let name = format!("ha-{}", host - FIRST_HAPROXY + 1);
            let folder = nodes.first().context("HAProxy needs a node")?.directory();
            let dns = consul.ips().into_iter().map(|ip| (ip, DNS_PORT).into()).collect();
            let lists = (addresses.clone(), dns);
            let places = (directory, folder);
            let ip = home.address(host);
            let mut haproxy = Haproxy::prepare(&nursery, places, name, ip, haproxy, lists)?;
            haproxy.start()?;
            haproxies.push(haproxy);
        }
        let dns = consul.ips().first().map(|ip| (*ip, DNS_PORT).into());
        let list = (&addresses[..], dns.filter(|_| config.agents));
        let caddies = start_caddies(&nursery, &home, config.caddies, list)?;
        let mut envoys = Vec::new();
        for index in 0..config.envoys {
            let (name, ip) = (format!("envoy-{}", index + 1), home.address(FIRST_ENVOY + index));
            let folder = nodes.first().context("Envoy needs a node")?.directory();
            let mut envoy = Envoy::prepare(&nursery, (directory, folder), name, ip, &addresses)?;
            envoy.start()?;
            envoys.push(envoy);
        }
        let resolvers = Resolver::start_all(&nursery, &home, config.resolvers, &consul)?;
        let rendered = Rendered::start_all(&home, &config.rendered, &nodes, &consul)?;
        let list = (&addresses[..], config.agents.then_some(&consul));
        let folder = nodes.first().map(Node::directory);
        let traefiks = start_traefiks(&nursery, &home, config.traefiks, folder, list)?;
        let mut lab = Self {
            gateways,
            haproxies,
            caddies,
            envoys,
            resolvers,
            rendered,
            traefiks,
            nodes,
            consul,
            agents,
            client,
            service: config.service,
            wires: None,
            _nursery: nursery,
            home,
        };
        if config.wired {
            lab.wires = Some(Wires::lay(&lab.sockets())?);
        }
        Ok(lab)
    }

    /// Every socket of a part that rollgate has to do with.
    fn sockets(&self) -> Vec<(Ipv4Addr, u16)> {
        let mut sockets = self.consul.sockets();
        sockets.extend(self.gateways.iter().map(Gateway::socket));
        sockets.extend(self.nodes.iter().flat_map(Node::sockets));
        sockets
    }

    /// Returns whether rollgate reaches each part by a wire of its own.
    #[must_use]
    pub fn is_wired(&self) -> bool {
        self.wires.is_some()
    }

    /// Cuts rollgate's wires to the parts at these addresses: nothing passes, and nobody is told.
    ///
    /// # Errors
    ///
    /// When the lab has no wires, or none to such a part.
    pub fn cut(&self, parts: &[Ipv4Addr]) -> Result<()> {
        self.set_wires(parts, true)
    }

    /// Mends what [`Lab::cut`] has cut; what was under way arrives.
    ///
    /// # Errors
    ///
    /// When the lab has no wires, or none to such a part.
    pub fn mend(&self, parts: &[Ipv4Addr]) -> Result<()> {
        self.set_wires(parts, false)
    }

    fn set_wires(&self, parts: &[Ipv4Addr], cut: bool) -> Result<()> {
        let wires = self.wires.as_ref().context("the lab was started without wires")?;
        parts.iter().try_for_each(|part| wires.cut(*part, cut))
    }

    /// Returns the directory that holds everything the lab writes.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.home.directory()
    }

    /// Returns the configuration file for `ssh -F`.
    #[must_use]
    pub fn ssh_config(&self) -> PathBuf {
        self.client.config()
    }

    /// Makes a node a host whose key nobody has seen yet.
    ///
    /// # Errors
    ///
    /// When there is no such node, or the file of known hosts cannot be written.
    pub fn forget_host_key(&self, index: usize) -> Result<()> {
        self.client.forget(self.nodes.get(index).context("no such node")?)
    }

    /// Makes a node a host whose key differs from the known one.
    ///
    /// # Errors
    ///
    /// When there is no such node, or the file of known hosts cannot be written.
    pub fn spoil_host_key(&self, index: usize) -> Result<()> {
        self.client.spoil(self.nodes.get(index).context("no such node")?)
    }

    /// Puts the true host keys of all nodes back.
    ///
    /// # Errors
    ///
    /// When the file of known hosts cannot be written.
    pub fn restore_host_keys(&self) -> Result<()> {
        self.client.write_known_hosts(&self.nodes)
    }

    /// Builds `dist/app-<version>.tar.gz`, with the delays of the lab's service and this fault.
    ///
    /// # Errors
    ///
    /// When the archive cannot be written.
    pub fn artifact(&self, version: &str, fault: Fault) -> Result<PathBuf> {
        self.artifact_of(&Release { version: version.to_owned(), fault, ..self.service.clone() })
    }

    /// Builds `dist/app-<version>.tar.gz` for a release.
    ///
    /// # Errors
    ///
    /// When the archive cannot be written.
    pub fn artifact_of(&self, release: &Release) -> Result<PathBuf> {
        release.pack(&self.directory().join("dist"))
    }

    /// Writes `dist/<version>/run`, a release that is a single file, without a right to execute it.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn single_file(&self, version: &str) -> Result<PathBuf> {
        let release = Release { version: version.to_owned(), ..self.service.clone() };
        release.write_script(&self.directory().join("dist").join(version))
    }

    /// Returns the registry's key of a node.
    ///
    /// # Errors
    ///
    /// When there is no such node.
    pub fn registry_key(&self, index: usize) -> Result<String> {
        let node = self.nodes.get(index).context("no such node")?;
        Ok(format!("{PREFIX}{}", node.address()))
    }

    /// Writes a node's `down` field by hand, with the other fields at their defaults.
    ///
    /// # Errors
    ///
    /// When there is no such node, or Consul does not take it.
    pub fn mark(&self, index: usize, down: bool) -> Result<()> {
        let value = if down { UP.replace(r#""down":0"#, r#""down":1"#) } else { UP.to_owned() };
        self.consul.put(&self.registry_key(index)?, &value)
    }

    /// Writes `app.yaml`, a playbook for this lab, after `edit` has changed it.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn playbook(&self, edit: impl FnOnce(&mut Value)) -> Result<PathBuf> {
        self.playbook_named("app.yaml", edit)
    }

    /// Writes a playbook under a name of its own.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn playbook_named(&self, name: &str, edit: impl FnOnce(&mut Value)) -> Result<PathBuf> {
        let mut playbook = playbook::describe(self);
        edit(&mut playbook);
        let path = self.directory().join(name);
        fs::write(&path, format!("{playbook:#}\n"))
            .with_context(|| format!("could not write {}", path.display()))?;
        Ok(path)
    }

    /// Returns a command that runs in the lab's directory, without the user's own settings for
    /// Consul, rollgate or SSH.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.directory()).env("HOME", self.directory().join("home"));
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            let foreign = ["CONSUL_", "ROLLGATE_", "RUST_", "SSH_"];
            let proxy = text.to_ascii_lowercase().ends_with("_proxy");
            if proxy || foreign.iter().any(|prefix| text.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command
    }

    /// Runs a program, such as rollgate, to its end.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn run(&self, program: &Path, arguments: &[&str]) -> Result<Output> {
        self.command(program)
            .args(arguments)
            .output()
            .with_context(|| format!("could not run {}", program.display()))
    }

    /// Returns what commands of [`Lab::command`] have left running: here every process, on the nodes those that
    /// belong to a step.
    ///
    /// # Errors
    ///
    /// When a node that is on cannot be looked at.
    pub fn leftovers(&self) -> Result<Vec<String>> {
        const STEPS: [&str; 3] = ["/srv/app/ctl ", "cat >", "tar -x"];
        let mut left = tools::processes_with_home(&self.directory().join("home"));
        for node in self.nodes.iter().filter(|node| node.is_on()) {
            let output = node.exec("ps -eo args")?;
            let text = String::from_utf8_lossy(&output.stdout);
            let lines = text.lines().filter(|line| STEPS.iter().any(|step| line.contains(step)));
            left.extend(lines.map(|line| format!("{}: {line}", node.name())));
        }
        Ok(left)
    }

    /// Lets the lab's directory stay when the lab ends, for a person to read.
    pub fn keep(&mut self) {
        self.home.keep();
    }

    /// Reads what services and gateways noted, and compares.
    ///
    /// # Errors
    ///
    /// When a file is missing or unreadable.
    pub fn audit(&self) -> Result<Audit> {
        Audit::read(&self.nodes, &self.gateways)
    }
}
