//! The rules of the gateways, and of every URL.

use std::collections::BTreeMap;

use super::Check;
use super::secrets::LOGIN;
use crate::address;
use crate::playbook::findings::quoted;
use crate::playbook::{Gateway, GatewaySetup, InFlight, Node, Registry, Template};
use crate::secret::literal;
use crate::text;
use crate::url::authority;

impl Check<'_> {
    pub(super) fn gateways(&mut self) {
        let (tree, gateways) = (self.tree, &self.playbook.gateways);
        let mut names = BTreeMap::new();
        let other = |first: usize| tree.locate(&format!("gateways[{first}]")).1;
        for (index, GatewaySetup { gateway, .. }) in gateways.iter().enumerate() {
            let path = format!("gateways[{index}]");
            let name = gateway.display_name();
            let facts = gateway.settings().facts();
            for (key, template) in gateway.templates() {
                if key.ends_with("url") {
                    self.url(&format!("{path}.{key}"), &template);
                } else if key == "tcp" {
                    self.socket_address(&format!("{path}.{key}"), &template);
                }
            }
            let named_by = facts.name.map_or(facts.place.0, |_| "name");
            let is_named = self.known(&format!("{path}.{named_by}"));
            if let Some(first) = is_named.then(|| names.insert(name, index)).flatten() {
                let message = format!("two gateways are called `{}`", quoted(name));
                self.add(&format!("{path}.name"), message, |problem| {
                    problem.related(other(first), "the other one").help("give each its own `name`")
                });
            }
            if let Some((key, destination)) = facts.ssh {
                self.destination(&format!("{path}.{key}"), destination);
            }
            self.together(index, gateway);
        }
        self.counts(gateways);
    }

    fn counts(&mut self, gateways: &[GatewaySetup]) {
        let Some(InFlight::Gateways) = self.playbook.drain.in_flight else {
            return;
        };
        // The type of the registry decides what they count.
        let silent = gateways.iter().enumerate().find(|(index, _)| {
            !self.playbook.counts(*index)
                && self.followed(*index).is_some()
                && self.known(&format!("gateways[{index}].type"))
        });
        if let Some((index, setup)) = silent {
            let tree = self.tree;
            let name = quoted(setup.gateway.display_name());
            let message = format!("gateway `{name}` does not count requests in flight");
            self.wrong("drain.in_flight", message, |problem| {
                let (_, place, _) = tree.locate(&format!("gateways[{index}]"));
                problem
                    .related(place, "this one")
                    .help("use `http` or `sockets` in place of `gateways`")
            });
        }
    }

    /// The problems of a gateway's keys in combination, and of the gateway with this registry.
    fn together(&mut self, index: usize, gateway: &Gateway) {
        let path = &format!("gateways[{index}]");
        let known = |key: &str| self.known(&format!("{path}.{key}"));
        for issue in gateway.settings().issues(&known) {
            self.wrong(&format!("{path}.{}", issue.key), issue.message, |problem| {
                problem.helps(issue.helps)
            });
        }
        let facts = gateway.settings().facts();
        for (key, address) in facts.addresses {
            let nodes = &self.playbook.nodes;
            if !nodes.iter().any(|node| address::same(&node.address, address))
                && self.known("nodes")
            {
                let message = format!("`{}` is not the address of a node", quoted(address));
                let meant = nodes.iter().map(|node| node.address.as_str());
                let meant = text::did_you_mean(address, meant).map(quoted);
                self.wrong(&format!("{path}.{key}"), message, |problem| {
                    problem.helps(meant.map(|meant| format!("did you mean `{meant}`?")))
                });
            }
        }
        let kind = format!("{path}.type");
        let is_ipv6 = |node: &&Node| address::is_ipv6(address::host_of(&node.address));
        // The rules of keys refuse any other address separately.
        let registries = &mut self.playbook.registries();
        let follows_keys =
            registries.any(|(_, registry)| matches!(registry, Registry::ConsulKv { .. }));
        let takes_all = follows_keys || !facts.is_ipv4_only;
        let ipv6 = self.playbook.nodes.iter().find(is_ipv6).filter(|_| self.known("nodes"));
        if let Some(node) = ipv6.filter(|_| !takes_all && self.known(&kind)) {
            let address = quoted(&node.address);
            let message = format!(
                "`{}` does not support an IPv6 address such as `{address}`",
                gateway.kind()
            );
            self.add(&kind, message, |problem| {
                problem.help("nginx-upsync reads each server as `IPv4:port` and ignores all others")
            });
        }
        let Some((place, registry)) = self.followed(index) else { return };
        let mut refused = facts.incompatible_with.into_iter();
        let refused = refused.find(|(refused, _)| *refused == registry.kind());
        if let Some((_, why)) = refused.filter(|_| self.known(&kind)) {
            let message = format!(
                "`{}` cannot follow the registry `{}`: {why} (rule `incompatible-with`)",
                gateway.kind(),
                registry.kind()
            );
            let (_, registry, _) = self.tree.locate(&place);
            self.add(&kind, message, |problem| problem.related(registry, "the registry"));
        }
    }

    /// `host:port` of a program that listens on TCP.
    pub(super) fn socket_address(&mut self, path: &str, address: &Template) {
        let Some(address) = address.fixed() else { return };
        if let Some(why) = address::wrong(address) {
            let message = format!("`{}` is not an address like `10.0.1.11:8080`", quoted(address));
            self.wrong(path, message, |problem| problem.help(why));
        }
    }

    /// A URL, or `host:port` as Consul's own tools take it.
    pub(super) fn consul_address(&mut self, path: &str, address: &Template) {
        let text = address.as_str();
        let has_scheme = text.contains("://") || text.starts_with("${{");
        if has_scheme || text.contains('@') || literal::has_odd_port(authority(text)) {
            self.url(path, address);
        } else {
            self.socket_address(path, address);
        }
    }

    pub(super) fn url(&mut self, path: &str, url: &Template) {
        let text = url.as_str();
        let authority = authority(text);
        if authority.contains('@') {
            self.login(path, text);
            return;
        }
        if literal::has_odd_port(authority) {
            self.wrong(path, "the port of a URL is not a number", |problem| {
                problem
                    .secret()
                    .help("it can be a part of a password, so it is not shown: remove the password")
            });
            self.invalid.add(path);
            return;
        }
        let shown = quoted(text);
        let has_scheme = ["http://", "https://", "${{"].iter().any(|start| text.starts_with(start));
        if !has_scheme {
            self.wrong(path, format!("`{shown}` is not a URL"), |problem| {
                problem.help("it must start with `http://` or `https://`")
            });
        } else if authority.is_empty() || authority.starts_with(':') {
            self.wrong(path, format!("`{shown}` has no host"), |problem| problem);
        } else if has_blank(text) {
            self.wrong(path, format!("`{shown}` has a blank or a control character"), |problem| {
                problem
            });
        }
    }

    /// A URL with text before an `@`, which can be a password: the message neither quotes it nor shows its place.
    fn login(&mut self, path: &str, url: &str) {
        let is_known = literal::logins(url).any(|login| url[..login.start].ends_with("://"));
        // A certain login is reported in any place.
        if !is_known {
            self.wrong(path, LOGIN, |problem| {
                problem.secret().help(
                    "URLs are printed and written to journals: remove the text before the `@`",
                )
            });
        }
        self.invalid.add(path);
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
