//! Gateways: what each kind shows of its peers, and what proves that it let go of a node or took it back.
//!
//! A driver is one file and pure: what to ask, and how to read the reply. It never awaits. [`Watcher`] sends,
//! reads again and again, and decides with [`Proof`] when enough was seen.
//!
//! A new driver is a file here, a variant of [`playbook::Gateway`](crate::playbook::Gateway), and an arm in
//! [`driver`].

mod ask;
mod caddy;
mod command;
mod consul_dns;
mod consul_passing;
mod consul_template;
mod dyups;
mod envoy;
mod haproxy;
mod http_table;
mod json_file;
mod look;
mod ngx_dynamic_upstream;
mod observation;
mod proof;
mod roster;
mod slardar;
mod table;
mod traefik;
mod upsync;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::consul::Entry;
use crate::playbook::Gateway;
use crate::spec::GatewaySpec;
use crate::world::Method::Post;
use crate::world::{Reply, Request};

pub use ask::{Ask, AskError, Asker};
pub use observation::Observation;
pub use proof::{Method, Proof, Rule, Verdict, reads_for};
pub use roster::Roster;
pub use watch::{Confirmation, Unproven, Watcher};

/// For one read of a gateway.
const READ_TIMEOUT: Duration = Duration::from_secs(3);

/// How a worker names itself when the playbook gives no other header.
const WORKER_HEADER: &str = "x-worker";

/// What one worker of a gateway shows, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Its peers, by address.
    pub peers: BTreeMap<String, Peer>,
    /// Why somebody may still work with another list; then it proves nobody out.
    pub unsettled: Option<String>,
    /// Why requests go to everybody in it, whatever it says of them; then nobody is out.
    pub disregarded: Option<String>,
}

/// A peer as a worker shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its list says that requests may go there.
    pub up: bool,
    /// An active check of the gateway's own keeps requests away.
    pub held_down: bool,
    /// Requests in flight there, where the gateway counts them.
    pub in_flight: Option<u64>,
}

impl Peer {
    /// Returns whether new requests go there now.
    #[must_use]
    pub fn routed(&self) -> bool {
        self.up && !self.held_down
    }
}

impl View {
    /// Takes in an entry. A second one of the same address routes as long as one of them does.
    fn add(&mut self, address: String, peer: Peer) {
        let Some(known) = self.peers.get_mut(&address) else {
            self.peers.insert(address, peer);
            return;
        };
        let is_routed = known.routed() || peer.routed();
        known.up |= peer.up;
        known.held_down = known.up && !is_routed;
        known.in_flight = match (known.in_flight, peer.in_flight) {
            (Some(one), Some(other)) => Some(one.saturating_add(other)),
            (one, other) => one.or(other),
        };
    }

    /// Returns whether new requests go to `address` now.
    #[must_use]
    pub fn routes_to(&self, address: &str) -> bool {
        self.peers.get(address).is_some_and(Peer::routed)
    }

    /// Returns whether it lists any address of `pool` but this one.
    #[must_use]
    pub fn shows_any(&self, pool: &[String], but: &str) -> bool {
        pool.iter().any(|address| address != but && self.peers.contains_key(address))
    }

    /// Returns whether the list lets go of `address`, whatever a check may say: a check can change its mind.
    #[must_use]
    pub fn lets_go_of(&self, address: &str) -> bool {
        self.peers.get(address).is_none_or(|peer| !peer.up)
    }
}

/// How one kind of gateway is asked and understood.
pub trait Driver: Send + Sync {
    /// What to ask for one look; each request goes over a connection of its own.
    fn asks(&self) -> Vec<Ask>;

    /// Reads the replies to [`Driver::asks`], in the same order.
    ///
    /// # Errors
    ///
    /// Says what cannot be understood; that is never proof of anything.
    fn read(&self, replies: &[Reply]) -> Result<View, String>;

    /// How often the gateway looks at the registry.
    fn interval(&self) -> Duration;

    /// The write's longest way into the gateway.
    fn lag(&self) -> Duration;

    /// From when it shows a change until it acts on it.
    fn spread(&self) -> Duration {
        Duration::ZERO
    }

    /// How many workers follow on their own, if it is known.
    fn workers(&self) -> Option<u32>;

    /// The reply header that names the worker, in lower case, where each has a list of its own.
    fn worker_header(&self) -> Option<&str> {
        None
    }

    /// Whether a peer that it does not list has no requests in flight: those that have stay listed until the last.
    fn lists_the_busy(&self) -> bool {
        false
    }

    /// What to ask to learn what the gateway is; by default, what every look asks.
    fn greeting(&self) -> Vec<Ask> {
        self.asks()
    }

    /// Reads from the replies to [`Driver::greeting`] what the gateway is, and what keeps it from doing its part.
    fn nature(&self, replies: &[Reply]) -> Nature {
        let server = replies.first().and_then(|reply| reply.header("server"));
        let server = server.map_or(String::new(), |server| format!(" in {server}"));
        Nature { is: crate::text::line(&format!("{}{server}", self.kind()), 80), unfit: Vec::new() }
    }

    /// What the gateway is as its answers have shown it: its name, and its mode where it has several.
    fn kind(&self) -> String;

    /// Whether there are requests at all that it could count.
    fn has_requests(&self) -> bool {
        true
    }

    /// What tells the requests in flight at one node, where the gateway tells them apart from its list.
    fn count(&self, address: &str) -> Option<Ask> {
        let _ = address;
        None
    }

