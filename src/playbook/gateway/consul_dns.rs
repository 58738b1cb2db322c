//! The keys of a gateway, or any other client, that follows Consul's DNS and shows nothing of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, Wrong, follows_health, templates};
use crate::address;
use crate::playbook::findings::quoted;
use crate::playbook::{Period, Registry, Template};

/// Consul's DNS, for gateways and other clients that follow it and show nothing of their own: nginx with `resolve`,
/// say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsulDns {
    /// What it is called in messages. Default: the record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The `host:port` of a DNS server that knows the service, over TCP; Consul's own listens on 8600.
    pub server: Template,
    /// What is asked for: `app.service.consul`.
    pub record: Template,
    /// The port of every node, where clients ask for addresses (A) only. Default: they ask for SRV records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub port: Option<u16>,
    /// How long records live, if they do: `dns_config.service_ttl` of Consul. Default: 0s, as in Consul.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Period>,
    /// How long the gateway may take to ask again, beyond that. Default: 2s; nginx asks about once a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_interval: Option<Period>,
}

impl Settings for ConsulDns {
    templates!(server, record);

    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn place(&self) -> (&'static str, &str) {
        ("record", self.record.as_str())
    }

    fn incompatible_with(&self, registry: &Registry) -> Option<String> {
        follows_health(registry)
    }

    fn wrong(&self, known: &dyn Fn(&str) -> bool) -> Vec<Wrong> {
        let server = self.server.fixed().filter(|_| known("server"));
        let server = server.filter(|server| !is_place(server)).map(|server| Wrong {
            key: "server",
            message: format!("`{}` is not an address like `10.0.0.5:8600`", quoted(server)),
            helps: vec![
                "Consul answers DNS on port 8600; no scheme stands before the address".into(),
            ],
        });
        let record = self.record.fixed().filter(|_| known("record"));
        let record = record.filter(|record| !is_name(record)).map(|record| Wrong {
            key: "record",
            message: format!("`{}` is no name of a record", quoted(record)),
            helps: vec!["write it as Consul does: `app.service.consul`".into()],
        });
        server.into_iter().chain(record).collect()
    }
}

fn is_place(server: &str) -> bool {
    address::wrong(server).is_none() && !server.contains('/')
}

fn is_name(record: &str) -> bool {
    let known = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    let is_label = |label: &str| {
        (1..64).contains(&label.len())
            && label.chars().all(known)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    record.len() < 254 && record.trim_end_matches('.').split('.').all(is_label)
}
