//! What one worker of a gateway shows at one moment.

use std::collections::{BTreeMap, BTreeSet};

use crate::address;
use crate::json::MOST_ENTRIES;

/// How many entries that are not nodes are kept by name.
pub(super) const NAMED: usize = 8;

/// The nodes of the playbook by address, in any spelling that a gateway uses.
#[derive(Debug, Clone, Default)]
pub(super) struct Nodes {
    /// In the playbook's order.
    all: Vec<String>,
    /// As the playbook spells them, which is how nearly every gateway spells them.
    spelled: BTreeSet<String>,
    by_canonical: BTreeMap<String, String>,
}

impl Nodes {
    pub(super) fn new(addresses: &[String]) -> Self {
        let named = addresses.iter().map(|node| (address::canonical(node), node.clone()));
        Self {
            all: addresses.to_vec(),
            spelled: addresses.iter().cloned().collect(),
            by_canonical: named.collect(),
        }
    }

    /// Returns the node at an address, as the playbook spells it.
    pub(super) fn find(&self, address: &str) -> Option<&str> {
        let node = self.spelled.get(address);
        let node = node.or_else(|| self.by_canonical.get(&address::canonical(address)));
        node.map(String::as_str)
    }

    /// Returns the name of an entry: the node's own spelling, or the address as it is written.
    pub(super) fn name(&self, address: &str) -> String {
        self.find(address).unwrap_or(address).to_owned()
    }

    /// Returns whether any node has an IPv6 address, and whether any has another address.
    pub(super) fn families(&self) -> (bool, bool) {
        let is_ipv6 = |node: &String| address::is_ipv6(address::host_of(&address::canonical(node)));
        (self.all.iter().any(is_ipv6), !self.all.iter().all(is_ipv6))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(String::as_str)
    }
}

/// The parameters that a key in Consul KV can have besides `down`.
pub(crate) const KEY_PARAMETERS: [&str; 3] = ["weight", "max_fails", "fail_timeout"];

/// The parameters of a server by name, such as `weight`.
pub type Parameters = BTreeMap<String, u64>;

/// What one worker of a gateway shows at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Its peers, by address.
    pub peers: BTreeMap<String, Peer>,
    /// The parameters of nodes, by address, where the gateway copies them from the registry.
    pub parameters: BTreeMap<String, Parameters>,
    /// Why an entry cannot be read, by address. Such a peer is neither in nor out.
    pub unread: BTreeMap<String, String>,
    /// Why an entry gets no requests although no mark of rollgate's kind is on it, by address.
    pub withheld: BTreeMap<String, String>,
    /// Why a worker can still use another list. Then the view does not confirm that a node is out.
    pub unsettled: Option<String>,
    /// Why requests go to all nodes in it, whatever it says about them. Then no node is out.
    pub overridden: Option<String>,
    /// Why there can be requests in flight that it does not count.
    pub uncounted: Option<String>,
    /// Peers that are not nodes of the playbook: they were counted and are not in `peers`.
    pub others: Others,
    /// It has more peers than are kept, and shows nothing.
    pub(super) is_overfull: bool,
}

/// Peers that are not nodes of the playbook.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Others {
    /// How many there are.
    pub all: usize,
    /// How many of them get requests.
    pub routed: usize,
}

/// A peer as a worker shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its list allows requests to it.
    pub up: bool,
    /// An active check of the gateway keeps requests away.
    pub failing_check: bool,
    /// Requests in flight there. `None` if the gateway does not count them, or the number cannot be read.
    pub in_flight: Option<u64>,
}

impl Peer {
    /// Returns whether new requests go there now.
    #[must_use]
    pub fn routed(&self) -> bool {
        self.up && !self.failing_check
    }
}

impl View {
    /// Adds an entry. If an address has several entries, it is routed as long as one of them is. If one of them
    /// does not count its requests, none are counted.
    pub(super) fn add(&mut self, address: String, peer: Peer) {
        let is_full = self.peers.len() >= MOST_ENTRIES;
        let Some(known) = self.peers.get_mut(&address) else {
            if is_full {
                self.is_overfull = true;
            } else {
                self.peers.insert(address, peer);
            }
            return;
        };
        let is_routed = known.routed() || peer.routed();
        known.up |= peer.up;
        known.failing_check = known.up && !is_routed;
        known.in_flight = match (known.in_flight, peer.in_flight) {
            (Some(one), Some(other)) => Some(one.saturating_add(other)),
            _ => None,
        };
    }

    /// Adds an entry that cannot be read. It confirms the peer neither in nor out.
    pub(super) fn add_unread(&mut self, address: String, why: String) {
        self.add(address.clone(), Peer { up: true, failing_check: true, in_flight: None });
        if self.peers.contains_key(&address) {
            self.unread.entry(address).or_insert(why);
        }
    }

    /// The same view, or an error if none of its entries can be read, or it has too many.
    pub(super) fn readable(self) -> Result<Self, String> {
        if self.is_overfull {
            return self.complete();
        }
        match self.unread.values().next() {
            Some(why) if self.unread.len() == self.peers.len() => Err(why.clone()),
            _ => Ok(self),
        }
    }

    /// The same view, or an error if it has more peers than are kept.
    pub(super) fn complete(self) -> Result<Self, String> {
        if self.is_overfull {
            return Err(format!(
                "it lists more than {MOST_ENTRIES} peers: limit its list to this service"
            ));
        }
        Ok(self)
    }

