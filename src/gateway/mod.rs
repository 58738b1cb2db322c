//! Gateways: what each kind shows of its peers, and what proves that it let go of a node or took it back.
//!
//! A driver is one file and pure: what to ask, and how to read the reply. It never awaits. [`Watcher`] sends,
//! reads again and again, and decides with [`Proof`] when enough was seen.
//!
//! A new driver is a file here, a variant of [`playbook::Gateway`](crate::playbook::Gateway), and an arm in
//! [`driver`].

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
mod query;
mod roster;
mod slardar;
mod switch;
mod table;
mod traefik;
mod upsync;
mod view;
mod watch;

use std::time::Duration;

use crate::playbook::Gateway;
use crate::spec::GatewaySpec;
use crate::world::Method::Post;
use crate::world::{Reply, Request};

use switch::not_done;
use view::Nodes;

pub use observation::Observation;
pub use proof::{Method, Proof, Rule, Verdict, reads_for};
pub use query::{Query, QueryClient, QueryError};
pub use roster::Roster;
pub(crate) use switch::is_passing;
pub use switch::{Mark, NotDone, Switch};
pub use view::{Peer, View};
pub use watch::{Confirmation, Unproven, Watcher};

/// For one read of a gateway.
const READ_TIMEOUT: Duration = Duration::from_secs(3);

/// How a worker names itself when the playbook gives no other header.
const WORKER_HEADER: &str = "x-worker";

/// How one kind of gateway is asked and understood.
pub trait Driver: Send + Sync {
    /// What to ask for one look; each request goes over a connection of its own.
    fn asks(&self) -> Vec<Query>;

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
    fn apply_delay(&self) -> Duration {
        Duration::ZERO
    }

    /// How many workers follow on their own, if it is known.
    fn workers(&self) -> Option<u32>;

    /// The reply header that names the worker, in lower case, where each has a list of its own.
    fn worker_header(&self) -> Option<&str> {
        None
    }

    /// Whether a peer that it does not list has no requests in flight: those that have stay listed until the last,
    /// where [`Driver::miscounts`] does not say otherwise.
    fn lists_the_busy(&self) -> bool {
        false
    }

    /// What to ask to learn whether its counts can be used, where that depends on its version.
    fn counting(&self) -> Option<Query> {
        None
    }

    /// Reads from the reply to [`Driver::counting`] why its counts cannot be used, or nothing.
    fn miscounts(&self, reply: &Reply) -> Option<String> {
        let _ = reply;
        None
    }

    /// What to ask to learn what the gateway is; by default, what every look asks.
    fn greeting(&self) -> Vec<Query> {
        self.asks()
    }

    /// Reads from the replies to [`Driver::greeting`] what the gateway is, and what keeps it from doing its part.
    fn info(&self, replies: &[Reply]) -> GatewayInfo {
        let server = replies.first().and_then(|reply| reply.header("server"));
        let server = server.map_or(String::new(), |server| format!(" in {server}"));
        let is = crate::text::line(&format!("{}{server}", self.kind()), 80);
        GatewayInfo { is, ..GatewayInfo::default() }
    }

    /// What the gateway is as its answers have shown it: its name, and its mode where it has several.
    fn kind(&self) -> String;

    /// Whether there are requests at all that it could count.
    fn has_requests(&self) -> bool {
        true
    }

    /// What tells the requests in flight at one node, where the gateway tells them apart from its list.
    fn count(&self, address: &str) -> Option<Query> {
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
pub struct GatewayInfo {
    /// Its kind and version.
    pub is: String,
    /// What keeps it from doing its part in a release.
    pub blockers: Vec<String>,
    /// Why its counts of requests in flight cannot be used.
    pub miscounts: Option<String>,
}

/// The driver of a gateway.
#[must_use]
pub fn driver(gateway: &GatewaySpec) -> Box<dyn Driver> {
    let nodes = Nodes::new(&gateway.nodes);
    match &gateway.settings {
        Gateway::NginxUpsync(settings) => Box::new(upsync::Upsync::new(settings, nodes)),
        Gateway::HttpTable(settings) => Box::new(http_table::HttpTable::new(settings, nodes)),
        Gateway::ConsulDns(settings) => Box::new(consul_dns::ConsulDns::new(settings, nodes)),
        Gateway::ConsulTemplate(settings) => {
            Box::new(consul_template::ConsulTemplate::new(settings, nodes))
        }
        Gateway::Caddy(settings) => Box::new(caddy::Caddy::new(settings, nodes)),
        Gateway::Envoy(settings) => Box::new(envoy::Envoy::new(settings, nodes)),
        Gateway::Traefik(settings) => Box::new(traefik::Traefik::new(settings, nodes)),
        Gateway::ConsulPassing(settings) => {
            Box::new(consul_passing::ConsulPassing::new(settings, nodes))
        }
        Gateway::Command(settings) => Box::new(command::Commands::new(settings, nodes)),
        Gateway::Haproxy(settings) => Box::new(haproxy::Haproxy::new(settings, nodes)),
        Gateway::NgxDynamicUpstream(settings) => {
            Box::new(ngx_dynamic_upstream::NgxDynamicUpstream::new(settings, nodes))
        }
        Gateway::Slardar(settings) => Box::new(slardar::Slardar::new(settings, nodes)),
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
        reads: Rule { workers, lag: driver.lag(), apply_delay: driver.apply_delay() }.reads(false),
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