    /// Reads the reply to [`Driver::count`].
    ///
    /// # Errors
    ///
    /// When it tells no number.
    fn read_count(&self, reply: &Reply) -> Result<u64, String> {
        let _ = reply;
        Err("it tells no requests in flight".into())
    }

    /// How the gateway's own API marks a node, where it has one.
    fn switch(&self) -> Option<&dyn Switch> {
        None
    }
}

/// What a gateway is, as far as it tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nature {
    /// Its kind and version.
    pub is: String,
    /// What keeps it from doing its part in a release.
    pub unfit: Vec<String>,
}

/// How a gateway's own API marks a node down and up.
pub trait Switch: Send + Sync {
    /// What to ask to learn what the gateway was told last.
    fn asks(&self) -> Vec<Ask>;

    /// Reads from the replies to [`Switch::asks`] whether the node at `address` is marked down.
    ///
    /// # Errors
    ///
    /// When the replies cannot be understood, or the gateway does not know the node.
    fn is_down(&self, replies: &[Reply], address: &str) -> Result<bool, String>;

    /// Returns whether the places that the node is marked in contradict each other: a write was interrupted, or
    /// somebody else changed one of them.
    fn is_half_turned(&self, replies: &[Reply], address: &str) -> bool {
        let _ = (replies, address);
        false
    }

    /// Returns whether the gateway has lost its whole list, by a restart say. What [`Switch::turn`] then builds on are
    /// the replies from before, where there were any.
    fn is_lost(&self, replies: &[Reply]) -> bool {
        let _ = replies;
        false
    }

    /// The keys in Consul that it writes, as the replies show them.
    fn keys(&self, replies: &[Reply]) -> Vec<Entry> {
        let _ = replies;
        Vec::new()
    }

    /// What marks the node at `address`, on top of what the replies to [`Switch::asks`] say.
    ///
    /// # Errors
    ///
    /// Why that must not be written.
    fn turn(&self, replies: &[Reply], address: &str, down: bool) -> Result<Vec<Ask>, String>;

    /// Reads the replies to [`Switch::turn`].
    ///
    /// # Errors
    ///
    /// What the gateway says against it.
    fn is_done(&self, replies: &[Reply]) -> Result<(), String>;
}

/// The driver of a gateway.
#[must_use]
pub fn driver(gateway: &GatewaySpec) -> Box<dyn Driver> {
    match &gateway.settings {
        Gateway::NginxUpsync(settings) => Box::new(upsync::Upsync::new(settings)),
        Gateway::HttpTable(settings) => Box::new(http_table::HttpTable::new(settings)),
        Gateway::ConsulDns(settings) => Box::new(consul_dns::ConsulDns::new(settings)),
        Gateway::ConsulTemplate(settings) => {
            Box::new(consul_template::ConsulTemplate::new(settings))
        }
        Gateway::Caddy(settings) => Box::new(caddy::Caddy::new(settings)),
        Gateway::Envoy(settings) => Box::new(envoy::Envoy::new(settings)),
        Gateway::Traefik(settings) => Box::new(traefik::Traefik::new(settings)),
        Gateway::ConsulPassing(settings) => Box::new(consul_passing::ConsulPassing::new(settings)),
        Gateway::Command(settings) => Box::new(command::Commands::new(settings)),
        Gateway::Haproxy(settings) => Box::new(haproxy::Haproxy::new(settings)),
        Gateway::NgxDynamicUpstream(settings) => {
            Box::new(ngx_dynamic_upstream::NgxDynamicUpstream::new(settings))
        }
        Gateway::Slardar(settings) => Box::new(slardar::Slardar::new(settings)),
        Gateway::Dyups(settings) => Box::new(dyups::Dyups::new(settings, &gateway.nodes)),
    }
}

/// What a proof at a gateway rests on, for the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Following {
    /// Its `type`.
    pub kind: &'static str,
    /// How many workers follow on their own, if it is known.
    pub workers: Option<u32>,
    /// How often it looks at the registry.
    pub interval: Duration,
    /// How long a write may take to reach every worker.
    pub lag: Duration,
    /// How many connections leave no worker out, where none tells its name: at a gateway that may favour some of them.
    pub reads: u32,
}

/// Says how a gateway follows the registry.
#[must_use]
pub fn following(gateway: &GatewaySpec) -> Following {
    let driver = driver(gateway);
    let workers = driver.workers();
    Following {
        kind: gateway.settings.kind(),
        workers,
        interval: driver.interval(),
        lag: driver.lag(),
        reads: Rule { workers, lag: driver.lag(), spread: driver.spread() }.reads(false),
    }
}

/// A request on a connection of its own.
fn get(url: &str) -> Request {
    Request::get(url, READ_TIMEOUT).fresh()
}

/// The same with a body.
fn post(url: &str, body: &str) -> Request {
    Request { method: Post, body: Some(body.as_bytes().to_vec()), ..get(url) }
}

/// nginx adds a port that is missing.
fn with_port(address: &str) -> String {
    let (_, end) = address.rsplit_once(']').unwrap_or(("", address));
    if end.contains(':') { address.to_owned() } else { format!("{address}:80") }
}

/// A reply that must be 200.
fn ok(reply: &Reply) -> Result<&Reply, String> {
    match reply.status {
        200 => Ok(reply),
        status => Err(format!("answered {status} {}", crate::text::line(&reply.text(), 80))),
    }
}
