//! The parts of a lab that stand in rows: what each kind is called, and where its addresses begin.

use std::net::Ipv4Addr;
use std::ops::Range;

use anyhow::{Result, ensure};

use crate::home::Home;

pub(crate) const CONSUL: Row = Row { kind: "consul", hosts: 5..11 };
pub(crate) const GATEWAY: Row = Row { kind: "gw", hosts: 11..61 };
pub(crate) const HAPROXY: Row = Row { kind: "ha", hosts: 61..81 };
pub(crate) const CADDY: Row = Row { kind: "caddy", hosts: 81..86 };
pub(crate) const ENVOY: Row = Row { kind: "envoy", hosts: 86..91 };
pub(crate) const TRAEFIK: Row = Row { kind: "traefik", hosts: 91..95 };
pub(crate) const RESOLVER: Row = Row { kind: "dns", hosts: 95..98 };
pub(crate) const RENDERED: Row = Row { kind: "tpl", hosts: 98..101 };
pub(crate) const NODE: Row = Row { kind: "node", hosts: 101..255 };

/// A row of parts of one kind.
pub(crate) struct Row {
    /// The first one is called this and `-1`.
    kind: &'static str,
    /// The last numbers of their addresses.
    hosts: Range<u8>,
}

impl Row {
    /// Starts a part for each of these, in their order, with a name and an address of its own.
    pub(crate) fn fill<C, P>(
        &self,
        home: &Home,
        configs: impl IntoIterator<Item = C, IntoIter: ExactSizeIterator>,
        start: impl Fn(String, Ipv4Addr, C) -> Result<P>,
    ) -> Result<Vec<P>> {
        let (kind, configs) = (self.kind, configs.into_iter());
        ensure!(configs.len() <= self.hosts.len(), "too many parts like {kind}-1");
        let row = (1..).zip(self.hosts.clone()).zip(configs);
        row.map(|((number, host), config): ((usize, u8), C)| {
            start(format!("{kind}-{number}"), home.address(host), config)
        })
        .collect()
    }
}
