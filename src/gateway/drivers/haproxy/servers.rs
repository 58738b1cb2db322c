//! The servers of a backend, from the runtime API or the stats page.

use std::time::Duration;

use super::name::HaproxyState;
use crate::address;
use crate::gateway::view::{Nodes, Peer, View};
use crate::text;

/// After this time, the process before is gone, or has only requests that no release waits for.
const SETTLED: Duration = Duration::from_secs(600);

/// How many servers an error names.
const NAMED: usize = 8;

/// What a backend shows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Servers {
    pub(super) all: Vec<Server>,
    /// A cookie returns clients to their server, drained or not.
    pub(super) is_sticky: bool,
    /// How long its process has run. `None` if it does not say that.
    pub(super) age: Option<Duration>,
}

/// One server, or one slot of a template.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) name: String,
    /// `ip:port`, and `host:port` if it has a name. Empty: it has no address at the moment.
    pub(super) addresses: Vec<String>,
    /// The answer does not show its address, although it may have one.
    pub(super) is_hidden: bool,
    /// The SRV record from which it gets its address.
    pub(super) record: Option<String>,
    /// Its state, or why it cannot be read.
    pub(super) state: Result<State, String>,
}

/// The state of a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct State {
    /// Why it is in maintenance, if it is. It then gets no new requests at all.
    pub(super) maint: Option<Why>,
    /// Why it is drained, if it is. It then gets only new requests of clients that stick to it.
    pub(super) drain: Option<Why>,
    /// It can serve: its check passes, or it has no check.
    pub(super) runs: bool,
    /// Why it gets no requests, whatever a command says.
    pub(super) withheld: Option<Withheld>,
    /// Requests at it and requests that wait for it. `None` if HAProxy does not report them.
    pub(super) in_flight: Option<u64>,
}

/// Why a server is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// A command.
    Told,
    /// It follows another server, its name cannot be resolved, or its weight is 0.
    Follows,
}

/// What keeps requests from a server, apart from a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Withheld {
    /// Its weight is 0: a standby, or a server that an operator drained by its weight.
    Weight,
    /// It follows another server (`track`), and that one is out.
    Tracks,
    /// DNS does not resolve its name.
    Unresolved,
}

impl Withheld {
    fn says(self, server: &str) -> String {
        match self {
            Self::Weight => {
                format!("server {server} has weight 0; give it a weight, or skip the node")
            }
            Self::Tracks => format!("server {server} follows another server that is out (`track`)"),
            Self::Unresolved => format!("DNS does not resolve the name of server {server}"),
        }
    }
}

impl Server {
    /// Its state.
    pub(super) fn state(&self) -> Result<&State, String> {
        let told = self.state.as_ref();
        told.map_err(|why| format!("server {}: {why}", text::line(&self.name, 80)))
    }

    fn is_at(&self, address: &str) -> bool {
        self.addresses.iter().any(|known| address::same(known, address))
    }
}

impl State {
    /// Returns whether a command put it out, in a state that satisfies `out`.
    pub(super) fn is_told(&self, out: HaproxyState) -> bool {
        match out {
            HaproxyState::Drain => [self.maint, self.drain].contains(&Some(Why::Told)),
            HaproxyState::Maint => self.maint == Some(Why::Told),
        }
    }

    /// The server as a peer. `sticks`: clients can return to a drained server. Such a server is neither out nor in.
    fn peer(&self, sticks: bool) -> Peer {
        let (in_maint, is_drained) = (self.maint.is_some(), self.drain.is_some());
        Peer {
            up: !in_maint && (!is_drained || sticks),
            failing_check: !in_maint && ((is_drained && sticks) || !self.runs),
            in_flight: self.in_flight,
        }
    }
}

/// Says what a process that was started a short time ago does not count. After a reload, the process before ends when
/// its requests do.
fn uncounted(age: Duration) -> Option<String> {
    (age < SETTLED).then(|| {
        let age = text::duration(age);
        format!(
            "its process started {age} ago and does not count the requests of the process before"
        )
    })
}

impl Servers {
    pub(super) fn view(&self, sticks: bool, nodes: &Nodes) -> Result<View, String> {
        let mut view = View { uncounted: self.age.and_then(uncounted), ..View::default() };
        for server in &self.all {
            for address in &server.addresses {
                let address = nodes.name(address);
                match server.state() {
                    Ok(state) => {
                        if let Some(withheld) = state.withheld {
                            let why = withheld.says(&text::line(&server.name, 80));
                            view.withheld.insert(address.clone(), why);
                        }
                        view.add(address, state.peer(sticks));
                    }
                    Err(why) => view.add_unread(address, why),
                }
            }
        }
        // A server that gets requests and shows no address can be any node that is not listed.
        let gets_some = |server: &&Server| {
            server.is_hidden && !server.state.as_ref().is_ok_and(|state| state.maint.is_some())
        };
        if let Some(server) = self.all.iter().find(gets_some) {
            let name = text::line(&server.name, 80);
            for node in
                nodes.all().filter(|node| !view.peers.contains_key(*node)).collect::<Vec<_>>()
            {
                view.add_unread(node.to_owned(), format!("server {name} shows no address"));
            }
        }
        view.readable()
    }

    /// The only server at `address`.
    pub(super) fn only(&self, address: &str, backend: &str) -> Result<&Server, String> {
        let here = |server: &&Server| server.is_at(address);
        let found: Vec<_> = self.all.iter().filter(here).collect();
        match found.as_slice() {
            [server] => Ok(server),
            [] => {
                let known = self.all.iter().filter_map(|server| server.addresses.first());
                Err(format!(
                    "backend {backend} has no server at {address}; it has {}",
                    listed(known.map(String::as_str))
                ))
            }
            several => Err(format!(
                "backend {backend} has several servers at {address}: {}; it is unknown which of them is the node",
                listed(several.iter().map(|server| server.name.as_str()))
            )),
        }
    }
}

/// The first of several names.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.collect();
    let more = if names.len() > NAMED { " and others" } else { "" };
    if names.is_empty() {
        return "none".into();
    }
    let shown: Vec<_> = names.iter().take(NAMED).map(|name| text::line(name, 80)).collect();
    format!("{}{more}", shown.join(", "))
}
