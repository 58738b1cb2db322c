//! The rules of the nodes, and of how many nodes may be out.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::Check;
use crate::address;
use crate::playbook::findings::quoted;
use crate::playbook::{Node, Registry};
use crate::text;

impl Node {
    /// Returns the node's name: its `name`, or the host of its ssh destination; for `local`, the host of its
    /// address.
    #[must_use]
    pub fn display_name(&self) -> &str {
        match &self.name {
            Some(name) => name,
            None if self.ssh == "local" => host(&self.address),
            None => {
                let destination = self.ssh.strip_prefix("ssh://").unwrap_or(&self.ssh);
                host(destination.rsplit_once('@').map_or(destination, |(_, host)| host))
            }
        }
    }
}

/// Returns a destination without its port. A destination with several colons has no port: it is a bare IPv6
/// address.
fn host(destination: &str) -> &str {
    if let Some((host, _)) = destination.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return host;
    }
    match destination.split_once(':') {
        Some((host, port)) if !port.contains(':') => host,
        _ => destination,
    }
}

impl Check<'_> {
    pub(super) fn fleet(&mut self) {
        self.nodes();
        self.capacity();
        self.registries();
    }

    fn nodes(&mut self) {
        let (tree, nodes) = (self.tree, &self.playbook.nodes);
        let (mut names, mut addresses) = (BTreeMap::new(), BTreeMap::new());
        let other = |first: usize| tree.locate(&format!("nodes[{first}]")).1;
        for (index, node) in nodes.iter().enumerate() {
            self.address(index, node);
            self.destination(&format!("nodes[{index}].ssh"), &node.ssh);
            let path = |key: &str| format!("nodes[{index}].{key}");
            let key = if node.name.is_some() { "name" } else { "ssh" };
            // The address names a `local` node.
            let is_named = self.known(&path(key))
                && (key == "name" || node.ssh != "local" || self.known(&path("address")));
            let name = node.display_name();
            if let Some(first) = is_named.then(|| names.insert(name, index)).flatten() {
                let message = format!("two nodes are called `{}`", quoted(name));
                self.add(&path(key), message, |problem| {
                    problem.related(other(first), "the other one").help("give each its own `name`")
                });
            }
            let is_known = self.known(&path("address"));
            let canonical = address::canonical(&node.address);
            let earlier = is_known.then(|| addresses.insert(canonical, index));
            if let Some(first) = earlier.flatten() {
                let message = format!("two nodes have the address `{}`", quoted(&node.address));
                self.add(&path("address"), message, |problem| {
                    problem.related(other(first), "the other one")
                });
            }
        }
    }

    fn address(&mut self, index: usize, node: &Node) {
        let path = format!("nodes[{index}].address");
        let shown = quoted(&node.address);
        if let Some(why) = address::wrong(&node.address) {
            self.wrong(
                &path,
                format!("`{shown}` is not an address like `10.0.1.11:8080`"),
                |problem| problem.help(why),
            );
            return;
        }
        let follows_keys = self.playbook.registries().any(|(path, registry)| {
            matches!(registry, Registry::ConsulKv { .. }) && self.known(&format!("{path}.type"))
        });
        let host = address::host_of(&node.address);
        let is_named = host.parse::<Ipv4Addr>().is_err();
        if follows_keys && is_named {
            let has = if address::is_ipv6(host) { "an IPv6 address" } else { "a name" };
            let message = format!("`{shown}` has {has} where the registry needs an IPv4 address");
            self.wrong(&path, message, |problem| {
                problem.help("gateways that follow Consul's KV store read each key as `IPv4:port`")
            });
        }
    }

    pub(super) fn destination(&mut self, path: &str, destination: &str) {
        let host = destination.rsplit_once('@').map_or(destination, |(_, host)| host);
        let why = if host.is_empty() {
            "no host is given"
        } else if destination.starts_with('-') || host.starts_with('-') {
            "ssh would read it as an option"
        } else if destination
            .contains(|character: char| character.is_whitespace() || character.is_control())
        {
            "it has a blank or a control character"
        } else {
            return;
        };
        self.wrong(
            path,
            format!("`{}` is not an ssh destination", quoted(destination)),
            |problem| {
                problem.help(why).help(
                    "write `[user@]host[:port]`, an alias of your ssh configuration, or `local`",
                )
            },
        );
    }

    fn capacity(&mut self) {
        let (strategy, total) = (&self.playbook.strategy, self.playbook.nodes.len());
        let counted = self.known("nodes") && self.sound(&["strategy.min_available"]);
        if counted && strategy.min_available.of(total).max(1) >= total {
            let message = format!(
                "with {} and `min_available` {} no node may leave rotation",
                text::count(total, "node"),
                strategy.min_available
            );
            let path = "strategy.min_available";
            let path = if self.given(path) { path } else { "nodes" };
            self.add(path, message, |problem| {
                problem.help(
                    "at least one node must be spare, and the last node never leaves rotation",
                )
            });
        }
        for (index, amount) in strategy.batches.0.iter().enumerate() {
            if amount.of(total.max(1)) == 0 {
                self.wrong(
                    &format!("strategy.batches[{index}]"),
                    "a batch without nodes",
                    |problem| problem.help("write a count from 1, or a percentage from `1%`"),
                );
            }
        }
    }
}
