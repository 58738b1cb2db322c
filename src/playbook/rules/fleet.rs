//! The rules of what there is: nodes, registry, gateways, and how many nodes may be out.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::{Check, fixed};
use crate::playbook::findings::quoted;
use crate::playbook::{Gateway, HttpTable, InFlight, Node, Registry, Template};
use crate::text;

impl Node {
    /// Returns what the node is called: its `name`, or the host of its ssh destination; for `local`, that of
    /// its address.
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

impl Gateway {
    /// Returns what the gateway is called: its `name`, or the host and port of its URL.
    #[must_use]
    pub fn display_name(&self) -> &str {
        let (name, url) = match self {
            Self::NginxUpsync(gateway) => (&gateway.name, &gateway.status_url),
            Self::HttpTable(gateway) => (&gateway.name, &gateway.url),
        };
        name.as_deref().unwrap_or_else(|| authority(url.as_str()))
    }
}

/// Returns a destination without its port. Of several colons, none begins a port: that is a bare IPv6 address.
fn host(destination: &str) -> &str {
    if let Some((host, _)) = destination.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return host;
    }
    match destination.split_once(':') {
        Some((host, port)) if !port.contains(':') => host,
        _ => destination,
    }
}

/// Returns the `user@host:port` of a URL.
fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let mut end = 0;
    // What stands in `${{ … }}` has no say in where the host ends.
    while let Some(next) = rest[end..].find(['/', '?', '#', '$']).map(|next| end + next) {
        match rest[next..].starts_with("${{").then(|| rest[next..].find("}}")).flatten() {
            Some(close) => end = next + close + 2,
            None if rest[next..].starts_with('$') => end = next + 1,
            None => return &rest[..next],
        }
    }
    rest
}

/// Why an address is none, or nothing.
fn wrong_address(address: &str) -> Option<&'static str> {
    let Some((host, port)) = address.rsplit_once(':') else {
        return Some("the port is missing");
    };
    let number: u16 = port.parse().unwrap_or(0);
    if number == 0 || number.to_string() != port {
        return Some("the port is a number from 1 to 65535");
    }
    if host.is_empty()
        || host.contains(|character: char| " /@".contains(character) || character.is_control())
    {
        return Some("the host is missing or has characters that no host has");
    }
    None
}

