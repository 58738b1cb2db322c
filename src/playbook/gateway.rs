//! The kinds of gateways that a playbook may name, one file a kind.
//!
//! A new kind is a file here with its keys, a variant of [`Gateway`], and a driver in [`crate::gateway`].

mod caddy;
mod command;
mod consul_dns;
mod consul_passing;
mod consul_template;
mod dyups;
mod envoy;
mod haproxy;
mod http_table;
mod nginx_upsync;
mod ngx_dynamic_upstream;
mod slardar;
mod traefik;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Registry, Template};

pub use caddy::Caddy;
pub use command::CommandGateway;
pub use consul_dns::ConsulDns;
pub use consul_passing::ConsulPassing;
pub use consul_template::ConsulTemplate;
pub use dyups::{Dyups, DyupsMode};
pub use envoy::Envoy;
pub(crate) use haproxy::is_name as is_haproxy_name;
pub use haproxy::{Haproxy, HaproxySocket, HaproxyState};
pub use http_table::HttpTable;
pub use nginx_upsync::{NginxUpsync, UpsyncType};
pub use ngx_dynamic_upstream::{DynamicUpstreamVariant, NgxDynamicUpstream};
pub use slardar::{Slardar, SlardarServer};
pub use traefik::Traefik;

/// A proxy that routes to the nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Gateway {
    /// nginx with nginx-upsync-module.
    NginxUpsync(NginxUpsync),
    /// Any gateway with a URL that lists its peers, as JSON or as text.
    HttpTable(HttpTable),
    /// Consul's list of passing instances, for gateways that follow it and show nothing of their own.
    ConsulPassing(ConsulPassing),
    /// Consul's DNS, for gateways and other clients that follow it and show nothing of their own.
    ConsulDns(ConsulDns),
    /// nginx with a list of servers that consul-template renders, and a reload after each change.
    ConsulTemplate(ConsulTemplate),
    /// Any gateway, by commands of your own.
    Command(CommandGateway),
    /// HAProxy.
    Haproxy(Haproxy),
    /// nginx with `ngx_http_dyups_module`, through its own API.
    Dyups(Dyups),
    /// nginx with `ngx_dynamic_upstream`, through its own API.
    NgxDynamicUpstream(NgxDynamicUpstream),
    /// Slardar, through its own API and its keys in Consul.
    Slardar(Slardar),
    /// Caddy, by its admin API.
    Caddy(Caddy),
    /// Envoy with its endpoints in a file of JSON that it watches (EDS).
    Envoy(Envoy),
    /// Traefik with its servers in a file that it watches, written as JSON.
    Traefik(Traefik),
}

/// The settings of a gateway, whatever its kind; borrowed as the gateway is.
macro_rules! of_any_kind {
    ($gateway:expr) => {
        match $gateway {
            Self::NginxUpsync(settings) => settings,
            Self::HttpTable(settings) => settings,
            Self::ConsulPassing(settings) => settings,
            Self::ConsulDns(settings) => settings,
            Self::ConsulTemplate(settings) => settings,
            Self::Command(settings) => settings,
            Self::Haproxy(settings) => settings,
            Self::Dyups(settings) => settings,
            Self::NgxDynamicUpstream(settings) => settings,
            Self::Slardar(settings) => settings,
            Self::Caddy(settings) => settings,
            Self::Envoy(settings) => settings,
            Self::Traefik(settings) => settings,
        }
    };
}

impl Gateway {
    /// Its `type`, as the playbook writes it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NginxUpsync(_) => "nginx-upsync",
            Self::HttpTable(_) => "http-table",
            Self::ConsulPassing(_) => "consul-passing",
            Self::ConsulDns(_) => "consul-dns",
            Self::ConsulTemplate(_) => "consul-template",
            Self::Command(_) => "command",
            Self::Haproxy(_) => "haproxy",
            Self::Dyups(_) => "dyups",
            Self::NgxDynamicUpstream(_) => "ngx-dynamic-upstream",
            Self::Slardar(_) => "slardar",
            Self::Caddy(_) => "caddy",
            Self::Envoy(_) => "envoy",
            Self::Traefik(_) => "traefik",
        }
    }

    /// What it has in common with every other kind.
    #[must_use]
    pub fn settings(&self) -> &dyn Settings {
        of_any_kind!(self)
    }

    /// The same, to fill in names.
    pub(crate) fn settings_mut(&mut self) -> &mut dyn Settings {
        of_any_kind!(self)
    }

    /// Returns what the gateway is called: its `name`, or the host and port of where it is.
    #[must_use]
    pub fn display_name(&self) -> &str {
        let settings = self.settings();
        settings.name().unwrap_or_else(|| {
            let (_, place) = settings.place();
            let authority = authority(place);
            // A URL with a login is refused, and what refuses it names the gateway.
            let host = authority.rsplit_once('@').filter(|_| place.contains("://"));
            host.map_or(authority, |(_, host)| host)
        })
    }
}

