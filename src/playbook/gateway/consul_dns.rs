//! The keys of a gateway, or any other client, that follows Consul's DNS and shows nothing of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Settings, Wrong, follows_health, templates};
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

    fn disobeys(&self, registry: &Registry) -> Option<String> {
        follows_health(registry)
    }

    fn wrong(&self, known: &dyn Fn(&str) -> bool) -> Vec<Wrong> {
        let Some(server) = self.server.fixed().filter(|_| known("server")) else {
            return Vec::new();
        };
        let port = server.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        let wrong = port.is_none().then(|| Wrong {
            key: "server",
            message: "the server has no port".into(),
            helps: vec![format!("write `{server}:8600`, or the port of yours")],
        });
        wrong.into_iter().collect()
    }
}
