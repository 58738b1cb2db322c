//! Gateways: what each kind shows of its peers, and what confirms that a node is out of rotation or back in it.
//!
//! A driver is one file in [`drivers`]. It is pure: it says what to ask and how to read the reply, and it never
//! awaits. [`GatewayMonitor`] sends the queries and repeats them until [`Proof`] decides that it has seen enough.

mod driver;
pub mod drivers;
mod file;
mod guess;
mod look;
mod monitor;
mod observation;
mod proof;
mod query;
mod roster;
mod rotation;
mod settings;
mod shared_read;
mod table;
mod view;

use std::time::Duration;

use crate::world::Trust;

pub use driver::{Driver, Facts, GatewayInfo, Purpose};
pub use drivers::{Gateway, KINDS};
pub use guess::{GatewayAddress, Guess, Unknown};
pub use monitor::{Confirmation, GatewayMonitor, Unproven};
pub use observation::Observation;
pub use proof::{Method, Proof, Rule, Verdict, reads_for};
pub use query::{Query, QueryClient, QueryError};
pub use roster::Roster;
pub(crate) use rotation::is_passing;
pub use rotation::{Listed, Listing, NotDone, RotationControl};
pub use settings::{Issue, RegistryKind, Settings, SettingsFacts};
pub(crate) use shared_read::SharedRead;
pub(crate) use view::KEY_PARAMETERS;
pub use view::{Parameters, Peer, View};

/// A gateway with its values filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewaySpec {
    /// Its name in messages.
    pub name: String,
    /// The playbook's settings, with names filled in.
    pub settings: Gateway,
    /// Which certificates are accepted.
    pub trust: Trust,
    /// The addresses of all nodes.
    pub nodes: Vec<String>,
    /// The place of its registry among those of the release.
    pub registry: usize,
}

/// The driver of a gateway.
#[must_use]
pub fn driver(gateway: &GatewaySpec) -> Box<dyn Driver> {
    gateway.settings.driver(&gateway.nodes)
}

/// The names of the keys in Consul that a change of a gateway's own list writes.
#[must_use]
pub fn keys(gateway: &GatewaySpec) -> Vec<String> {
    let driver = driver(gateway);
    let keys = driver.rotation_control().map(RotationControl::keys).unwrap_or_default();
    keys.into_iter().map(str::to_owned).collect()
}

/// How a gateway's state is confirmed, for the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Following {
    /// Its `type`.
    pub kind: &'static str,
    /// How many workers follow separately, if it is known.
    pub workers: Option<u32>,
    /// How often it reads the registry.
    pub interval: Duration,
    /// How long a write may take to reach every worker.
    pub lag: Duration,
    /// How many connections reach every worker, if workers have no names and the gateway may favour some of them.
    pub reads: u32,
    /// When a change is confirmed, in words, if something else than the gateway's own answers shows it.
    pub confirmed_when: Option<String>,
}

/// Says how a gateway follows the registry.
#[must_use]
pub fn following(gateway: &GatewaySpec) -> Following {
    let driver = driver(gateway);
    let facts = driver.facts();
    Following {
        kind: gateway.settings.kind(),
        workers: facts.workers,
        interval: facts.interval,
        lag: facts.lag,
        reads: Rule::of(facts).reads(false),
        confirmed_when: facts.confirmed_when.clone(),
    }
}