/// What every kind of gateway tells of itself.
pub trait Settings {
    /// Its `name`.
    fn name(&self) -> Option<&str>;

    /// The key that tells where it is, and its value.
    fn place(&self) -> (&'static str, &str);

    /// Every value that may have names to fill in, by its key.
    fn templates(&self) -> Vec<(&'static str, &Template)>;

    /// The same, to fill them in.
    fn templates_mut(&mut self) -> Vec<(&'static str, &mut Template)>;

    /// The key that tells on which machine it is reached by ssh, and its value.
    fn destination(&self) -> Option<(&'static str, &str)> {
        None
    }

    /// Addresses that must be nodes of the playbook, each with the key it stands under.
    fn addresses(&self) -> Vec<(&'static str, &str)> {
        Vec::new()
    }

    /// Returns whether it tells the requests in flight at each peer.
    fn counts_in_flight(&self) -> bool {
        false
    }

    /// Returns whether its servers may have IPv6 addresses.
    fn takes_ipv6(&self) -> bool {
        true
    }

    /// Returns whether Consul is asked about it.
    fn asks_consul(&self) -> bool {
        false
    }

    /// Returns whether it still tells them of a node that this registry has taken out.
    fn counts_under(&self, registry: &Registry) -> bool {
        let _ = registry;
        self.counts_in_flight()
    }

    /// Returns why it cannot do what this registry says; nothing when it can.
    fn incompatible_with(&self, registry: &Registry) -> Option<String>;

    /// What is wrong with its keys taken together. `known` tells whether a key's value is the file's own.
    fn wrong(&self, known: &dyn Fn(&str) -> bool) -> Vec<Wrong> {
        let _ = known;
        Vec::new()
    }
}

/// Something wrong with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The key.
    pub key: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub helps: Vec<String>,
}

/// A value of a key that may hold templates.
pub(super) trait Fillable {
    fn each(&self) -> Vec<&Template>;
    fn each_mut(&mut self) -> Vec<&mut Template>;
}

impl Fillable for Template {
    fn each(&self) -> Vec<&Template> {
        vec![self]
    }

    fn each_mut(&mut self) -> Vec<&mut Template> {
        vec![self]
    }
}

impl<T: Fillable> Fillable for Option<T> {
    fn each(&self) -> Vec<&Template> {
        self.iter().flat_map(Fillable::each).collect()
    }

    fn each_mut(&mut self) -> Vec<&mut Template> {
        self.iter_mut().flat_map(Fillable::each_mut).collect()
    }
}

impl<T: Fillable> Fillable for Vec<T> {
    fn each(&self) -> Vec<&Template> {
        self.iter().flat_map(Fillable::each).collect()
    }

    fn each_mut(&mut self) -> Vec<&mut Template> {
        self.iter_mut().flat_map(Fillable::each_mut).collect()
    }
}

impl Fillable for BTreeMap<String, Template> {
    fn each(&self) -> Vec<&Template> {
        self.values().collect()
    }

    fn each_mut(&mut self) -> Vec<&mut Template> {
        self.values_mut().collect()
    }
}

/// The two lists of a kind's templates, from the fields that hold them; `field as "key"` where the names differ.
macro_rules! templates {
    ($($field:ident $(as $key:literal)?),+ $(,)?) => {
        fn templates(&self) -> Vec<(&'static str, &$crate::playbook::Template)> {
            use $crate::playbook::gateway::{Fillable as _, key};
            let mut all = Vec::new();
            $(all.extend(self.$field.each().into_iter().map(|value| (key!($field $($key)?), value)));)+
            all
        }

        fn templates_mut(&mut self) -> Vec<(&'static str, &mut $crate::playbook::Template)> {
            use $crate::playbook::gateway::{Fillable as _, key};
            let mut all = Vec::new();
            $(all.extend(self.$field.each_mut().into_iter().map(|value| (key!($field $($key)?), value)));)+
            all
        }
    };
}

/// The key of a field.
macro_rules! key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}
use key;
use templates;

/// Returns why a gateway that follows Consul's keys does not do what another registry says.
fn follows_keys(registry: &Registry) -> Option<String> {
    match registry {
        Registry::ConsulKv { .. } => None,
        other => Some(format!("it follows keys in Consul, not `{}`", other.kind())),
    }
}

/// Returns why a gateway that follows the health of instances in Consul does not do what another registry says.
fn follows_health(registry: &Registry) -> Option<String> {
    match registry {
        Registry::ConsulService { .. } => None,
        other => Some(format!("it follows the health of a service, not `{}`", other.kind())),
    }
}

/// Returns why a gateway that is written to through its own API does not do what another registry says.
fn has_own_api(registry: &Registry) -> Option<String> {
    match registry {
        Registry::Gateway {} => None,
        other => Some(format!("it does what its own API is told, not `{}`", other.kind())),
    }
}

/// Returns the `user@host:port` of a URL, or the whole of what is none.
pub(super) fn authority(url: &str) -> &str {
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
