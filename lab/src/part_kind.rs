//! The kinds of parts in a lab, with their names and addresses.

use std::net::Ipv4Addr;
use std::ops::Range;

use anyhow::{Result, ensure};

use crate::home::Home;

pub(crate) const CONSUL: PartKind = PartKind { name: "consul", hosts: 5..11 };
pub(crate) const GATEWAY: PartKind = PartKind { name: "gw", hosts: 11..61 };
pub(crate) const HAPROXY: PartKind = PartKind { name: "ha", hosts: 61..81 };
pub(crate) const CADDY: PartKind = PartKind { name: "caddy", hosts: 81..86 };
pub(crate) const ENVOY: PartKind = PartKind { name: "envoy", hosts: 86..91 };
pub(crate) const TRAEFIK: PartKind = PartKind { name: "traefik", hosts: 91..95 };
pub(crate) const RESOLVER: PartKind = PartKind { name: "dns", hosts: 95..98 };
pub(crate) const RENDERED: PartKind = PartKind { name: "tpl", hosts: 98..101 };
pub(crate) const NODE: PartKind = PartKind { name: "node", hosts: 101..255 };

/// A kind of parts.
pub(crate) struct PartKind {
    /// The first part has this name and `-1`.
    name: &'static str,
    /// The range of the last numbers of their addresses.
    hosts: Range<u8>,
}

impl PartKind {
    /// Starts a part for each of these, in order, with a name and an address of its own.
    pub(crate) fn start_all<C, P>(
        &self,
        home: &Home,
        configs: impl IntoIterator<Item = C, IntoIter: ExactSizeIterator>,
        start: impl Fn(String, Ipv4Addr, C) -> Result<P>,
    ) -> Result<Vec<P>> {
        let (name, configs) = (self.name, configs.into_iter());
        ensure!(configs.len() <= self.hosts.len(), "too many parts like {name}-1");
        let parts = (1..).zip(self.hosts.clone()).zip(configs);
        parts
            .map(|((number, host), config): ((usize, u8), C)| {
                start(format!("{name}-{number}"), home.address(host), config)
            })
            .collect()
    }
}