impl Check<'_> {
    pub(super) fn fleet(&mut self) {
        if self.sound(&["nodes", "registry"]) {
            self.nodes();
        }
        if self.sound(&["nodes", "strategy"]) {
            self.capacity();
        }
        if self.sound(&["registry"]) {
            self.registry();
        }
        if self.sound(&["gateways"]) {
            self.gateways();
        }
    }

    fn nodes(&mut self) {
        let nodes = &self.playbook.nodes;
        let (mut names, mut addresses) = (BTreeMap::new(), BTreeMap::new());
        for (index, node) in nodes.iter().enumerate() {
            self.address(index, node);
            self.destination(index, node);
            let key = if node.name.is_some() { "name" } else { "ssh" };
            let name = node.display_name();
            if let Some(first) = names.insert(name, index) {
                let (_, place, _) = self.tree.locate(&format!("nodes[{first}]"));
                let message = format!("two nodes are called `{}`", quoted(name));
                self.add(&format!("nodes[{index}].{key}"), message, |problem| {
                    problem.related(place, "the other one").help("give each its own `name`")
                });
            }
            if let Some(first) = addresses.insert(node.address.as_str(), index) {
                let (_, place, _) = self.tree.locate(&format!("nodes[{first}]"));
                let message = format!("two nodes have the address `{}`", quoted(&node.address));
                self.add(&format!("nodes[{index}].address"), message, |problem| {
                    problem.related(place, "the other one")
                });
            }
        }
    }

    fn address(&mut self, index: usize, node: &Node) {
        let path = format!("nodes[{index}].address");
        let shown = quoted(&node.address);
        if let Some(why) = wrong_address(&node.address) {
            self.add(
                &path,
                format!("`{shown}` is not an address like `10.0.1.11:8080`"),
                |problem| problem.help(why),
            );
            return;
        }
        let Registry::ConsulKv { .. } = self.playbook.registry;
        if host(&node.address).parse::<Ipv4Addr>().is_err() {
            let message = format!("`{shown}` has a name where the registry needs an IPv4 address");
            self.add(&path, message, |problem| {
                problem.help("gateways that follow Consul's KV store read each key as `IPv4:port`")
            });
        }
    }

    fn destination(&mut self, index: usize, node: &Node) {
        let path = format!("nodes[{index}].ssh");
        let host = node.ssh.rsplit_once('@').map_or(node.ssh.as_str(), |(_, host)| host);
        let why = if host.is_empty() {
            "no host is given"
        } else if node.ssh.starts_with('-') || host.starts_with('-') {
            "ssh would take it for an option"
        } else if node
            .ssh
            .contains(|character: char| character.is_whitespace() || character.is_control())
        {
            "it has a blank or a control character"
        } else {
            return;
        };
        self.add(&path, format!("`{}` is not an ssh destination", quoted(&node.ssh)), |problem| {
            problem
                .help(why)
                .help("write `[user@]host[:port]`, an alias of your ssh configuration, or `local`")
        });
    }

    fn capacity(&mut self) {
        let (strategy, total) = (&self.playbook.strategy, self.playbook.nodes.len());
        if strategy.min_available.of(total).max(1) >= total {
            let message = format!(
                "with {} and `min_available` {} no node could ever leave",
                text::count(total, "node"),
                strategy.min_available
            );
            let path = "strategy.min_available";
            let path = if self.given(path) { path } else { "nodes" };
            self.add(path, message, |problem| {
                problem.help("at least one node must be spare, and one always stays: the last is never taken")
            });
        }
        for (index, amount) in strategy.batches.0.iter().enumerate() {
            if amount.of(total) == 0 {
                self.add(&format!("strategy.batches[{index}]"), "a batch of no nodes", |problem| {
                    problem.help("write a count from 1, or a percentage from `1%`")
                });
            }
        }
    }

    fn registry(&mut self) {
        let Registry::ConsulKv { prefix } = &self.playbook.registry;
        let text = prefix.as_str();
        let shown = quoted(text);
        // What a template ends with is known only when it is filled in.
        if !text.ends_with('/') && !text.ends_with("}}") {
            let message =
                format!("the prefix `{shown}` leaks into other upstreams (rule `prefix-leaks`)");
            self.add("registry.prefix", message, |problem| {
                problem.help(format!(
                    "without a final `/` it also takes `{shown}2/…`: write `{shown}/`"
                ))
            });
        }
        if text.starts_with('/') {
            self.add(
                "registry.prefix",
                format!("the prefix `{shown}` starts with `/`"),
                |problem| problem.help("keys in Consul do not start with `/`: remove it"),
            );
        }
    }

    fn gateways(&mut self) {
        let gateways = &self.playbook.gateways;
        let mut names = BTreeMap::new();
        for (index, gateway) in gateways.iter().enumerate() {
            let path = format!("gateways[{index}]");
            let name = gateway.display_name();
            if let Some(first) = names.insert(name, index) {
                let (_, place, _) = self.tree.locate(&format!("gateways[{first}]"));
                let message = format!("two gateways are called `{}`", quoted(name));
                self.add(&format!("{path}.name"), message, |problem| {
                    problem.related(place, "the other one").help("give each its own `name`")
                });
            }
            match gateway {
                Gateway::NginxUpsync(gateway) => {
                    self.url(&format!("{path}.status_url"), &gateway.status_url);
                    if let Some(url) = &gateway.check_url {
                        self.url(&format!("{path}.check_url"), url);
                    }
                    self.upsync_query(&path, &gateway.status_url, &gateway.upstream);
                }
                Gateway::HttpTable(gateway) => {
                    self.url(&format!("{path}.url"), &gateway.url);
                    self.table(&path, gateway);
                }
            }
        }
        if let Some(InFlight::Gateways) = self.playbook.drain.in_flight
            && let Some(index) = gateways.iter().position(|gateway| !counts(gateway))
        {
            let name = quoted(gateways[index].display_name());
            let message = format!("gateway `{name}` does not count requests in flight");
            let (_, place, _) = self.tree.locate(&format!("gateways[{index}]"));
            self.add("drain.in_flight", message, |problem| {
                problem
                    .related(place, "this one")
                    .help("use `http` or `sockets` in place of `gateways`")
            });
        }
    }

    fn upsync_query(&mut self, path: &str, url: &Template, upstream: &Template) {
        let (Some(url), Some(upstream)) = (fixed(url), fixed(upstream)) else {
            return;
        };
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        if !query.eq_ignore_ascii_case(upstream) {
            let message = "the query must be the upstream's bare name";
            let right = quoted(&format!("{base}?{upstream}"));
            self.add(&format!("{path}.status_url"), message, |problem| {
                problem
                    .help(format!("write `{right}`"))
                    .help("nginx-upsync answers 200 to anything else, with another list or none")
            });
        }
    }

    fn table(&mut self, path: &str, table: &HttpTable) {
        let Some(pattern) = &table.pattern else {
            return;
        };
        let pointers = [
            ("list", &table.list),
            ("address", &table.address),
            ("routed", &table.routed),
            ("in_flight", &table.in_flight),
        ];
        for (key, _) in pointers.iter().filter(|(_, pointer)| pointer.is_some()) {
            self.add(
                &format!("{path}.{key}"),
                format!("both `{key}` and `pattern` are given"),
                |problem| {
                    problem
                        .help("`pattern` reads text, the pointers read JSON: keep one or the other")
                },
            );
        }
        let Ok(regex) = regex_lite::Regex::new(pattern) else {
            return;
        };
        let has = |group: &str| regex.capture_names().flatten().any(|name| name == group);
        let path = format!("{path}.pattern");
        if !has("address") {
            self.add(&path, "the pattern has no group `address`", |problem| {
                problem.help(r"name the part that is `host:port`: `(?<address>\S+)`")
            });
        }
        if has("routed") && has("down") {
            self.add(&path, "the pattern has both groups `routed` and `down`", |problem| {
                problem.help("keep the one that takes part in the match only when the peer is so")
            });
        }
    }

    pub(super) fn url(&mut self, path: &str, url: &Template) {
        let text = url.as_str();
        let shown = quoted(text);
        let has_scheme = ["http://", "https://", "${{"].iter().any(|start| text.starts_with(start));
        if !has_scheme {
            self.add(path, format!("`{shown}` is not a URL"), |problem| {
                problem.help("it must start with `http://` or `https://`")
            });
            return;
        }
        let authority = authority(text);
        if authority.contains('@') {
            // Not quoted: what stands before the `@` may be a password.
            self.add(path, "a user or password in a URL", |problem| {
                problem.help("URLs are printed and journalled: remove what stands before the `@`")
            });
        } else if authority.is_empty() || authority.starts_with(':') {
            self.add(path, format!("`{shown}` has no host"), |problem| problem);
        } else if has_blank(text) {
            self.add(path, format!("`{shown}` has a blank or a control character"), |problem| {
                problem
            });
        }
    }
}

/// Returns whether a URL has a blank outside its templates.
fn has_blank(url: &str) -> bool {
    let mut outside = url.split("${{");
    let first = outside.next().unwrap_or_default();
    let rest = outside.map(|part| part.split_once("}}").map_or("", |(_, after)| after));
    [first].into_iter().chain(rest).any(|part| {
        part.contains(|character: char| character.is_whitespace() || character.is_control())
    })
}

fn counts(gateway: &Gateway) -> bool {
    match gateway {
        Gateway::NginxUpsync(_) => false,
        Gateway::HttpTable(table) => table.in_flight.is_some(),
    }
}
