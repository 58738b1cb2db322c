//! The kinds of gateways. Each is one file, and one line in the list below.
//!
//! A file contains everything of a kind: its documentation (the comment at the top, which becomes a section of
//! `docs/gateways.md`), its keys in a playbook, its queries, how replies are read, and how a node is taken out of
//! rotation.

#[cfg(test)]
mod readings;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::driver::Driver;
use super::guess::{GatewayAddress, Guess};
use super::settings::{RegistryKind, Settings};
use super::view::Nodes;
use crate::template::Template;
use crate::url::authority;

/// Defines the types and functions that need every kind, from one list of kinds.
macro_rules! kinds {
    ($($module:ident: $kind:literal, $settings:ident, $driver:ident, $doc:literal;)+) => {
        $(pub mod $module;)+

        /// A proxy that routes to the nodes.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "type", deny_unknown_fields)]
        pub enum Gateway {
            $(
                #[doc = $doc]
                #[serde(rename = $kind)]
                $settings($module::$settings),
            )+
        }

        /// Every kind by its `type`, in the order of the documentation, with its module.
        pub const KINDS: &[(&str, &str)] = &[$(($kind, stringify!($module))),+];

        impl Gateway {
            /// Its `type`, as the playbook writes it.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$settings(_) => $kind),+ }
            }

            /// What a gateway at an address may be: kinds with their keys, for upstreams with one of these names.
            #[must_use]
            pub fn guesses(
                address: &GatewayAddress,
                names: &[String],
            ) -> Vec<(&'static str, Guess)> {
                let mut all = Vec::new();
                $(
                    let guesses = <$module::$settings as Settings>::guesses(address, names);
                    all.extend(guesses.into_iter().map(|guess| ($kind, guess)));
                )+
                all
            }

            /// Its keys.
            #[must_use]
            pub fn settings(&self) -> &dyn Settings {
                match self { $(Self::$settings(settings) => settings),+ }
            }

            /// Its keys, to fill in names.
            pub(crate) fn settings_mut(&mut self) -> &mut dyn Settings {
                match self { $(Self::$settings(settings) => settings),+ }
            }

            /// Its driver, for the nodes at these addresses. All names must have been filled in.
            pub(super) fn driver(&self, addresses: &[String]) -> Box<dyn Driver> {
                let nodes = Nodes::new(addresses);
                match self {
                    $(Self::$settings(settings) => Box::new($module::$driver::new(settings, nodes))),+
                }
            }
        }
    };
}

kinds! {
    nginx_upsync: "nginx-upsync", NginxUpsync, NginxUpsyncDriver, "nginx with nginx-upsync-module.";
    http_table: "http-table", HttpTable, HttpTableDriver, "Any gateway with a URL that lists its peers, as JSON or as text.";
    consul_passing: "consul-passing", ConsulPassing, ConsulPassingDriver, "Consul's list of passing instances, for gateways that follow it and show nothing of their own.";
    consul_dns: "consul-dns", ConsulDns, ConsulDnsDriver, "Consul's DNS, for gateways and other clients that follow it and show nothing of their own.";
    consul_template: "consul-template", ConsulTemplate, ConsulTemplateDriver, "nginx with a list of servers that consul-template renders, and a reload after each change.";
    command: "command", CommandGateway, CommandDriver, "Any gateway, by commands of your own.";
    haproxy: "haproxy", Haproxy, HaproxyDriver, "HAProxy.";
    dyups: "dyups", Dyups, DyupsDriver, "nginx with `ngx_http_dyups_module`, through its own API.";
    ngx_dynamic_upstream: "ngx-dynamic-upstream", NgxDynamicUpstream, NgxDynamicUpstreamDriver, "nginx with `ngx_dynamic_upstream`, through its own API.";
    slardar: "slardar", Slardar, SlardarDriver, "Slardar, through its own API and its keys in Consul.";
    caddy: "caddy", Caddy, CaddyDriver, "Caddy, by its admin API.";
    envoy: "envoy", Envoy, EnvoyDriver, "Envoy with its endpoints in a file of JSON that it watches (EDS).";
    traefik: "traefik", Traefik, TraefikDriver, "Traefik with its servers in a file that it watches, written as JSON.";
    apisix: "apisix", Apisix, ApisixDriver, "Apache APISIX, through its admin API.";
}

impl Gateway {
    /// Every value that can have names to fill in, by its key.
    #[must_use]
    pub fn templates(&self) -> Vec<(&'static str, Template)> {
        let mut own = self.clone();
        let templates = own.settings_mut().templates().into_iter();
        templates.map(|(key, template)| (key, template.clone())).collect()
    }

    /// Returns whether it reports the requests in flight at a node that this registry has taken out.
    #[must_use]
    pub fn counts_under(&self, registry: RegistryKind) -> bool {
        self.settings().facts().counts_under.contains(&registry)
    }

    /// Returns the gateway's name for messages: its `name`, or its host and port.
    #[must_use]
    pub fn display_name(&self) -> &str {
        let facts = self.settings().facts();
        facts.name.unwrap_or_else(|| {
            let (_, place) = facts.place;
            let authority = authority(place);
            // A URL with a login is refused, and that message names the gateway.
            let host = authority.rsplit_once('@').filter(|_| place.contains("://"));
            host.map_or(authority, |(_, host)| host)
        })
    }
}
