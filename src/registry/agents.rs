//! Which Consul agents get the token: those that the playbook names, not every agent in the catalog.
//!
//! Every service that may register itself can write to the catalog. An address there must not suffice to receive a
//! token that can write keys.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::consul::Client;
use crate::spec::Spec;
use crate::text;
use crate::world::{Host, World};

/// The hosts that the playbook names, and whether there is a secret to protect.
#[derive(Debug, Clone)]
pub(super) struct Named {
    hosts: BTreeSet<String>,
    has_credentials: bool,
    /// Whether `https://` shows that a host belongs to Consul.
    proves_agents: bool,
}

impl Named {
    /// The hosts of the nodes, from their addresses and ssh destinations, and the hosts of Consul.
    pub(super) fn of<W: World>(spec: &Spec, client: &Client<W>) -> Self {
        let ssh = spec.nodes.iter().filter_map(|node| match &node.host {
            Host::Ssh(destination) => {
                Some(destination.rsplit_once('@').map_or(destination.as_str(), |(_, host)| host))
            }
            Host::Local => None,
        });
        let nodes = spec.nodes.iter().map(|node| node.address.as_str());
        let consul = client.addresses().iter().map(String::as_str);
        Self {
            hosts: nodes.chain(ssh).chain(consul).map(host).collect(),
            has_credentials: client.has_credentials(),
            proves_agents: client.proves_agents(),
        }
    }

    /// Returns why an agent that is known only from the catalog does not get the token, if it does not.
    pub(super) fn refuses(&self, agent: &str) -> Option<String> {
        let is_proven = agent.starts_with("https://") && self.proves_agents;
        if !self.has_credentials || is_proven || self.hosts.contains(&host(agent)) {
            return None;
        }
        Some(format!(
            "the agent {} is known only from Consul's catalog, so it does not get the token: set \
             `registry.agent`, or use \
             https with CONSUL_CACERT, CONSUL_CAPATH or CONSUL_TLS_SERVER_NAME",
            text::line(agent, 100)
        ))
    }
}

/// Returns whether an address of the catalog is only a host: it becomes a part of a URL.
pub(super) fn is_host(address: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    !address.is_empty() && address.bytes().all(plain)
}

/// The host of a URL or of `host:port`, in one form for one address.
fn host(place: &str) -> String {
    let rest = place.split_once("://").map_or(place, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => match authority.rsplit_once(':') {
            Some((host, _)) if !host.contains(':') => host,
            _ => authority,
        },
    };
    host.parse::<IpAddr>().map_or_else(|_| host.to_ascii_lowercase(), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_or_certified_agents_get_the_token() {
        let hosts: BTreeSet<_> = ["10.0.0.1:9000", "http://10.0.0.5:8500"].map(host).into();
        let named = Named { hosts, has_credentials: true, proves_agents: true };
        for agent in ["http://10.0.0.1:8500", "http://10.0.0.5:8500", "https://10.9.9.9:8501"] {
            assert_eq!(named.refuses(agent), None, "{agent}");
        }
        let why = named.refuses("http://10.9.9.9:8500").expect("refused");
        assert!(why.contains("http://10.9.9.9:8500") && why.contains("registry.agent"), "{why}");
        let careless = Named { proves_agents: false, ..named.clone() };
        assert!(careless.refuses("https://10.9.9.9:8501").is_some());
        let open = Named { has_credentials: false, ..named };
        assert_eq!(open.refuses("http://10.9.9.9:8500"), None, "there is no secret to send");
    }

    #[test]
    fn catalog_address_that_is_not_a_host_is_refused() {
        for address in ["10.0.0.1", "::1", "web-1.example.com", "host_1"] {
            assert!(is_host(address), "{address}");
        }
        for address in ["", "a/b", "evil.com/x?y=", "me@evil", "a b", "a\nb", "a#", "a%2e"] {
            assert!(!is_host(address), "{address}");
        }
    }

    #[test]
    fn a_host_is_the_same_however_it_is_written() {
        for (place, expected) in [
            ("http://10.0.0.1:8500/x", "10.0.0.1"),
            ("10.0.0.1:9000", "10.0.0.1"),
            ("https://Consul.Example.com", "consul.example.com"),
            ("[0:0::1]:9000", "::1"),
            ("http://[::1]:8500", "::1"),
            ("::1", "::1"),
            ("web-1", "web-1"),
        ] {
            assert_eq!(host(place), expected, "{place}");
        }
    }
}