    /// The same view, in which peers that are not in `nodes` are only counted. The first ones that get requests are
    /// kept, for their names.
    pub(super) fn without_others(mut self, nodes: &[String]) -> Self {
        let nodes: BTreeSet<&String> = nodes.iter().collect();
        let mut named = 0;
        let mut others = Others::default();
        self.peers.retain(|address, peer| {
            if nodes.contains(address) {
                return true;
            }
            if peer.routed() && named < NAMED {
                named += 1;
                return true;
            }
            others.all += 1;
            others.routed += usize::from(peer.routed());
            false
        });
        self.unread.retain(|address, _| self.peers.contains_key(address));
        self.withheld.retain(|address, _| self.peers.contains_key(address));
        self.others = others;
        self
    }

    /// Returns whether new requests go to `address` now.
    #[must_use]
    pub fn routes_to(&self, address: &str) -> bool {
        self.peers.get(address).is_some_and(Peer::routed)
    }

    /// Returns whether it lists any address of `pool` other than `but`.
    #[must_use]
    pub fn shows_any(&self, pool: &[String], but: &str) -> bool {
        pool.iter().any(|address| address != but && self.peers.contains_key(address))
    }

    /// Returns whether the list has `address` as out. Checks are ignored, because their result can change.
    #[must_use]
    pub fn is_out(&self, address: &str) -> bool {
        self.peers.get(address).is_none_or(|peer| !peer.up)
    }
}

/// Adds up the entries of a list. An entry without an address is not a node. It is an error only if no entry has an
/// address.
pub(super) struct Entries<'a> {
    nodes: &'a Nodes,
    view: View,
    unplaced: Option<String>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(nodes: &'a Nodes) -> Self {
        Self { nodes, view: View::default(), unplaced: None }
    }

    /// Adds an entry: its address, and its state.
    pub(super) fn add(&mut self, address: Result<String, String>, peer: Result<Peer, String>) {
        match (address.map(|address| self.nodes.name(&address)), peer) {
            (Err(why), _) => {
                self.unplaced.get_or_insert(why);
            }
            (Ok(address), Ok(peer)) => self.view.add(address, peer),
            (Ok(address), Err(why)) => self.view.add_unread(address, why),
        }
    }

    /// What the whole list shows.
    pub(super) fn view(self) -> Result<View, String> {
        match self.unplaced {
            Some(why) if self.view.peers.is_empty() => Err(why),
            _ => self.view.readable(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(in_flight: Option<u64>) -> Peer {
        Peer { up: true, failing_check: false, in_flight }
    }

    #[test]
    fn requests_of_two_entries_add_up_unless_one_is_not_counted() {
        for (one, other, sum) in [
            (Some(1), Some(2), Some(3)),
            (Some(u64::MAX), Some(1), Some(u64::MAX)),
            (Some(0), None, None),
            (None, Some(0), None),
        ] {
            let mut view = View::default();
            view.add("a:1".into(), peer(one));
            view.add("a:1".into(), peer(other));
            assert_eq!(view.peers["a:1"].in_flight, sum, "{one:?} {other:?}");
        }
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_neither_in_nor_out() {
        let mut view = View::default();
        view.add_unread("a:1".into(), "odd".into());
        assert!(!view.routes_to("a:1") && !view.is_out("a:1"));
        assert_eq!(view.clone().readable(), Err("odd".into()));
        // A second, readable entry decides whether it is routed.
        view.add("a:1".into(), Peer { up: false, ..peer(Some(0)) });
        assert!(!view.routes_to("a:1") && !view.is_out("a:1"));
        view.add("a:1".into(), peer(Some(0)));
        assert!(view.routes_to("a:1"));
        view.add("b:1".into(), peer(None));
        assert!(view.readable().is_ok());
    }

    #[test]
    fn unknown_peers_are_counted_and_the_first_routed_ones_named() {
        let mut view = View::default();
        for number in 10..30 {
            view.add(format!("b:{number}"), Peer { up: number % 2 == 0, ..peer(None) });
        }
        view.add("a:1".into(), Peer { up: false, ..peer(Some(1)) });
        view.add_unread("c:1".into(), "odd".into());
        let view = view.without_others(&["a:1".into(), "d:1".into()]);
        let kept: Vec<_> = view.peers.keys().map(String::as_str).collect();
        let named = ["b:10", "b:12", "b:14", "b:16", "b:18", "b:20", "b:22", "b:24"];
        assert_eq!((kept[0], &kept[1..]), ("a:1", &named[..]));
        assert_eq!((view.others, view.unread.len()), (Others { all: 13, routed: 2 }, 0));
    }

    #[test]
    fn view_with_more_peers_than_are_kept_is_refused() {
        let mut view = View::default();
        for number in 0..MOST_ENTRIES {
            view.add(number.to_string(), peer(None));
        }
        view.add("0".into(), peer(None));
        assert!(view.clone().readable().is_ok());
        view.add("one more".into(), peer(None));
        let error = view.readable().expect_err("too many");
        assert!(error.starts_with("it lists more than 100000 peers"), "{error}");
    }

    #[test]
    fn a_node_is_found_in_any_spelling_of_its_address() {
        let nodes = Nodes::new(&["[::1]:9041".into(), "App:80".into()]);
        assert_eq!(nodes.find("[0:0:0:0:0:0:0:1]:9041"), Some("[::1]:9041"));
        assert_eq!(nodes.name("app:80"), "App:80");
        assert_eq!((nodes.find("app:81"), nodes.name("app:81")), (None, "app:81".into()));
        assert_eq!(nodes.families(), (true, true));
    }
}
