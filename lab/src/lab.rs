//! The lab itself: it owns the parts, controls them, and ends them.

mod config;
mod start;

use std::env;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result};

use crate::artifact::{Fault, Release};
use crate::audit::Audit;
use crate::consul::{Agent, Consul};
use crate::gateway::{Caddy, Envoy, Gateway, Haproxy, Rendered, Resolver, Traefik};
use crate::home::Home;
use crate::node::Node;
use crate::pool::PREFIX;
use crate::process::Nursery;
use crate::ssh::Client;
use crate::tools;
use crate::wire::Wires;

pub use config::LabConfig;

/// The initial value of every node in the registry.
const UP: &str = r#"{"weight":1,"max_fails":2,"fail_timeout":10,"down":0}"#;

/// A running lab. Dropping it ends every process and removes its directory, unless `LAB_KEEP=1`
/// is set or the thread panics.
#[derive(Debug)]
pub struct Lab {
    // Parts are dropped in this order: first those that use others, the directory last.
    /// The gateways.
    pub gateways: Vec<Gateway>,
    /// The gateways with HAProxy.
    pub haproxies: Vec<Haproxy>,
    /// The Caddys.
    pub caddies: Vec<Caddy>,
    /// The Envoys.
    pub envoys: Vec<Envoy>,
    /// The nginx instances that resolve their servers.
    pub resolvers: Vec<Resolver>,
    /// The nginx instances with a rendered list.
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
    // Every process dies with the nursery's thread, so it outlasts the parts that end theirs in order.
    nursery: Nursery,
    home: Home,
}

impl Lab {
    /// Returns every socket that rollgate uses.
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

    /// Cuts rollgate's wires to the parts at these addresses: nothing passes, and neither side is notified.
    ///
    /// # Errors
    ///
    /// When the lab has no wires, or none to such a part.
    pub fn cut(&self, parts: &[Ipv4Addr]) -> Result<()> {
        self.set_wires(parts, true)
    }

    /// Restores what [`Lab::cut`] has cut; pending bytes arrive.
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

    /// Makes a node's host key unknown.
    ///
    /// # Errors
    ///
    /// When there is no such node, or the file of known hosts cannot be written.
    pub fn forget_host_key(&self, index: usize) -> Result<()> {
        self.client.forget(self.nodes.get(index).context("no such node")?)
    }

    /// Makes a node's host key differ from the known one.
    ///
    /// # Errors
    ///
    /// When there is no such node, or the file of known hosts cannot be written.
    pub fn spoil_host_key(&self, index: usize) -> Result<()> {
        self.client.spoil(self.nodes.get(index).context("no such node")?)
    }

    /// Restores the true host keys of all nodes.
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

    /// Writes `dist/<version>/run`, a release that is a single file, without execute permission.
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
    /// When there is no such node, or Consul does not accept it.
    pub fn mark(&self, index: usize, down: bool) -> Result<()> {
        let value = if down { UP.replace(r#""down":0"#, r#""down":1"#) } else { UP.to_owned() };
        self.consul.put(&self.registry_key(index)?, &value)
    }

    /// Returns a command that runs in the lab's directory, without the user's own settings for
    /// Consul, rollgate or SSH.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.directory()).env("HOME", self.directory().join("home"));
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            let foreign =
                ["CONSUL_", "GITHUB_", "GITLAB_", "JENKINS_", "ROLLGATE_", "RUST_", "SSH_"];
            let proxy = text.to_ascii_lowercase().ends_with("_proxy");
            if proxy || text == "CI" || foreign.iter().any(|prefix| text.starts_with(prefix)) {
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

    /// Returns the processes that commands of [`Lab::command`] have left running: here every process, on the nodes
    /// those of a step.
    ///
    /// # Errors
    ///
    /// When a running node cannot be inspected.
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

    /// Keeps the lab's directory after its end, for a person to read.
    pub fn keep(&mut self) {
        self.home.keep();
    }

    /// Reads the records of services and gateways, and compares them.
    ///
    /// # Errors
    ///
    /// When a file is missing or unreadable.
    pub fn audit(&self) -> Result<Audit> {
        Audit::read(&self.nodes, &self.gateways)
    }
}
